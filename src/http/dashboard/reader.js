// A JSON value to be read: laid out, coloured, numbered, with parts that fold. Only the lines that are seen are in the page, so long
// values cost as little as short ones. The text is shown token by token and never changed.

import { button, exact, fill, h, icon, toast } from "./dom.js";
import { count } from "./format.js";
import { linesWith, outline, pathOf, seenLines } from "./outline.js";

/** Lines beyond those that are seen, on each side. */
const SPARE = 20;
/** Longer strings are cut in a line; all of them is copied. */
const SHOWN_MAX = 1_000;
/** From so many lines on, what is deep is folded at first. */
const FOLD_FROM = 5_000;

/**
 * Shows a JSON text, or returns null if it is none. `edit(path, text)` and `remove(path)` change one place in it; without them it is
 * only read.
 */
export function reader({ text, edit, remove }) {
  const shape = outline(text);
  if (!shape) return null;
  const { tokens, lines } = shape;
  const folded = new Set();
  if (lines.length > FOLD_FROM) lines.forEach(({ end, level }, at) => end > at && level === 1 && folded.add(at));
  let seen = seenLines(shape, folded);
  let chosen = -1;
  let found = [];
  let height = 20;

  const rows = h("div", { class: "rows" });
  const sizer = h("div", { class: "sizer" }, rows);
  const view = h("div", { class: "view code", tabindex: "0", role: "tree", "aria-label": "Value", on: { scroll: draw, click: onClick, keydown: onKey } }, sizer);
  const word = h("input", { type: "search", "aria-label": "Find in the value", placeholder: "Find", autocomplete: "off", spellcheck: "false", on: { input: find, keydown: onFindKey } });
  const many = h("span", { class: "muted", role: "status" });
  const path = h("span", { class: "code path" });
  const ofLine = h("div", { class: "of-line row" });
  const element = h(
    "div",
    { class: "reader" },
    h("div", { class: "reader-tools row" }, word, many, h("span", { class: "stretch" }), button("Fold", () => foldAll(true), { class: "quiet" }), button("Unfold", () => foldAll(false), { class: "quiet" }), button("Copy", () => copy(text, "The value"), { class: "quiet" })),
    view,
    ofLine,
  );

  function draw() {
    const top = Math.max(0, Math.floor(view.scrollTop / height) - SPARE);
    const bottom = Math.min(seen.length, Math.ceil((view.scrollTop + view.clientHeight) / height) + SPARE);
    sizer.style.height = `${seen.length * height}px`;
    rows.style.transform = `translateY(${top * height}px)`;
    fill(rows, seen.slice(top, bottom).map(row));
    const real = rows.firstElementChild?.getBoundingClientRect().height;
    if (real && Math.abs(real - height) > 0.5) {
      height = real;
      draw();
    }
  }

  function row(at) {
    const { level, first, last, end } = lines[at];
    const isOpener = end > at;
    const isFolded = folded.has(at);
    const parts = [];
    for (let token = first; token <= last; token += 1) parts.push(shown(tokens[token]));
    if (isFolded) {
      const inside = lines.slice(at + 1, end).filter(({ parent, isClosing }) => parent === at && !isClosing).length;
      parts.push(h("span", { class: "muted inside" }, ` ${count(inside)} ${inside === 1 ? "item" : "items"} `), shown(tokens[lines[end].first]));
    }
    const marks = ["row-line", at === chosen && "chosen", found.includes(at) && "found"].filter(Boolean).join(" ");
    const element = h("div", { class: marks, "data-at": at, role: "treeitem", "aria-level": level + 1, "aria-expanded": isOpener ? String(!isFolded) : null, "aria-selected": String(at === chosen) });
    const indent = h("span", { class: "indent" });
    indent.style.width = `${level * 1.1}rem`;
    element.append(h("span", { class: "no", "aria-hidden": "true" }, count(at + 1)), h("span", { class: isFolded ? "fold" : "fold is-open" }, isOpener && icon("right")), indent, h("span", { class: "text" }, parts));
    return element;
  }

  function shown({ kind, start, end }) {
    const token = text.slice(start, Math.min(end, start + SHOWN_MAX));
    if (kind === "mark") return token === ":" ? ": " : token;
    return h("span", { class: kind }, kind === "string" || kind === "key" ? exact(token) : token, end - start > SHOWN_MAX && h("span", { class: "muted" }, `… ${count(end - start)} characters`));
  }

  function choose(at) {
    chosen = at;
    const { from, to, level } = lines[at];
    const value = text.slice(from, to);
    const here = pathOf(shape, at);
    path.textContent = here;
    fill(
      ofLine,
      path,
      h("span", { class: "stretch" }),
      button("Copy path", () => copy(here, "The path"), { class: "quiet" }),
      button("Copy value", () => copy(value, "The value"), { class: "quiet" }),
      edit && button("Edit …", () => edit(here, value), { class: "quiet" }),
      remove && level > 0 && button("Remove …", () => remove(here, value), { class: "quiet warn" }),
    );
    draw();
  }

  function toggle(at, isFolded = !folded.has(at)) {
    if (lines[at].end === at) return;
    if (isFolded) folded.add(at);
    else folded.delete(at);
    seen = seenLines(shape, folded);
    draw();
  }

  function foldAll(isFolded) {
    folded.clear();
    if (isFolded) lines.forEach(({ end, level }, at) => end > at && level > 0 && folded.add(at));
    seen = seenLines(shape, folded);
    draw();
  }

  function onClick(event) {
    const line = event.target.closest("[data-at]");
    if (!line || !getSelection().isCollapsed) return;
    const at = Number(line.dataset.at);
    if (event.target.closest(".fold, .no, .inside")) toggle(at);
    choose(at);
  }

  function onKey(event) {
    const at = seen.indexOf(chosen);
    const moves = {
      ArrowDown: () => show(seen[Math.min(seen.length - 1, at + 1)]),
      ArrowUp: () => show(seen[Math.max(0, at - 1)]),
      ArrowRight: () => chosen >= 0 && toggle(chosen, false),
      ArrowLeft: () => chosen >= 0 && (lines[chosen].end > chosen && !folded.has(chosen) ? toggle(chosen, true) : lines[chosen].parent >= 0 && show(lines[chosen].parent)),
      Enter: () => chosen >= 0 && edit?.(pathOf(shape, chosen), text.slice(lines[chosen].from, lines[chosen].to)),
    };
    if (!moves[event.key] || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    moves[event.key]();
  }

  /** Unfolds what a line is in, and brings it into view. */
  function show(at) {
    for (let here = lines[at].parent; here >= 0; here = lines[here].parent) folded.delete(here);
    seen = seenLines(shape, folded);
    const place = seen.indexOf(at) * height;
    sizer.style.height = `${seen.length * height}px`;
    if (place < view.scrollTop || place > view.scrollTop + view.clientHeight - 2 * height) view.scrollTop = Math.max(0, place - view.clientHeight / 2);
    choose(at);
  }

  function find() {
    found = word.value === "" ? [] : linesWith(shape, word.value);
    many.textContent = word.value === "" ? "" : found.length ? `${count(found.length)} lines` : "not found";
    if (found.length) show(found[0]);
    else draw();
  }

  function onFindKey(event) {
    if (event.key !== "Enter" || !found.length) return;
    event.preventDefault();
    const at = found.findIndex((line) => line > chosen);
    show(event.shiftKey ? (found.findLast((line) => line < chosen) ?? found.at(-1)) : found[at < 0 ? 0 : at]);
  }

  async function copy(content, what) {
    try {
      await navigator.clipboard.writeText(content);
      toast(`${what} was copied.`);
    } catch {
      toast("The browser did not permit it to be copied.");
    }
  }

  new ResizeObserver(draw).observe(view);
  return { element, isContainer: /[[{]/.test(text[tokens[0].start]), lines: lines.length };
}
