// Dialogs. What was typed into one is lost only if the person says so: whoever wants to close it, or to leave the page below it,
// asks here first.

import { button, h } from "./dom.js";

/** Those that are open, the topmost last. */
const open = [];

/**
 * A modal dialog with a form. `submit` does what its button says, and closes it by not throwing; what it throws is shown. `keep`
 * says whether there is something in it that must not be lost; if it isn't given, what was typed or chosen is. `cancelled` is
 * called instead of closing it. In a `place` it stands beside the rest of the page, which can be used as before. Returns the
 * dialog's parts.
 */
export function dialog({ title, body = [], action, submit, danger = false, wide = false, cancel = "Cancel", keep, cancelled, place = null }) {
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const confirm = action && h("button", { type: "submit", class: danger ? "danger" : "primary" }, action);
  const heading = `t${(dialog.count = (dialog.count ?? 0) + 1)}`;
  const leave = cancelled ?? (async () => (await mayLose([parts])) && close());
  const form = h(
    "form",
    { novalidate: true, on: { submit: onSubmit } },
    h("header", {}, h("h2", { id: heading }, title), button("", leave, { class: "quiet", "aria-label": "Close", icon: "close" })),
    h("div", { class: "body" }, body, problem),
    h("footer", {}, button(cancel, leave), confirm),
  );
  const element = h("dialog", { class: wide ? "wide" : null, "aria-labelledby": heading }, form);
  const parts = { element, form, confirm, close, fail, isBusy: false, isOpen: true, holds: keep ?? (() => false), onClosed: [], title: () => form.querySelector("h2").textContent };

  function fail(error) {
    problem.textContent = error ? (error.detail ?? error.message ?? String(error)) : "";
    problem.hidden = problem.textContent === "";
    if (!problem.hidden) problem.scrollIntoView({ block: "nearest" });
  }

  async function onSubmit(event) {
    event.preventDefault();
    if (!submit || confirm.disabled) return;
    confirm.disabled = true;
    parts.isBusy = true;
    fail(null);
    try {
      await submit(parts);
      close();
    } catch (error) {
      confirm.disabled = false;
      fail(error);
    } finally {
      parts.isBusy = false;
    }
  }

  function close() {
    if (!parts.isOpen) return;
    parts.isOpen = false;
    open.splice(open.indexOf(parts), 1);
    element.close();
    element.remove();
    for (const told of parts.onClosed) told();
  }

  element.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || event.defaultPrevented) return;
    event.preventDefault();
    leave();
  });
  // a browser may close it without a key, or without asking
  element.addEventListener("cancel", (event) => {
    if (event.target !== element) return;
    event.preventDefault();
    leave();
  });
  element.addEventListener("close", () => {
    if (!parts.isOpen) return;
    show();
    leave();
  });
  const show = () => (place ? element.show() : element.showModal());
  if (place) {
    element.classList.add("docked");
    // beside the dialog, too, while nothing is over it
    const onKey = (event) => {
      if (event.key !== "Escape" || event.defaultPrevented || open.at(-1) !== parts || element.contains(event.target)) return;
      if (event.target.closest?.("details[open], input[type='search']")) return;
      event.preventDefault();
      leave();
    };
    document.addEventListener("keydown", onKey);
    parts.onClosed.push(() => document.removeEventListener("keydown", onKey));
  }
  (place ?? document.body).append(element);
  const focused = document.activeElement;
  show();
  if (place) (focused === document.body ? document.activeElement.blur() : focused?.focus({ preventScroll: true }));
  open.push(parts);
  if (!keep && !danger) parts.holds = changesOf(form);
  element.querySelector("[autofocus]")?.focus();
  return parts;
}

/** Whether the fields of a form are not as they are now. */
function changesOf(form) {
  const valueOf = (control) => (control.type === "checkbox" ? control.checked : control.value);
  const before = new Map(Array.from(form.elements, (control) => [control, valueOf(control)]));
  return () => Array.from(before).some(([control, value]) => control.isConnected && valueOf(control) !== value);
}

const isHeld = (parts) => parts.isBusy || parts.holds();

/** Whether something would be lost if all dialogs were closed now. */
export const isAnythingHeld = () => open.some(isHeld);

/** Asks whether what is in the dialogs may be lost, if anything is. */
export const mayLoseAll = () => mayLose(open);

/** Asks whether one dialog may be closed, if something would be lost with it. */
export const mayClose = (parts) => mayLose([parts]);

export function closeAll() {
  while (open.length) open.at(-1).close();
}

/** The question that is being asked, so that there is only one. */
let question = null;

async function mayLose(dialogs) {
  if (question) return question;
  const held = dialogs.findLast(isHeld);
  if (!held) return true;
  question = ask(held).finally(() => (question = null));
  return question;
}

function ask(held) {
  return new Promise((answer) => {
    const { isBusy } = held;
    const why = isBusy ? "It is not done yet. If you leave now, some of it may have been done." : "What you typed there is not saved.";
    const asked = dialog({
      title: isBusy ? "Leave before it is done?" : "Discard your changes?",
      body: [h("p", {}, h("strong", {}, held.title())), h("p", {}, why)],
      action: isBusy ? "Leave" : "Discard",
      danger: true,
      cancel: isBusy ? "Wait" : "Keep editing",
      cancelled: () => asked.close(),
      submit: () => answer(true),
    });
    // a key that is pressed by mistake loses nothing
    asked.form.querySelector("footer button").focus();
    asked.onClosed.push(() => answer(false));
    // done meanwhile: there is nothing left to ask
    held.onClosed.push(() => {
      answer(true);
      asked.close();
    });
  });
}
