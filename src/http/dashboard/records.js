// The records of a store, page by page in the order of their keys: by prefix, or by what is in their values.

import { replaceAddress } from "./address.js";
import { ask, get, query, storeOf, storePath, watch } from "./api.js";
import { dialog } from "./dialog.js";
import { button, exact, exactKey, failure, fill, h, icon, loading, state, toast } from "./dom.js";
import { exactText, keyText } from "./exact.js";
import { bytes, bytesOfBase64, count, duration, keyId, plural, ratio } from "./format.js";
import { newRecord, openRecord } from "./record.js";
import { facts, storeAddress, storeMenu, usageBar } from "./stores.js";
import { exportDialog, importDialog } from "./transfer.js";

/** Bytes of a value that a row shows. */
const PREVIEW_BYTES = 160;
/** Keys that a question before deleting names. */
const NAMED_MAX = 8;

export function recordsView(main, { session, argument: name, parameters }) {
  let limitMax = session.max_keys_per_query || 1000;
  let store = null;
  let text = parameters.get("prefix") ?? parameters.get("contains") ?? "";
  let way = parameters.has("contains") ? "contains" : "prefix";
  let limit = Math.min(100, limitMax);
  /** Cursors of the pages up to this one, and how many records are before each. */
  let pages = [{ cursor: "0", before: 0 }];
  let next = null;
  let entries = [];
  /** Keys by their id, across pages. */
  const selected = new Map();
  /** Only the latest question's answer is shown. */
  let asked = 0;
  let hasLeft = false;

  const head = h("div", {});
  const list = h("div", { class: "records" }, loading());
  const selection = h("div", { class: "selection", role: "region", "aria-label": "Selected records", hidden: true });
  const foot = h("nav", { class: "pager", "aria-label": "Pages" });
  const ticking = setInterval(tick, 1000);
  main.append(head, toolbar(), selection, list, foot);

  function toolbar() {
    const what = h("select", { "aria-label": "Look for", on: { change: () => ((way = what.value), look()) } }, h("option", { value: "prefix" }, "Key begins with"), h("option", { value: "contains" }, "Value contains"));
    what.value = way;
    let typing;
    const input = h("input", {
      type: "search",
      "aria-label": "Text to look for",
      placeholder: "all records",
      autocomplete: "off",
      autocapitalize: "none",
      spellcheck: "false",
      props: { value: text },
      on: {
        input: () => {
          clearTimeout(typing);
          typing = setTimeout(find, 250);
        },
      },
    });
    function find() {
      clearTimeout(typing);
      if (text === input.value) return;
      text = input.value;
      look();
    }
    function look() {
      try {
        replaceAddress(`${storeAddress(name)}${query({ [way]: text })}`);
      } catch (error) {
        toast(error.detail ?? String(error));
        return;
      }
      first();
    }
    const submit = (event) => {
      event.preventDefault();
      find();
    };
    return h(
      "div",
      { class: "tools" },
      h("form", { class: "find", role: "search", on: { submit } }, what, input),
      h(
        "div",
        { class: "actions" },
        button("New record", () => store && newRecord({ store, done: reload }), { class: "primary", icon: "plus" }),
        button("Import", () => store && importDialog(store, reload), { icon: "up" }),
        button("Export", () => store && exportDialog(store, way === "prefix" ? text : ""), { icon: "down" }),
        button("", reload, { class: "quiet", icon: "refresh", "aria-label": "Refresh", title: "Refresh" }),
      ),
    );
  }

  async function loadStore() {
    store = await (store ? watch(storePath(store)) : storeOf(name));
    if (hasLeft) return;
    // a store may allow fewer keys than the server
    limitMax = Math.min(store.max_keys_per_query || Infinity, session.max_keys_per_query || 1000);
    limit = Math.min(limit, limitMax);
    if (name !== store.name) {
      // somebody renamed it: this is its page still
      name = store.name;
      document.title = `${exactText(name)} · Larder`;
      replaceAddress(`${storeAddress(name)}${query({ [way]: text })}`);
    }
    const moved = (now) => {
      if (hasLeft) return;
      if (now === null) location.hash = "#/";
      else reload();
    };
    fill(
      head,
      h(
        "header",
        { class: "head" },
        h("h1", {}, h("a", { href: "#/" }, "Stores"), h("span", { class: "muted", "aria-hidden": "true" }, " / "), exact(store.name)),
        storeMenu(store, moved),
      ),
      facts([
        ["Records", count(store.records), usageBar(store.records, store.max_keys, count, "Records")],
        ["Stored", bytes(store.stored_bytes), usageBar(store.stored_bytes, store.max_bytes, bytes, "Stored bytes")],
        ["Compression", ratio(store.plain_bytes, store.stored_bytes)],
        ["With expiry", count(store.expiring)],
        ["Values", store.values === "any" ? "any bytes" : "JSON"],
        ...(store.evict !== "none" ? [["When full", `evicts (${store.evict})`]] : []),
        ...(store.default_ttl_ms ? [["Expire after", duration(store.default_ttl_ms)]] : []),
        ...(store.retention_ms ? [["Kept unchanged", duration(store.retention_ms)]] : []),
        ["Connections", count(store.clients ?? 0)],
      ]),
    );
  }

  function first() {
    pages = [{ cursor: "0", before: 0 }];
    return load();
  }

  /** The page again, with the figures of the store. */
  async function reload() {
    if (!hasLeft) await load();
  }

  async function load() {
    const mine = (asked += 1);
    const { cursor } = pages.at(-1);
    list.setAttribute("aria-busy", "true");
    try {
      const isNew = store === null;
      if (isNew) await loadStore();
      const [told] = await Promise.all([page(cursor, mine), !isNew && loadStore()]);
      if (mine !== asked) return;
      const arrived = performance.now();
      entries = told.entries.map((entry) => ({ ...entry, deadline: entry.ttl_ms === null ? null : arrived + entry.ttl_ms }));
      next = told.cursor;
      // a page whose records are gone is no place to be
      if (entries.length === 0 && next === null && pages.length > 1) {
        pages.pop();
        return await load();
      }
      draw(told.looked_at);
    } catch (error) {
      if (mine !== asked || error.status === 401) return;
      if (error.code === "NOSTORE" || error.status === 404) {
        fill(main, state(`There is no store ${exactText(name)}`, "It may have been dropped or renamed.", h("a", { class: "button", href: "#/" }, "To the stores")));
        return;
      }
      fill(list, failure(error, load));
      fill(foot);
    }
    list.removeAttribute("aria-busy");
  }

  async function page(cursor, mine) {
    const isSearch = way === "contains" && text !== "";
    for (let from = cursor; ; ) {
      const path = storePath(store, `/${isSearch ? "search" : "entries"}${query({ cursor: from, limit, preview: PREVIEW_BYTES, [way]: text })}`);
      // a search is somebody's wish, and may be slow; a page is only looked at
      const told = await (isSearch ? get : watch)(path);
      // where very much was deleted, a page can be empty although there is more
      if (isSearch || told.entries.length > 0 || told.cursor === null || mine !== asked) return told;
      from = told.cursor;
    }
  }

  function draw(lookedAt) {
    fill(list, entries.length ? table() : nothing(lookedAt));
    drawSelection();
    drawPager(lookedAt);
  }

  function nothing(lookedAt) {
    if (next !== null) return state("Nothing found so far", `${plural(lookedAt ?? 0, "record")} were looked at, and there are more.`, button("Look on", forward, { class: "primary" }));
    if (text) return state("Nothing found", way === "prefix" ? "No key begins with this text." : "No value contains this text.");
    return state("No records yet", "What is written to this store, here or by any client, shows up in this list.", button("New record", () => newRecord({ store, done: reload }), { class: "primary", icon: "plus" }));
  }

  function table() {
    const all = h("input", { type: "checkbox", "aria-label": "Select all on this page", on: { change: () => chooseAll(all.checked) } });
    const columns = [["Key"], ["Value"], ["Expires in", "number"], ["Size", "number"], ["Stored", "number"], ["Ratio", "number"]];
    const heads = columns.map(([label, kind]) => h("th", { scope: "col", class: kind }, label));
    const rows = entries.map((entry) => row(entry));
    return h("table", { class: "list keys" }, h("thead", {}, h("tr", {}, h("th", { class: "check" }, all), heads)), h("tbody", {}, rows));

    function row(entry) {
      const shown = keyText(entry.key);
      const box = h("input", { type: "checkbox", "aria-label": `Select ${shown}`, props: { checked: selected.has(keyId(entry.key)) }, on: { change: () => choose(entry, box.checked) } });
      const open = () => openRecord({ store, key: entry.key, done: reload });
      entry.box = box;
      entry.ttl = h("td", { class: "number ttl", "data-label": "Expires in" }, remaining(entry));
      const isBytes = typeof entry.key !== "string";
      return h(
        "tr",
        {},
        h("td", { class: "check" }, box),
        h("th", { scope: "row", class: "code" }, button(exactKey(entry.key), open, { class: "link", title: shown }), isBytes && h("span", { class: "chip" }, "bytes")),
        h("td", { class: "code value", "data-label": "Value", on: { click: open } }, preview(entry)),
        entry.ttl,
        h("td", { class: "number", "data-label": "Size" }, bytes(entry.plain_bytes)),
        h("td", { class: "number", "data-label": "Stored" }, bytes(entry.stored_bytes)),
        h("td", { class: "number", "data-label": "Ratio" }, ratio(entry.plain_bytes, entry.stored_bytes)),
      );
    }
  }

  function choose({ key, box }, isChosen) {
    mark({ key, box }, isChosen);
    drawSelection();
  }

  function chooseAll(isChosen) {
    entries.forEach((entry) => mark(entry, isChosen));
    drawSelection();
  }

  function mark({ key, box }, isChosen) {
    box.checked = isChosen;
    if (isChosen) selected.set(keyId(key), key);
    else selected.delete(keyId(key));
  }

  function drawSelection() {
    selection.hidden = selected.size === 0;
    const here = entries.filter((entry) => selected.has(keyId(entry.key))).length;
    const elsewhere = selected.size - here;
    fill(
      selection,
      h("span", { role: "status" }, `${plural(selected.size, "record")} selected${elsewhere ? `, ${count(elsewhere)} of them not on this page` : ""}`),
      button("Delete …", deleteSelected, { class: "danger", icon: "bin" }),
      button("Clear selection", () => {
        selected.clear();
        entries.forEach((entry) => entry.box && (entry.box.checked = false));
        drawSelection();
      }),
    );
    const all = list.querySelector("thead input");
    if (all) {
      all.checked = here === entries.length;
      all.indeterminate = here > 0 && here < entries.length;
    }
  }

  function deleteSelected() {
    const keys = [...selected.values()];
    const named = keys.slice(0, NAMED_MAX).map((key) => h("li", { class: "code" }, exactKey(key)));
    dialog({
      title: `Delete ${plural(keys.length, "record")}`,
      body: [h("p", {}, "From ", exact(store.name), ". This can’t be undone."), h("ul", {}, named, keys.length > NAMED_MAX && h("li", { class: "muted" }, `and ${count(keys.length - NAMED_MAX)} more`))],
      action: `Delete ${plural(keys.length, "record")}`,
      danger: true,
      submit: async () => {
        let deleted = 0;
        for (let at = 0; at < keys.length; at += limitMax) {
          const some = keys.slice(at, at + limitMax);
          deleted += (await (await ask("POST", storePath(store, "/many/delete"), { json: { keys: some } })).json()).deleted;
          some.forEach((key) => selected.delete(keyId(key)));
        }
        toast(`${plural(deleted, "record")} deleted.`);
        await reload();
      },
    });
  }

  function drawPager(lookedAt) {
    const { before } = pages.at(-1);
    const sizes = [50, 100, 250, 500, 1000].filter((size) => size < limitMax).concat(limitMax < 1000 ? limitMax : []);
    const size = h("select", { "aria-label": "Records on a page", on: { change: () => ((limit = Number(size.value)), first()) } }, sizes.map((number) => h("option", { value: number }, `${number} a page`)));
    size.value = String(limit);
    const range = entries.length ? `${count(before + 1)}–${count(before + entries.length)}` : "";
    const searched = lookedAt === undefined ? "" : ` found in ${plural(lookedAt, "record")}`;
    fill(
      foot,
      button("Previous", back, { icon: "left", disabled: pages.length === 1 }),
      h("span", { class: "range", role: "status" }, `Page ${count(pages.length)}`, range && ` · ${range}${searched}`),
      h("button", { type: "button", disabled: next === null, on: { click: forward } }, "Next", icon("right")),
      size,
    );
    foot.hidden = pages.length === 1 && next === null && entries.length <= 50 && limit <= 100;
  }

  async function forward() {
    pages.push({ cursor: next, before: pages.at(-1).before + entries.length });
    await load();
    list.scrollIntoView({ block: "nearest" });
  }

  async function back() {
    pages.pop();
    await load();
  }

  function remaining({ deadline }) {
    if (deadline === null) return h("span", { class: "muted" }, "never");
    const left = deadline - performance.now();
    return left > 0 ? duration(left) : h("span", { class: "muted" }, "expired");
  }

  function tick() {
    for (const entry of entries) {
      if (entry.deadline !== null) entry.ttl && fill(entry.ttl, remaining(entry));
    }
  }

  first();
  return () => {
    hasLeft = true;
    clearInterval(ticking);
    asked += 1;
  };
}

/** The beginning of a value in one line; of bytes that are no text, in hexadecimal. */
function preview(entry) {
  if (entry.preview_base64 !== undefined) {
    const hex = Array.from(bytesOfBase64(entry.preview_base64).subarray(0, 48), (byte) => byte.toString(16).padStart(2, "0")).join(" ");
    return [h("span", { class: "chip" }, "bytes"), hex];
  }
  // as JSON takes them, blanks and line ends are one blank here
  return exact(entry.preview.replace(/[ \t\r\n]+/g, " ").trim());
}
