// A text field that shows JSON in colours and says where it is none. The text is the field's; the colours lie under it.

import { h } from "./dom.js";
import { scan } from "./json.js";

/** Longer texts are checked and edited, but not coloured: the browser would lag. */
const COLOURED_MAX = 200_000;

/** `check(text)` gives a message if the text can't be saved, and where; `changed` is called after each change. */
export function editor({ text, label, isJson, isJsonNeeded, changed }) {
  const under = h("pre", { "aria-hidden": "true" });
  const id = `verdict${(editor.count = (editor.count ?? 0) + 1)}`;
  const note = h("p", { class: "verdict", role: "status", id });
  const area = h("textarea", {
    "aria-label": label,
    "aria-describedby": id,
    spellcheck: "false",
    autocapitalize: "none",
    autocomplete: "off",
    on: { input: draw, scroll: follow },
    props: { value: text },
  });
  const element = h("div", { class: "editor" }, h("div", { class: "layers" }, under, area), note);
  let error = null;

  function follow() {
    under.scrollTop = area.scrollTop;
    under.scrollLeft = area.scrollLeft;
  }

  function draw() {
    const now = area.value;
    const result = isJson ? scan(now) : { tokens: [], error: null };
    error = result.error;
    area.setAttribute("aria-invalid", String(Boolean(error && isJsonNeeded)));
    element.classList.toggle("wrong", Boolean(error && isJsonNeeded));
    if (!isJson) note.textContent = "";
    else if (!error) note.textContent = "Valid JSON";
    else if (isJsonNeeded) note.textContent = `Not valid JSON: ${error.message}, line ${error.line}, column ${error.column}`;
    else note.textContent = "Text; this store takes any";
    const isColoured = isJson && now.length <= COLOURED_MAX;
    element.classList.toggle("plain", !isColoured);
    under.replaceChildren(...(isColoured ? coloured(now, result) : []));
    follow();
    changed?.();
  }

  draw();
  return {
    element,
    area,
    get text() {
      return area.value;
    },
    set text(value) {
      area.value = value;
      draw();
    },
    get isWrong() {
      return Boolean(error && isJsonNeeded);
    },
    get isJson() {
      return isJson && !error;
    },
    /** Puts the cursor where the text stops being JSON. */
    showError() {
      area.focus();
      if (error) area.setSelectionRange(error.offset, error.offset);
    },
  };
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
