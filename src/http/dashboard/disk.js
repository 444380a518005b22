// Where the space on the disk went: LMDB's file with its stores, what is free in it, and the journal.

import { watch } from "./api.js";
import { button, exact, failure, fill, h } from "./dom.js";
import { bytes, count, percent } from "./format.js";
import { backupDialog } from "./backup.js";
import { ifMay } from "./rights.js";
import { table } from "./parts.js";

/** A section that is filled by itself. */
export function diskView() {
  const body = h("div", {});
  const section = h("section", { class: "disk" }, h("header", { class: "head" }, h("h2", {}, "Where the space on the disk went"), h("div", { class: "actions" }, button("Refresh", load, { icon: "refresh" }), ifMay("backup", button("Back up …", backupDialog)))), body);

  async function load() {
    try {
      const [{ figures }, { stores }] = await Promise.all([watch("stats"), watch("stores")]);
      fill(body, parts(figures, stores), perStore(stores));
    } catch (error) {
      if (error.status !== 401) fill(body, failure(error, load));
    }
  }

  load();
  return section;
}

function parts(all, stores) {
  const live = all.larder_lmdb_live_bytes ?? 0;
  const file = all.larder_lmdb_file_bytes ?? 0;
  const free = all.larder_lmdb_free_bytes ?? 0;
  const stored = stores.reduce((sum, store) => sum + store.stored_bytes, 0);
  const records = Math.min(stored, live);
  const shown = [
    ["Records", records, "Keys and compressed values of all stores, as of the last checkpoint and after it"],
    ["Pages and indexes", live - records, "Page borders, half-filled pages, the index of deadlines, and stores that were emptied and are being reclaimed"],
    ["Free pages", free, "Used again before the file grows"],
    ["Reserved", Math.max(0, file - live - free), "Space that removals need on a full disk"],
    ["Journal", all.larder_journal_disk_bytes ?? 0, "Changes since the last checkpoint, and segments that are ready for the next ones"],
  ].filter(([, size]) => size > 0);
  const total = shown.reduce((sum, [, size]) => sum + size, 0);
  const bar = h("div", { class: "share", "aria-hidden": "true" }, shown.map(([, size], at) => {
    const piece = h("span", { class: `p${at}` });
    piece.style.flexGrow = size / total;
    return piece;
  }));
  const legend = shown.map(([name, size, why], at) => h("div", {}, h("dt", {}, h("span", { class: `swatch p${at}` }), name), h("dd", {}, bytes(size), h("span", { class: "muted" }, ` · ${percent(size, total)}`)), h("dd", { class: "hint" }, why)));
  return [bar, h("dl", { class: "shares" }, legend)];
}

function perStore(stores) {
  const filled = stores.filter((store) => store.records > 0).sort((one, other) => other.stored_bytes - one.stored_bytes);
  if (filled.length === 0) return null;
  const all = filled.reduce((sum, store) => sum + store.stored_bytes, 0);
  return table({
    caption: "By store",
    items: filled,
    columns: [
      { name: "Store", head: true, show: (store) => h("a", { href: `#/store/${encodeURIComponent(store.name)}` }, exact(store.name)) },
      { name: "Records", kind: "number", show: (store) => count(store.records) },
      { name: "Keys and values", kind: "number", show: (store) => bytes(store.plain_bytes) },
      { name: "On disk", kind: "number", show: (store) => bytes(store.stored_bytes) },
      { name: "Share", kind: "number", show: (store) => percent(store.stored_bytes, all) },
    ],
  });
}
