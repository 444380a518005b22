// A text field that shows JSON in colours and says where it is none. The text is the field's; the colours lie under it.

import { fill, h } from "./dom.js";
import { halfAt, unseenIn } from "./exact.js";
import { position, scan } from "./json.js";

/** Longer texts are checked and edited, but not coloured: the browser would lag. */
const COLOURED_MAX = 200_000;

/** Signs that can stand for a carriage return: the first that a text does not have. */
const RETURNS = ["↵", "¶", "␍", "⏎"];

/**
 * How a text is shown in a field, and read from it again without a change. A field has no carriage returns: it makes line feeds
 * of them. Where all line ends are CR LF, they are put back; others are shown as a sign. Null: the field can't hold it.
 */
function exchange(text) {
  if (!text.includes("\r")) return { note: null, shown: (raw) => raw, raw: (shown) => shown, isLong: false };
  if (!/\r(?!\n)|(?<!\r)\n/.test(text)) {
    const note = "The lines end with CR LF, and so will those that you add.";
    return { note, shown: (raw) => raw.replaceAll("\r\n", "\n"), raw: (shown) => shown.replaceAll("\n", "\r\n"), isLong: true };
  }
  const sign = RETURNS.find((sign) => !text.includes(sign));
  if (!sign) return null;
  const note = `This value has line ends of several kinds. ${sign} stands for a carriage return (CR), which a text field can’t hold; it is saved as one.`;
  return { note, shown: (raw) => raw.replaceAll("\r", sign), raw: (shown) => shown.replaceAll(sign, "\r"), isLong: false };
}

/**
 * `isJsonNeeded()` says whether the text can be saved only if it is JSON; `changed` is called after each change. Null if a text
 * field can't hold the text.
 */
export function editor({ text, label, isJson, isJsonNeeded = () => false, changed }) {
  const way = exchange(text);
  if (!way) return null;
  const under = h("pre", { "aria-hidden": "true" });
  const id = `verdict${(editor.count = (editor.count ?? 0) + 1)}`;
  const verdict = h("p", { class: "verdict", role: "status", id });
  const unseen = h("p", { class: "hint unseen-note" });
  const area = h("textarea", {
    "aria-label": label,
    "aria-describedby": id,
    spellcheck: "false",
    autocapitalize: "none",
    autocomplete: "off",
    on: { input: draw, scroll: follow },
    props: { value: way.shown(text) },
  });
  if (area.value !== way.shown(text)) return null;
  const element = h("div", { class: "editor" }, h("div", { class: "layers" }, under, area), verdict, way.note && h("p", { class: "hint" }, way.note), unseen);
  /** What keeps the text from being JSON, and from being saved, with `offset` in the field. */
  let [noJson, unsavable] = [null, null];

  function follow() {
    under.scrollTop = area.scrollTop;
    under.scrollLeft = area.scrollLeft;
  }

  function draw() {
    const now = area.value;
    // a sign for CR is as long as that, so that places are the same in both
    const result = isJson ? scan(way.isLong ? now : way.raw(now)) : { tokens: [], error: null };
    noJson = result.error;
    const half = halfAt(now);
    unsavable = half >= 0 ? { message: "half of a character (a lone surrogate), which can’t be stored; in JSON, write its escape, such as \\ud83d", ...position(now, half) } : null;
    if (!unsavable && noJson && isJsonNeeded()) unsavable = { ...noJson, message: `Not valid JSON: ${noJson.message}` };
    area.setAttribute("aria-invalid", String(Boolean(unsavable)));
    element.classList.toggle("wrong", Boolean(unsavable));
    if (unsavable) verdict.textContent = `${unsavable.message}, line ${unsavable.line}, column ${unsavable.column}`;
    else if (!isJson) verdict.textContent = "";
    else verdict.textContent = noJson ? "Text that is not JSON; this store takes it" : "Valid JSON";
    unseen.textContent = unseenNote(now);
    const isColoured = isJson && now.length <= COLOURED_MAX;
    element.classList.toggle("plain", !isColoured);
    fill(under, isColoured && coloured(now, result));
    follow();
    changed?.();
  }

  draw();
  return {
    element,
    area,
    draw,
    get text() {
      return way.raw(area.value);
    },
    set text(value) {
      area.value = way.shown(value);
      draw();
    },
    /** Why the text can't be saved as it is, or null. */
    get problem() {
      return unsavable && `The value can’t be saved: ${unsavable.message}.`;
    },
    get isJson() {
      return isJson && !noJson;
    },
    /** Puts the cursor where the text stops being what it has to be. */
    showError() {
      area.focus();
      if (unsavable) area.setSelectionRange(unsavable.offset, unsavable.offset);
    },
  };
}

function unseenNote(text) {
  const found = unseenIn(text);
  if (!found) return "";
  const { line, column } = position(text, found.offset);
  const many = found.count === 1 ? "There is a character that can’t be seen" : `There are ${found.count} characters that can’t be seen; the first is`;
  return `${many}${found.count === 1 ? ":" : ""} ${found.name} in line ${line}, column ${column}.`;
}

function coloured(text, { tokens, error }) {
  const parts = [];
  let at = 0;
  for (const { kind, start, end } of tokens) {
    if (start > at) parts.push(text.slice(at, start));
    parts.push(kind === "mark" ? text.slice(start, end) : h("span", { class: kind }, text.slice(start, end)));
    at = end;
  }
  if (error) {
    parts.push(text.slice(at, error.offset));
    at = Math.min(text.length, error.offset + 1);
    parts.push(h("span", { class: "error" }, text.slice(error.offset, at) || " "));
  }
  // a last line without text has a height, too
  parts.push(`${text.slice(at)}\n`);
  return parts;
}
