// Making elements and short notices. Text only ever becomes text: there is no way to markup here.

import { piecesOf, piecesOfKey } from "./exact.js";

const SVG = "http://www.w3.org/2000/svg";

/** An element. `on` has listeners, `props` what has to be set as a property; true and false give attributes or none. */
export function h(tag, attributes, ...children) {
  return build(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes, ...children) {
  return build(document.createElementNS(SVG, tag), attributes, children);
}

function build(element, attributes, children) {
  const { on = {}, props = {}, ...rest } = attributes ?? {};
  for (const [name, value] of Object.entries(rest)) {
    if (value === false || value === null || value === undefined) continue;
    element.setAttribute(name, value === true ? "" : value);
  }
  for (const [name, listener] of Object.entries(on)) element.addEventListener(name, listener);
  Object.assign(element, props);
  element.append(...kept(children));
  return element;
}

/** Children that are false, null or undefined are none. */
const kept = (children) => children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);

/** Has an element hold this, and nothing else. */
export function fill(element, ...children) {
  element.replaceChildren(...kept(children));
  return element;
}

/** A text, such as the name of a store, with marks for what can't be seen in it. */
export const exact = (text) => marked(piecesOf(text));
/** The same for a key. */
export const exactKey = (key) => marked(piecesOfKey(key));

const marked = (pieces) => h("bdi", {}, pieces.map(({ text, isMark }) => (isMark ? h("span", { class: "mark" }, text) : text)));

const ICONS = {
  plus: "M8 3v10M3 8h10",
  more: "M3.500 8h.01M8 8h.01M12.500 8h.01",
  left: "M10 3.500 5.500 8l4.500 4.500",
  right: "M6 3.500 10.500 8 6 12.500",
  close: "m4 4 8 8M12 4l-8 8",
  refresh: "M13 8a5 5 0 1 1-1.500-3.600M13 2.500v3h-3",
  down: "M8 2.500v8M4.500 7.500 8 11l3.500-3.500M3 13.500h10",
  up: "M8 11V3M4.500 6 8 2.500 11.500 6M3 13.500h10",
  bin: "M3 4.500h10M6.500 4.500v-2h3v2M4.500 4.500l.5 9h6l.5-9",
};

export function icon(name) {
  const shape = svg("path", { d: ICONS[name] });
  return svg("svg", { class: "icon", viewBox: "0 0 16 16", "aria-hidden": "true" }, shape);
}

export function button(label, listener, attributes = {}) {
  const { icon: shape, ...rest } = attributes;
  return h("button", { type: "button", ...rest, on: { click: listener } }, shape && icon(shape), label);
}

/** A label with its control, and what is to be known of it. */
export function field(label, control, hint) {
  const id = control.id || `f${(field.count = (field.count ?? 0) + 1)}`;
  control.id = id;
  const described = hint && h("p", { class: "hint", id: `${id}-hint` }, hint);
  if (described) control.setAttribute("aria-describedby", described.id);
  return h("div", { class: "field" }, h("label", { for: id }, label), control, described);
}

/** Says in a corner what was done. */
export function toast(text) {
  const note = h("p", {}, text);
  const toasts = document.getElementById("toasts");
  toasts.append(note);
  // above dialogs that were opened since
  toasts.hidePopover?.();
  toasts.showPopover?.();
  setTimeout(() => note.remove(), 6000);
}

/** Instead of content: why there is none, and what can be done. */
export function state(title, text, ...actions) {
  return h("div", { class: "state" }, h("h2", {}, title), text && h("p", {}, text), actions.length > 0 && h("p", { class: "actions" }, actions));
}

export function failure(error, retry) {
  const title = { 0: "The server does not answer", 403: "Not permitted", 404: "There is nothing here" }[error.status] ?? "This did not work";
  const signIn = () => document.dispatchEvent(new Event("sign-in"));
  const another = error.status === 403 && button("Sign in as another user", signIn);
  const shown = state(title, error.detail ?? String(error), retry && button("Try again", retry), another);
  shown.setAttribute("role", "alert");
  return shown;
}

export function loading() {
  return h("p", { class: "loading", role: "status" }, "Loading …");
}

/** A menu of buttons behind three dots. */
export function menu(label, items) {
  const list = h("div", { class: "items" }, items);
  const summary = h("summary", { "aria-label": label, title: label }, icon("more"));
  const element = h("details", { class: "menu" }, summary, list);
  const outside = (event) => {
    if (!element.contains(event.target)) element.open = false;
  };
  element.addEventListener("toggle", () => {
    const change = element.open ? "addEventListener" : "removeEventListener";
    document[change]("pointerdown", outside);
  });
  element.addEventListener("focusout", (event) => {
    if (event.relatedTarget && !element.contains(event.relatedTarget)) element.open = false;
  });
  element.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && element.open) {
      element.open = false;
      summary.focus();
    }
  });
  list.addEventListener("click", () => (element.open = false));
  return element;
}
