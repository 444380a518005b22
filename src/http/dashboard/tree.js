// The keys of a store as a tree: groups of keys with the same text up to a separator, with how many keys they have. Each level is
// asked for when it is opened, so a store of millions of keys opens as fast as one of ten.

import { query, storePath, watch } from "./api.js";
import { button, exactKey, failure, fill, h, icon } from "./dom.js";
import { keyText } from "./exact.js";
import { count } from "./format.js";

const SEPARATORS = [[":", "a : b"], ["/", "a / b"], [".", "a . b"], ["-", "a - b"], ["_", "a _ b"]];
const KEPT = "larder.separator";
/** Nodes of a level that are shown at first, and that each further step adds. */
const PAGE = 200;

const kept = () => {
  try {
    return localStorage.getItem(KEPT) ?? ":";
  } catch {
    return ":";
  }
};

/**
 * The tree of a store. `chosen(prefix)` is told which group was chosen, "" being all; `opened(key)` which key.
 * Groups whose names are not text can't be part of an address, and are left out of the choice.
 */
export function keyTree({ storeNow, limit, chosen, opened }) {
  let separator = kept();
  let current = "";
  const root = h("ul", { role: "tree", class: "branches", "aria-label": "Keys by group", on: { keydown: onKey } });
  const choice = h("select", { "aria-label": "Separator of the tree", title: "Where the levels of a key end", on: { change: onSeparator } }, SEPARATORS.map(([value, label]) => h("option", { value }, label)));
  choice.value = separator;
  const element = h("div", { class: "tree" }, h("div", { class: "tree-head" }, h("h2", {}, "Groups"), choice), root);

  function onSeparator() {
    separator = choice.value;
    try {
      localStorage.setItem(KEPT, separator);
    } catch {
      // it holds until the page is left
    }
    load();
  }

  /** The tree from its root, for example after another store was shown. */
  async function load() {
    const all = item({ label: "All records", level: 1, keys: storeNow()?.records, isLeaf: true });
    all.line.addEventListener("click", () => choose(""));
    all.element.dataset.prefix = "";
    const rest = h("li", { class: "muted note" }, "…");
    fill(root, all.element, rest);
    await branch(root, "", 1, rest);
    mark(current);
    if (!root.querySelector("[tabindex='0']")) all.element.tabIndex = 0;
  }

  /** Puts the nodes of a level in the place of an element that stands for them. */
  async function branch(list, prefix, level, place, cursor = "0") {
    let told;
    try {
      told = await watch(storePath(storeNow(), `/tree${query({ prefix, separator, cursor, limit: Math.min(PAGE, limit()) })}`));
    } catch (error) {
      if (error.status !== 401) place.replaceWith(h("li", { class: "note" }, failure(error)));
      return;
    }
    const nodes = told.nodes.map((node) => nodeOf(node, prefix, level));
    if (told.cursor) {
      const more = h("li", { class: "note" }, button("Show more", () => branch(list, prefix, level, more, told.cursor), { class: "link" }));
      nodes.push(more);
    }
    if (!nodes.length && level === 1) nodes.push(h("li", { class: "muted note" }, "no keys"));
    place.replaceWith(...nodes);
    mark(current);
  }

  function nodeOf(node, prefix, level) {
    if (node.prefix === undefined) {
      const { element, line } = item({ label: exactKey(tail(node.key, prefix)), level, isLeaf: true, isKey: true, title: keyText(node.key) });
      line.addEventListener("click", () => opened(node.key));
      return element;
    }
    const isText = typeof node.prefix === "string";
    const { element, line, toggle } = item({ label: exactKey(tail(node.prefix, prefix)), level, keys: node.keys, isMore: node.is_more, isLeaf: !isText, title: keyText(node.prefix) });
    if (!isText) return element;
    element.dataset.prefix = node.prefix;
    let children = null;
    const setOpen = (isOpen) => {
      element.setAttribute("aria-expanded", String(isOpen));
      if (!isOpen || children) {
        if (children) children.hidden = !isOpen;
        return;
      }
      const rest = h("li", { class: "muted note" }, "…");
      children = h("ul", { role: "group" }, rest);
      element.append(children);
      branch(children, node.prefix, level + 1, rest);
    };
    element.toggleOpen = (wanted = element.getAttribute("aria-expanded") !== "true") => setOpen(wanted);
    element.setAttribute("aria-expanded", "false");
    toggle.addEventListener("click", (event) => {
      event.stopPropagation();
      element.toggleOpen();
    });
    line.addEventListener("click", () => {
      setOpen(true);
      choose(node.prefix);
    });
    return element;
  }

  function item({ label, level, keys, isMore, isLeaf, isKey, title }) {
    const toggle = h("span", { class: "toggle", "aria-hidden": "true" }, !isLeaf && icon("right"));
    const shown = keys === undefined ? null : h("span", { class: "muted many" }, `${count(keys)}${isMore ? "+" : ""}`);
    const line = h("div", { class: isKey ? "line leaf" : "line", title }, toggle, h("span", { class: typeof label === "string" ? "name" : "code name" }, label), shown);
    const element = h("li", { role: "treeitem", "aria-level": level, tabindex: "-1", "aria-selected": "false" }, line);
    return { element, line, toggle };
  }

  function choose(prefix) {
    mark(prefix);
    chosen(prefix);
  }

  /** Shows which group the list has. */
  function mark(prefix) {
    current = prefix;
    for (const element of root.querySelectorAll("[role='treeitem']")) {
      const isIt = element.dataset.prefix === prefix;
      element.setAttribute("aria-selected", String(isIt));
      element.tabIndex = isIt ? 0 : -1;
    }
    if (!root.querySelector("[tabindex='0']")) root.querySelector("[role='treeitem']")?.setAttribute("tabindex", "0");
  }

  function onKey(event) {
    const here = event.target.closest("[role='treeitem']");
    if (!here || event.altKey || event.ctrlKey || event.metaKey) return;
    const items = [...root.querySelectorAll("[role='treeitem']")].filter((element) => element.checkVisibility());
    const at = items.indexOf(here);
    const isOpen = here.getAttribute("aria-expanded") === "true";
    const go = (to) => {
      if (!to) return;
      here.tabIndex = -1;
      to.tabIndex = 0;
      to.focus();
    };
    const keys = {
      ArrowDown: () => go(items[at + 1]),
      ArrowUp: () => go(items[at - 1]),
      Home: () => go(items[0]),
      End: () => go(items.at(-1)),
      ArrowRight: () => (isOpen ? go(items[at + 1]) : here.toggleOpen?.(true)),
      ArrowLeft: () => (isOpen ? here.toggleOpen(false) : go(here.parentElement.closest("[role='treeitem']"))),
      Enter: () => here.querySelector(".line").click(),
      " ": () => here.querySelector(".line").click(),
    };
    if (!keys[event.key]) return;
    event.preventDefault();
    event.stopPropagation();
    keys[event.key]();
  }

  return { element, load, mark };
}

/** What a node adds to the level that it is on. */
function tail(key, prefix) {
  return typeof key === "string" && key.length > prefix.length ? key.slice(prefix.length) : key;
}
