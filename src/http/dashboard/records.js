// The records of a store: groups of keys, a list of records in the order of their keys, and the record that is open.

import { replaceAddress } from "./address.js";
import { ask, query, storeOf, storePath, watch } from "./api.js";
import { COLUMNS, hiddenColumns, keepHidden, remaining } from "./columns.js";
import { dialog, mayClose } from "./dialog.js";
import { button, exact, exactKey, failure, fill, h, icon, loading, state, toast } from "./dom.js";
import { exactText, keyText } from "./exact.js";
import { bytes, count, duration, keyId, plural } from "./format.js";
import { follow, isLiveKept, keepLive } from "./live.js";
import { facts, progress, usageBar } from "./parts.js";
import { listTools } from "./listtools.js";
import { newRecord, openRecord } from "./record.js";
import { ifMay } from "./rights.js";
import { Search } from "./search.js";
import { compression, storeAddress, storeMenu } from "./stores.js";
import { keyTree } from "./tree.js";

/** Bytes of a value that a row shows. */
const PREVIEW_BYTES = 160;
/** Keys that a question before deleting names. */
const NAMED_MAX = 8;
/** The list follows changes at most so often. */
const FOLLOW_MS = 500;
/** From this width of the window on, a record stands beside the list. */
const BESIDE = matchMedia("(min-width: 66rem)");

export function recordsView(main, { session, argument: name, parameters }) {
  let limitMax = session.max_keys_per_query || 1000;
  let store = null;
  const search = new Search(parameters);
  /** The record that is open: its dialog and its key. */
  let opened = null;
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
  /** A search that is under way. */
  let searching = null;
  let stopFollowing = null;
  let following;
  const hidden = hiddenColumns();

  const head = h("div", { class: "store-head" });
  const list = h("div", { class: "records" }, loading());
  const selection = h("div", { class: "selection", role: "region", "aria-label": "Selected records", hidden: true });
  const foot = h("nav", { class: "pager", "aria-label": "Pages" });
  const ticking = setInterval(tick, 1000);
  const within = h("div", { class: "within" });
  const doFor = (act) => () => store && act({ store, search, limit: limitMax, prefix: search.prefix, done: reload });
  const tools = listTools({ search, hidden, doFor, look, reload, useLive, useColumn });
  const tree = keyTree({ storeNow: () => store, limit: () => limitMax, chosen: chooseGroup, opened: (key) => openKey(key) });
  const beside = h("section", { class: "beside", "aria-label": "Record" });
  const found = h("div", { class: "found" }, tools, within, selection, list, foot);
  const panes = h("div", { class: "panes" }, tree.element, found, beside);
  main.append(head, panes);
  document.addEventListener("keydown", onKey);

  function useColumn(id, isShown) {
    if (isShown) hidden.delete(id);
    else hidden.add(id);
    keepHidden(hidden);
    if (entries.length) draw();
  }

  /** Shows what is looked for now, in the list and in the address. */
  function look() {
    try {
      keepAddress();
    } catch (error) {
      toast(error.detail ?? String(error));
      return;
    }
    first();
  }

  /** What the address is as far as this page made it: somebody may be on the way to another one. */
  let kept = location.hash;

  function keepAddress() {
    if (location.hash !== kept) return;
    const key = opened?.key;
    const open = key === undefined ? {} : typeof key === "string" ? { key } : { key_base64: key.base64 };
    const emptyKey = open.key === "" ? `${search.isAll ? "?" : "&"}key=` : "";
    replaceAddress(`${storeAddress(name)}${query({ ...search.address, ...open })}${emptyKey}`);
    kept = location.hash;
  }

  function chooseGroup(prefix) {
    // what was typed just now counts, too
    search.text = tools.input.value;
    search.useGroup(prefix);
    tools.redraw();
    look();
  }

  /** Opens a record beside the list, or over it where there is no room. */
  async function openKey(key, event) {
    if (opened && keyId(opened.key) === keyId(key)) return;
    if (opened && !(await mayClose(opened.parts))) return;
    opened?.parts.close();
    const place = BESIDE.matches ? beside : null;
    const mine = { key, parts: null };
    opened = mine;
    panes.classList.toggle("with-record", Boolean(place));
    await openRecord({
      store,
      key,
      place,
      done: reload,
      begun: (parts) => {
        mine.parts = parts;
        parts.onClosed.push(() => closed(mine));
        if (event?.detail === 0) parts.element.querySelector("header button")?.focus();
      },
    });
  }

  function closed(mine) {
    if (opened !== mine) return;
    opened = null;
    panes.classList.remove("with-record");
    if (hasLeft) return;
    keepAddress();
    markOpen();
  }

  /** Marks the row of the record that is open, and has the address name it. */
  function markOpen() {
    for (const entry of entries) entry.row?.classList.toggle("open", Boolean(opened) && keyId(opened.key) === keyId(entry.key));
  }

  function useLive(isOn) {
    keepLive(isOn);
    stopFollowing?.();
    stopFollowing = null;
    tools.live.setAttribute("aria-pressed", String(isOn));
    tools.live.classList.remove("broken");
    if (!isOn) return;
    let touched = false;
    stopFollowing = follow(store, {
      changed: ({ kind, key }) => {
        touched ||= !opened || kind === "lost" || kind === "flush" || kind === "swap" || (key !== undefined && keyId(key) === keyId(opened.key));
        following ??= setTimeout(async () => {
          following = undefined;
          if (hasLeft) return;
          if (!searching) await reload();
          if (touched) opened?.parts?.follow?.();
          touched = false;
        }, FOLLOW_MS);
      },
      status: (text) => {
        tools.live.classList.toggle("broken", text !== "live");
        tools.live.title = text === "live" ? "The list follows the changes of this store" : `The stream of changes: ${text}`;
      },
    });
  }

  function onKey(event) {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    const isTyping = event.target.closest?.("input, textarea, select, [contenteditable]");
    if (event.key === "/" && !isTyping && !document.querySelector("dialog:modal")) {
      event.preventDefault();
      tools.input.focus();
      tools.input.select();
      return;
    }
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    const row = event.target.closest?.(".keys tbody tr");
    if (!row || isTyping) return;
    const to = event.key === "ArrowDown" ? row.nextElementSibling : row.previousElementSibling;
    const link = to?.querySelector("th button");
    if (!link) return;
    event.preventDefault();
    link.focus();
    if (opened && BESIDE.matches) to.openRecord();
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
      keepAddress();
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
        ["Compression", compression(store)],
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
      if (isNew) {
        await loadStore();
        if (hasLeft) return;
        tree.load().then(() => tree.mark(search.prefix));
        if (isLiveKept()) useLive(true);
        openFromAddress();
      }
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
        // a record that is open may hold what somebody typed
        fill(opened ? list : main, state(`There is no store ${exactText(name)}`, "It may have been dropped or renamed.", h("a", { class: "button", href: "#/" }, "To the stores")));
        return;
      }
      fill(list, failure(error, load));
      fill(foot);
    }
    list.removeAttribute("aria-busy");
  }

  /** A page; a search goes on until the page is full, or it is stopped. */
  async function page(cursor, mine) {
    const together = { entries: [], looked_at: search.isSlow ? 0 : undefined, cursor };
    searching?.stop();
    searching = null;
    const work = search.isSlow ? progress("Search") : null;
    searching = work;
    if (work) work.signal.addEventListener("abort", () => fill(within, scope()), { once: true });
    do {
      const told = await search.page(store, { cursor: together.cursor, limit: limit - together.entries.length, preview: PREVIEW_BYTES });
      together.entries.push(...told.entries);
      together.cursor = told.cursor;
      if (!search.isSlow) {
        // where very much was deleted, a page can be empty although there is more
        if (together.entries.length > 0 || mine !== asked) break;
        continue;
      }
      together.looked_at += told.looked_at;
      if (mine !== asked || work.signal.aborted) break;
      work.show(`${count(together.entries.length)} found in ${plural(together.looked_at, "record")} so far`, store.records ? together.looked_at / store.records : null);
      if (!work.element.isConnected) fill(within, scope(), work.element);
    } while (together.cursor !== null && together.entries.length < limit);
    if (searching === work) searching = null;
    fill(within, scope());
    return together;
  }

  /** The group within which a search stays, and a way out of it. */
  function scope() {
    tree.mark(search.prefix);
    return search.within && h("p", { class: "chip" }, h("span", {}, "in ", exact(search.within)), button("", () => chooseGroup(""), { class: "quiet", icon: "close", "aria-label": "Search everywhere" }));
  }

  function openFromAddress() {
    const base64 = parameters.get("key_base64");
    if (base64 !== null) openKey({ base64 });
    else if (parameters.has("key")) openKey(parameters.get("key"));
  }

  function draw(lookedAt) {
    fill(list, entries.length ? table() : nothing(lookedAt));
    markOpen();
    drawSelection();
    drawPager(lookedAt);
  }

  function nothing(lookedAt) {
    if (next !== null) return state("Nothing found so far", `${plural(lookedAt ?? 0, "record")} were looked at, and there are more.`, button("Look on", forward, { class: "primary" }));
    if (!search.isAll) return state("Nothing found", search.way.none);
    return state("No records yet", "What is written to this store, here or by any client, shows up in this list.", ifMay("set", button("New record", () => newRecord({ store, done: reload }), { class: "primary", icon: "plus" })));
  }

  function table() {
    const all = h("input", { type: "checkbox", "aria-label": "Select all on this page", on: { change: () => chooseAll(all.checked) } });
    const columns = COLUMNS.filter(([id]) => !hidden.has(id));
    const heads = [h("th", { scope: "col", class: "of-key" }, "Key"), columns.map(([id, label, , kind]) => h("th", { scope: "col", class: `${kind.startsWith("number") ? "number " : ""}of-${id}` }, label))];
    const rows = entries.map((entry) => row(entry));
    return h("table", { class: "list keys" }, h("thead", {}, h("tr", {}, h("th", { class: "check" }, all), heads)), h("tbody", {}, rows));

    function row(entry) {
      const shown = keyText(entry.key);
      const box = h("input", { type: "checkbox", "aria-label": `Select ${shown}`, props: { checked: selected.has(keyId(entry.key)) }, on: { change: () => choose(entry, box.checked) } });
      const open = async (event) => {
        const isOpening = openKey(entry.key, event);
        keepAddress();
        markOpen();
        await isOpening;
        markOpen();
      };
      entry.box = box;
      const cells = columns.map(([id, label, show, kind]) => {
        const cell = h("td", { class: `${kind} of-${id}`, "data-label": label, ...(id === "value" && { on: { click: open } }) }, show(entry));
        if (id === "ttl") entry.ttl = cell;
        return cell;
      });
      const isBytes = typeof entry.key !== "string";
      entry.row = h(
        "tr",
        {},
        h("td", { class: "check" }, box),
        h("th", { scope: "row", class: "code" }, button(exactKey(entry.key), open, { class: "link", title: shown }), isBytes && h("span", { class: "chip" }, "bytes")),
        cells,
      );
      entry.row.openRecord = open;
      return entry.row;
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
      ifMay("del", button("Delete …", deleteSelected, { class: "danger", icon: "bin" })),
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

  function tick() {
    for (const entry of entries) {
      if (entry.deadline !== null) entry.ttl && fill(entry.ttl, remaining(entry));
    }
  }

  first();
  return () => {
    hasLeft = true;
    clearInterval(ticking);
    clearTimeout(following);
    stopFollowing?.();
    searching?.stop();
    document.removeEventListener("keydown", onKey);
    asked += 1;
  };
}
