// A reply with its types: what is nested folds, JSON can be read, what is nothing looks like it.

import { button, exact, h } from "./dom.js";
import { piecesOfKey } from "./exact.js";
import { plural } from "./format.js";
import { formatted, scan } from "./json.js";

/** So many items are shown before one asks for more. */
const ITEMS_SHOWN = 100;
/** What has more items than this is folded, unless it is the reply itself. */
const ITEMS_OPEN = 12;
/** A longer text is cut until one asks for all of it. */
const TEXT_SHOWN = 20_000;

/** An element that shows a reply of the API's `run`. */
export function replyView(reply, isOutermost = true) {
  const { type, text, base64, items } = reply;
  if (items) return nested(reply, isOutermost);
  if (type === "null") return h("span", { class: "reply null" }, "(nil)");
  if (type === "error") return h("span", { class: "reply error" }, exact(text));
  if (type === "status") return h("span", { class: "reply status" }, exact(text));
  if (type === "string" || type === "text") return base64 === undefined ? stringView(text, type) : bytesView(base64);
  return h("span", { class: "reply number" }, h("span", { class: "type" }, `(${type}) `), text);
}

function nested({ type, items }, isOutermost) {
  const isMap = type === "map";
  const size = isMap ? items.length / 2 : items.length;
  const noun = isMap ? "field" : type === "set" ? "member" : "item";
  if (size === 0) return h("span", { class: "reply null" }, `(empty ${type})`);
  const list = h("ol", { class: isMap ? "map" : null });
  const more = h("p", { class: "more" });
  let shown = 0;
  const add = () => {
    const end = Math.min(size, shown + ITEMS_SHOWN);
    for (; shown < end; shown += 1) list.append(isMap ? field(items[2 * shown], items[2 * shown + 1]) : h("li", {}, replyView(items[shown], false)));
    more.replaceChildren(...(shown < size ? [button(`Show ${Math.min(ITEMS_SHOWN, size - shown)} more of ${size - shown}`, add)] : []));
  };
  const element = h("details", { class: "reply nested", open: isOutermost || size <= ITEMS_OPEN }, h("summary", {}, `${plural(size, noun)}`, type === "array" ? null : h("span", { class: "type" }, ` (${type})`)), list, more);
  // what is folded is made when it is opened
  const fillOnce = () => shown === 0 && element.open && add();
  element.addEventListener("toggle", fillOnce);
  fillOnce();
  return element;
}

const field = (name, value) => h("li", {}, h("span", { class: "name" }, name.items ? replyView(name, false) : exact(name.text ?? shownBytes(name.base64))), replyView(value, false));

function stringView(text, type) {
  if (type === "text" || /\n/.test(text.slice(0, 2000).trimEnd())) return long(text, (part) => h("pre", { class: "reply text" }, part));
  const isJson = /^\s*[[{]/.test(text) && text.length < 1_000_000 && !scan(text).error;
  if (!isJson) return long(text, (part) => h("span", { class: "reply string" }, "“", exact(part), "”"));
  const pretty = formatted(text);
  // a short one is read as it is
  return long(text.length < 80 ? text : pretty, (part) => h("pre", { class: "reply json" }, coloured(part)));
}

function long(text, shown) {
  if (text.length <= TEXT_SHOWN) return shown(text);
  const element = h("div", {});
  const all = button(`Show all ${plural(text.length, "character")}`, () => element.replaceChildren(shown(text)));
  element.append(shown(`${text.slice(0, TEXT_SHOWN)}…`), h("p", { class: "more" }, all));
  return element;
}

function coloured(text) {
  const { tokens, error } = scan(text);
  if (error || tokens.length > 20_000) return text;
  const out = [];
  let end = 0;
  for (const { start, end: to, kind } of tokens) {
    out.push(text.slice(end, start), h("span", { class: kind }, text.slice(start, to)));
    end = to;
  }
  return [...out, text.slice(end)];
}

const shownBytes = (base64) => piecesOfKey({ base64 }).map(({ text }) => text).join("");

function bytesView(base64) {
  return h("span", { class: "reply string" }, h("span", { class: "type" }, "(bytes) "), long(shownBytes(base64), (part) => h("span", { class: "code" }, part)));
}
