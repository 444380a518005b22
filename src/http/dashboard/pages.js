// The pages of the dashboard, in the order in which the navigation has them. A page is one row here, and a module that shows it.

import { activityView } from "./activity.js";
import { changesView } from "./changes.js";
import { clientsView } from "./clients.js";
import { compareView } from "./compare.js";
import { consoleView } from "./console.js";
import { recordsView } from "./records.js";
import { serverSettingsView } from "./server-settings.js";
import { slowLogView } from "./slowlog.js";
import { storesView } from "./stores.js";
import { usersView } from "./users.js";

/**
 * - `path`: the first segment of the address, `#/path`.
 * - `name`: what the navigation and the title say. A page without one is reached from `within`, the path of another page.
 * - `view(main, {session, argument, parameters})`: shows the page in an element that is empty. What it returns is called once when
 *   the page is left.
 * - `needs`: commands of which the user must be permitted at least one; otherwise the page is not offered.
 * - `takes`: the page has a second segment, which names a store.
 * - `fills`: the page is as high as the window, and its parts scroll.
 * - `group`: a line stands before it in the navigation.
 */
export const PAGES = [
  { path: "", name: "Stores", view: storesView },
  { path: "store", within: "", view: recordsView, takes: "store", fills: true },
  { path: "compare", name: "Compare", view: compareView },
  { path: "changes", name: "Changes", view: changesView, needs: ["get"] },
  { path: "console", name: "Console", view: consoleView, fills: true, group: true },
  { path: "activity", name: "Activity", view: activityView, needs: ["info"], group: true },
  { path: "slowlog", name: "Slow log", view: slowLogView, needs: ["slowlog|get"] },
  { path: "clients", name: "Clients", view: clientsView, needs: ["client|list"] },
  { path: "accounts", name: "Users", view: usersView, needs: ["acl|list"] },
  { path: "settings", name: "Settings", view: serverSettingsView, needs: ["config|get"] },
];
