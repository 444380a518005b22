// What stands above a list of records: what is looked for, what is done with the store, and with all that is found.

import { COLUMNS } from "./columns.js";
import { button, h, menu } from "./dom.js";
import { deleteMatching, expireMatching, exportMatching } from "./matching.js";
import { newRecord } from "./record.js";
import { ifMay } from "./rights.js";
import { WAYS } from "./search.js";
import { exportDialog, importDialog } from "./transfer.js";

/**
 * The tools of a list. `look()` is called when something else is looked for, `doFor(act)` gives a listener that has the store,
 * `hidden` are the columns that are not shown. The element has `redraw()`, the button `live`, and the field `input`.
 */
export function listTools(context) {
  const { search, doFor, look, reload, useLive } = context;
  const what = h("select", { "aria-label": "Look for", on: { change: () => (search.useWay(what.value), hint(), look()) } }, WAYS.map((way) => h("option", { value: way.name }, way.label)));
  let typing;
  const input = h("input", {
    type: "search",
    "aria-label": "Text to look for",
    title: "Press / to come here",
    autocomplete: "off",
    autocapitalize: "none",
    spellcheck: "false",
    on: {
      input: () => {
        clearTimeout(typing);
        typing = setTimeout(find, 250);
      },
    },
  });
  const hint = () => (input.placeholder = search.way.hint ? `such as ${search.way.hint}` : "all records");
  const redraw = () => {
    what.value = search.way.name;
    input.value = search.text;
    hint();
  };
  function find() {
    clearTimeout(typing);
    if (search.text === input.value) return;
    search.text = input.value;
    look();
  }
  const submit = (event) => {
    event.preventDefault();
    find();
  };
  const live = button("Live", () => useLive(live.getAttribute("aria-pressed") !== "true"), { class: "live", "aria-pressed": "false", title: "Follow the changes of this store" });
  const element = h(
    "div",
    { class: "tools" },
    h("form", { class: "find", role: "search", on: { submit } }, what, input),
    h(
      "div",
      { class: "actions" },
      ifMay("set", button("New record", doFor(newRecord), { class: "primary", icon: "plus" })),
      ifMay("set", button("Import", doFor(({ store, done }) => importDialog(store, done)), { icon: "up" })),
      button("Export", doFor(({ store, prefix }) => exportDialog(store, prefix)), { icon: "down" }),
      live,
      button("", reload, { class: "quiet", icon: "refresh", "aria-label": "Refresh", title: "Refresh" }),
      moreMenu(context),
    ),
  );
  redraw();
  Object.assign(element, { redraw, live, input });
  return element;
}

/** What is done with all records that are found, and which columns the list has. */
function moreMenu({ hidden, doFor, useColumn }) {
  const columns = COLUMNS.map(([id, label]) => {
    const box = h("input", { type: "checkbox", props: { checked: !hidden.has(id) }, on: { change: () => useColumn(id, box.checked) } });
    return h("label", { class: "check" }, box, label);
  });
  for (const label of columns) label.addEventListener("click", (event) => event.stopPropagation());
  return menu("More", [
    button("Export these …", doFor(exportMatching), { class: "quiet" }),
    ifMay("pexpire", button("Set an expiry …", doFor(expireMatching), { class: "quiet" })),
    ifMay("del", button("Delete these …", doFor(deleteMatching), { class: "quiet warn" })),
    h("div", { class: "columns" }, h("span", { class: "muted" }, "Columns"), columns),
  ]);
}
