// Parts that pages share: figures, limits, tables, work that takes long.

import { button, h } from "./dom.js";
import { percent } from "./format.js";

/** The head of a page: its title, and what can be done with all of it. */
export const pageHead = (title, ...actions) => h("header", { class: "head" }, h("h1", {}, title), h("div", { class: "actions" }, actions));

/** Figures with what they mean, side by side: pairs of a name and what is shown. */
export function facts(pairs) {
  return h("dl", { class: "facts" }, pairs.map(([name, ...value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

/** How much of a limit is used; nothing where there is no limit. */
export function usageBar(used, limit, shown, label) {
  if (!limit) return null;
  const share = Math.min(1, used / limit);
  const fill = h("span", { class: share >= 1 ? "fill full" : share >= 0.8 ? "fill high" : "fill" });
  fill.style.width = `${share * 100}%`;
  const meter = { role: "meter", "aria-label": label, "aria-valuemin": 0, "aria-valuemax": limit, "aria-valuenow": used };
  return h("span", { class: "usage", title: `${percent(used, limit)} of ${shown(limit)}` }, h("span", { class: "of" }, `of ${shown(limit)}`), h("span", { class: "track", ...meter }, fill));
}

/**
 * A table that becomes cards on a phone. A column is `{name, show(item), kind, head}`: `kind` is the class of its cells (number,
 * code, end, time), `head` marks the column that names the row.
 */
export function table({ columns, items, caption, kind = "" }) {
  const heads = columns.map(({ name, kind: of }) => h("th", { scope: "col", class: of === "code" ? null : of }, name || h("span", { class: "unseen" }, "Actions")));
  const cell = (item) => ({ name, show, kind: of, head }) =>
    head ? h("th", { scope: "row", class: of }, show(item)) : h("td", { class: of, "data-label": name || null }, show(item));
  const rows = items.map((item) => h("tr", {}, columns.map(cell(item))));
  return h("table", { class: `list ${kind}` }, caption && h("caption", {}, caption), h("thead", {}, h("tr", {}, heads)), h("tbody", {}, rows));
}

/**
 * Work that takes long: how far it is, and a button that ends it. `signal` is what the work looks at; `show(text, part)` tells how
 * far it is, `part` being from 0 to 1, or null where nobody knows.
 */
export function progress(label, { stopped = "Stop" } = {}) {
  const abort = new AbortController();
  const bar = h("progress", { max: "1", "aria-label": label });
  const text = h("span", { class: "muted", role: "status" });
  const stop = button(stopped, () => abort.abort());
  const element = h("div", { class: "progress" }, bar, h("div", { class: "row" }, text, stop));
  return {
    element,
    signal: abort.signal,
    stop: () => abort.abort(),
    show(words, part = null) {
      text.textContent = words;
      if (part === null) bar.removeAttribute("value");
      else bar.value = Math.min(1, part);
    },
    /** It has ended, so there is nothing to stop. */
    end(words) {
      text.textContent = words;
      bar.hidden = true;
      stop.hidden = true;
    },
  };
}
