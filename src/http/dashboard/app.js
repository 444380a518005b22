// Where one is: the part of the address behind # names a view, and each view shows itself in <main>.

import { get, isSignedIn, signOut, whenStranger } from "./api.js";
import { activityView } from "./activity.js";
import { clientsView } from "./clients.js";
import { button, failure, h, loading, state } from "./dom.js";
import { login } from "./login.js";
import { recordsView } from "./records.js";
import { slowLogView } from "./slowlog.js";
import { storesView } from "./stores.js";

const main = document.getElementById("main");
const bar = document.getElementById("bar");
const who = document.getElementById("who");

/** Who this is and what may be asked for at once, as the server says; null before. */
let session = null;
/** Ends what the current view does in the background. */
let leave = null;

// maps, since an object also has what all objects have: `constructor` is no view
const VIEWS = new Map([["", storesView], ["store", recordsView], ["activity", activityView], ["slowlog", slowLogView], ["clients", clientsView]]);
const TITLES = new Map([["", "Stores"], ["activity", "Activity"], ["slowlog", "Slow log"], ["clients", "Clients"]]);

function show() {
  leave?.();
  leave = null;
  const [path, parameters = ""] = location.hash.replace(/^#\/?/, "").split("?");
  let [name, argument] = path.split("/");
  try {
    argument = argument && decodeURIComponent(argument);
  } catch {
    name = "nowhere";
  }
  const view = VIEWS.get(name);
  document.title = `${name === "store" ? argument : TITLES.get(name) ?? "Nothing here"} · Larder`;
  for (const link of bar.querySelectorAll("nav a")) {
    const isHere = link.hash === `#/${name}` || (name === "store" && link.hash === "#/");
    if (isHere) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  main.className = name || "stores";
  main.replaceChildren();
  if (!view) {
    main.append(state("There is nothing here", "The address names no page of the dashboard.", h("a", { class: "button", href: "#/" }, "To the stores")));
    return;
  }
  leave = view(main, { session, argument, parameters: new URLSearchParams(parameters) }) ?? null;
}

function enter(told) {
  session = told;
  // where the default user has no password, one may have signed in as another
  const isSomebody = session.asks_for_password || isSignedIn();
  bar.hidden = false;
  who.replaceChildren(
    ...[
      isSomebody && h("span", { class: "user", title: "Signed in as" }, session.user),
      themeButton(),
      isSomebody && button("Sign out", strangerNow, { class: "quiet" }),
    ].filter(Boolean),
  );
  show();
}

function strangerNow() {
  signOut();
  askWho();
}

function askWho() {
  leave?.();
  leave = null;
  session = null;
  bar.hidden = true;
  for (const open of document.querySelectorAll("dialog")) open.close();
  document.title = "Sign in · Larder";
  main.className = "";
  login(main, enter);
}

/** Light, dark, as the system: what is pressed is kept in this browser. */
function themeButton() {
  const root = document.documentElement;
  const label = () => `Colours: ${root.dataset.theme ?? "as the system"}`;
  const toggle = button("", () => {
    const next = { undefined: "light", light: "dark", dark: undefined }[root.dataset.theme];
    if (next) root.dataset.theme = next;
    else delete root.dataset.theme;
    try {
      if (next) localStorage.setItem("larder.theme", next);
      else localStorage.removeItem("larder.theme");
    } catch {
      // it holds until the page is left
    }
    draw();
  }, { class: "quiet theme" });
  const draw = () => {
    toggle.textContent = { light: "☀", dark: "☾" }[root.dataset.theme] ?? "◐";
    toggle.setAttribute("aria-label", label());
    toggle.title = label();
  };
  draw();
  return toggle;
}

async function start() {
  main.replaceChildren(loading());
  try {
    enter(await get("session"));
  } catch (error) {
    if (error.status !== 401) main.replaceChildren(failure(error, start));
  }
}

// not by its address, which would be that of a view
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
whenStranger(() => {
  if (!main.querySelector(".login")) askWho();
});
document.addEventListener("sign-in", strangerNow);
addEventListener("hashchange", () => {
  if (!session) return;
  show();
  main.focus({ preventScroll: true });
  scrollTo(0, 0);
});
start();
