// Where one is: the part of the address behind # names a view, and each view shows itself in <main>.

import { watchAddress } from "./address.js";
import { isSignedIn, signOut, watch, whenStranger } from "./api.js";
import { closeAll, isAnythingHeld, mayLoseAll } from "./dialog.js";
import { button, exact, failure, fill, h, loading, state, toast } from "./dom.js";
import { exactText } from "./exact.js";
import { login, loginAgain } from "./login.js";
import { PAGES } from "./pages.js";
import { learnRights, may } from "./rights.js";

const main = document.getElementById("main");
const bar = document.getElementById("bar");
const who = document.getElementById("who");
const sections = document.getElementById("sections");

/** Who this is and what may be asked for at once, as the server says; null before. */
let session = null;
/** Ends what the current view does in the background. */
let leave = null;

const isOffered = ({ needs }) => !needs || may(...needs);

function show() {
  leave?.();
  leave = null;
  const { page, argument, parameters } = whereTo(location.hash);
  document.title = `${page?.takes ? exactText(argument) : page?.name ?? "Nothing here"} · Larder`;
  for (const link of sections.querySelectorAll("a")) {
    if (link.hash === `#/${page?.within ?? page?.path}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  main.className = page ? page.path || "stores" : "nowhere";
  main.classList.toggle("fills", Boolean(page?.fills));
  fill(main);
  if (!page) {
    main.append(state("There is nothing here", "The address names no page of the dashboard.", h("a", { class: "button", href: "#/" }, "To the stores")));
    return;
  }
  leave = page.view(main, { session, argument, parameters }) ?? null;
}

/** The page that an address names, if there is one, with the store and the parameters. */
function whereTo(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?");
  const [name, argument, ...more] = path.split("/");
  const parameters = new URLSearchParams(query);
  const page = PAGES.find((page) => page.path === name && Boolean(page.takes) === Boolean(argument) && more.length === 0);
  try {
    return { page, argument: argument && decodeURIComponent(argument), parameters };
  } catch {
    return { page: undefined, parameters };
  }
}

/** The pages that the user may see. */
function drawSections() {
  const link = ({ path, name, group }) => h("a", { href: `#/${path}`, class: group ? "group" : null }, name);
  fill(sections, PAGES.filter((page) => page.name && isOffered(page)).map(link));
}

function enter(told) {
  greet(told);
  show();
}

/** Says who this is. */
function greet(told) {
  session = told;
  learnRights(told);
  drawSections();
  // where the default user has no password, one may have signed in as another
  const isSomebody = session.asks_for_password || isSignedIn();
  bar.hidden = false;
  fill(
    who,
    isSomebody && h("span", { class: "user", title: "Signed in as" }, exact(session.user)),
    themeButton(),
    isSomebody && button("Sign out", strangerNow, { class: "quiet" }),
  );
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
  closeAll();
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
  fill(main, loading());
  try {
    enter(await watch("session"));
  } catch (error) {
    if (error.status !== 401) fill(main, failure(error, start));
  }
}

// not by its address, which would be that of a view
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
/** The sign-in that is under way over a page: whether the requests that wait for it may be made again. */
let again = null;

whenStranger(async () => {
  if (!session) {
    if (!main.querySelector(".login")) askWho();
    return false;
  }
  again ??= signInAgain().finally(() => (again = null));
  return again;
});

function signInAgain() {
  const { user } = session;
  return new Promise((answer) => {
    const done = (told) => {
      if (told) greet(told);
      const isSame = told?.user === user;
      answer(isSame);
      if (!told || isSame) return;
      // what somebody else typed is not to be saved by itself
      if (isAnythingHeld()) toast(`You are signed in as ${exactText(told.user)} now. What was typed is not saved yet.`);
      else show();
    };
    const leave = async () => {
      if (await mayLoseAll()) askWho();
    };
    loginAgain(user, { done, leave });
  });
}

document.addEventListener("sign-in", strangerNow);
// a field of one line leaves them out without a word
document.addEventListener("paste", ({ target, clipboardData }) => {
  if (target instanceof HTMLInputElement && /[\r\n]/.test(clipboardData?.getData("text/plain") ?? "")) toast("The line breaks were left out: this field has one line only.");
});
watchAddress(() => {
  if (!session) return;
  show();
  main.focus({ preventScroll: true });
  scrollTo(0, 0);
});
start();
