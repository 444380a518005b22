// The settings of a store, and the workflows that are linked to it.

import { pageNow } from "./address.js";
import { ask, exactly, storePath, watch } from "./api.js";
import { dialog } from "./dialog.js";
import { button, exact, field, fill, h, toast } from "./dom.js";
import { exactText } from "./exact.js";

const LIMITS = [
  { field: "max_keys", setting: "max-keys", label: "Records at most", hint: "Empty: no limit.", shown: String },
  { field: "max_bytes", setting: "max-bytes", label: "Stored bytes at most", hint: "After compression; like 64mb or 2gb. Empty: no limit.", shown: inBytes },
  { field: "default_ttl_ms", setting: "default-ttl", label: "Records expire after", hint: "If nothing else was said when they were written; like 30s, 15m, 12h, 90d. Empty: never.", shown: inTime },
  { field: "retention_ms", setting: "retention", label: "Delete records unchanged for", hint: "Like 90d. Empty: never.", shown: inTime },
  { field: "max_keys_per_query", setting: "max-keys-per-query", label: "Keys per query at most", hint: "For KEYS and lists without pages. 0: no limit. Empty: what the server says.", shown: String, zero: "0" },
];

const EVICT = [["none", "Refuse writes"], ["lru", "Evict what was used least recently"], ["lfu", "Evict what is used least often"], ["ttl", "Evict what expires next"], ["random", "Evict any record"]];

export async function settingsDialog(store, changed) {
  const isShown = pageNow();
  let now = store;
  try {
    now = await watch(storePath(store));
  } catch (error) {
    toast(error.detail ?? String(error));
    return;
  }
  if (!isShown()) return;
  const values = h("select", { autofocus: true }, h("option", { value: "json" }, "JSON only"), h("option", { value: "any" }, "Any bytes"));
  values.value = now.values;
  const limits = limitFields(now);
  const links = linksOf(store);
  dialog({
    title: ["Settings of ", exact(now.name)],
    body: [
      field("Values", values, "From any bytes back to JSON only while the store is empty."),
      limits.elements,
      links.element,
    ],
    action: "Save",
    submit: async () => {
      await links.finish();
      const changes = { ...(values.value !== now.values && { values: values.value }), ...limits.changes() };
      if (Object.keys(changes).length === 0) return;
      await ask("PATCH", storePath(store), { json: changes });
      toast(`The settings of ${exactText(now.name)} were saved.`);
      changed(now.name);
    },
  });
}

/** Fields for a store's limits, and what was changed in them, as the API takes it. */
export function limitFields(store) {
  const limits = LIMITS.map((limit) => {
    const value = store[limit.field];
    const before = value ? limit.shown(value) : value === undefined ? "" : (limit.zero ?? "");
    const input = h("input", { autocomplete: "off", spellcheck: "false", placeholder: "none", props: { value: before } });
    return { ...limit, before, input };
  });
  const evict = h("select", {}, EVICT.map(([value, text]) => h("option", { value }, text)));
  const evictBefore = store.evict ?? "none";
  evict.value = evictBefore;
  const elements = limits.map(({ label, input, hint }) => field(label, input, hint));
  elements.splice(2, 0, field("When it is full", evict, "What happens when a limit of records or bytes is reached."));
  return {
    elements,
    changes() {
      const changed = limits.filter(({ before, input }) => input.value.trim() !== before);
      const changes = changed.map(({ setting, input }) => [setting, input.value.trim() || "none"]);
      if (evict.value !== evictBefore) changes.push(["evict", evict.value]);
      return Object.fromEntries(changes);
    },
  };
}

/** Workflows that are linked to a store; each change is made at once. `finish` links one that was typed and not linked yet. */
function linksOf(store) {
  const list = h("ul", { class: "links" });
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const workflow = h("input", { "aria-label": "Workflow to link", placeholder: "name of a workflow", autocomplete: "off" });
  // one after another, so that the last answer shows what came of all of them
  let changing = Promise.resolve();
  const change = (...request) => (changing = changing.then(() => makeChange(...request)));
  const makeChange = async (method, path, options) => {
    problem.hidden = true;
    try {
      if (method) await ask(method, storePath(store, path), options);
      const { workflows } = await watch(storePath(store, "/links"));
      const shown = workflows.map((linked) => {
        const unlink = () => change("DELETE", `/link?workflow=${encodeURIComponent(linked)}`);
        return h("li", {}, exact(linked), button("Unlink", unlink, { class: "quiet", "aria-label": `Unlink ${exactText(linked)}` }));
      });
      fill(list, shown.length ? shown : h("li", { class: "muted" }, "none"));
    } catch (error) {
      problem.textContent = error.detail ?? String(error);
      problem.hidden = false;
    }
  };
  const link = async () => {
    const asked = workflow.value;
    workflow.value = "";
    await change("POST", "/links", { json: { workflow: asked } });
    // what was refused can be mended, unless something else is being typed already
    if (!problem.hidden && workflow.value === "") workflow.value = asked;
  };
  workflow.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    link();
  });
  change();
  const element = h("fieldset", {}, h("legend", {}, "Linked workflows"), h("p", { class: "hint" }, "While there are any, the store can’t be dropped."), list, h("div", { class: "row" }, workflow, button("Link", link)), problem);
  const finish = async () => {
    if (workflow.value === "") return;
    await link();
    if (!problem.hidden) throw new Error("The workflow was not linked, and nothing else was saved.");
  };
  return { element, finish };
}

/** The shortest text that means this many bytes. */
function inBytes(number) {
  for (const [unit, size] of [["gb", 2 ** 30], ["mb", 2 ** 20], ["kb", 2 ** 10]]) {
    if (number % size === 0) return `${number / size}${unit}`;
  }
  return String(number);
}

function inTime(millis) {
  for (const [unit, size] of [["d", 86_400_000], ["h", 3_600_000], ["m", 60_000], ["s", 1_000]]) {
    if (millis % size === 0) return `${millis / size}${unit}`;
  }
  return `${millis}ms`;
}
