// Files in and out: JSON lines, in pieces, so that neither a file nor a store has to fit into one request.

import { ask, explained, query, storePath } from "./api.js";
import { dialog } from "./dialog.js";
import { exact, field, fill, h, toast } from "./dom.js";
import { exactText } from "./exact.js";
import { bytes, count, plural } from "./format.js";

/** A piece of a file ends with the line that reaches this. */
const PIECE_BYTES = 1 << 20;
const NEWLINE = 10;

export function save(content, name) {
  const url = URL.createObjectURL(content);
  const link = h("a", { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

export function exportDialog(store, prefix) {
  const abort = new AbortController();
  const all = h("select", {}, h("option", { value: "" }, "All records"), prefix && h("option", { value: prefix }, `Only keys that begin with ${exactText(prefix)}`));
  if (prefix) all.value = prefix;
  const progress = h("p", { class: "muted", role: "status" });
  const parts = dialog({
    title: ["Export ", exact(store.name)],
    body: [
      field("What", all),
      h("p", { class: "hint" }, "A file of JSON lines, one record each, with values byte for byte. It can be imported here and with larder import. For very large stores, larder export needs less memory than a browser."),
      progress,
    ],
    action: "Export",
    keep: () => false,
    submit: async () => {
      const response = await ask("GET", storePath(store, `/export${query({ prefix: all.value })}`), { signal: abort.signal });
      const [parts, reader] = [[], response.body.getReader()];
      let size = 0;
      let lines = 0;
      for (;;) {
        const { done, value } = await reader.read().catch(() => {
          throw new Error("The export broke off before its end; nothing was saved. The server’s log may say why.");
        });
        if (done) break;
        parts.push(value);
        size += value.length;
        for (const byte of value) lines += byte === NEWLINE;
        progress.textContent = `${plural(lines, "record")}, ${bytes(size)}`;
      }
      save(new Blob(parts, { type: "application/x-ndjson" }), `${store.name.replace(/[^\w.-]+/g, "_")}.jsonl`);
      toast(`${plural(lines, "record")} of ${exactText(store.name)} ${lines === 1 ? "was" : "were"} exported.`);
    },
  });
  parts.onClosed.push(() => abort.abort());
}

export function importDialog(store, changed) {
  const abort = new AbortController();
  const file = h("input", { type: "file", accept: ".jsonl,.ndjson,.json,application/x-ndjson", autofocus: true });
  const keep = h("select", {}, h("option", { value: "" }, "Replace them"), h("option", { value: "true" }, "Keep them as they are"));
  const bar = h("progress", { max: "1", value: "0", "aria-label": "Imported", hidden: true });
  const status = h("p", { class: "muted", role: "status" });
  const refused = h("div", {});
  let total = null;

  const { confirm, onClosed } = dialog({
    title: ["Import into ", exact(store.name)],
    body: [
      field("File", file, "JSON lines, as an export makes them: {\"key\": …, \"value\": …} on each line, with expires_at, ttl or ttl_ms if it is to expire."),
      field("Records that are there already", keep),
      bar,
      status,
      refused,
    ],
    action: "Import",
    cancel: "Close",
    // a file that was chosen and not imported yet
    keep: () => file.files.length > 0 && !total,
    submit: async () => {
      const [source] = file.files;
      if (!source) throw new Error("Choose a file first.");
      total = { put: 0, kept: 0, expired: 0, refused: 0, refusals: [] };
      bar.hidden = false;
      let lines = 0;
      for await (const { piece, end } of piecesOf(source)) {
        const path = storePath(store, `/import${query({ nx: keep.value })}`);
        const told = await (await ask("POST", path, { body: piece, type: "application/x-ndjson", signal: abort.signal })).json();
        for (const name of ["put", "kept", "expired", "refused"]) total[name] += told[name];
        total.refusals.push(...told.refusals.map((refusal) => ({ ...refusal, line: refusal.line + lines })));
        for (const byte of piece) lines += byte === NEWLINE;
        bar.value = source.size ? end / source.size : 1;
        status.textContent = summary(total);
      }
      changed();
      if (total.refused) {
        fill(refused, refusalsOf(total));
        throw new Error(`${plural(total.refused, "line")} could not be imported.`);
      }
      toast(`${exactText(store.name)}: ${summary(total)}.`);
    },
  });
  onClosed.push(() => {
    abort.abort();
    if (total) changed();
  });
  file.addEventListener("change", () => {
    confirm.disabled = false;
    fill(refused);
  });
}

const summary = ({ put, kept, expired, refused }) =>
  [`${plural(put, "record")} imported`, kept && `${count(kept)} kept as they were`, expired && `${count(expired)} had expired`, refused && `${plural(refused, "line")} refused`].filter(Boolean).join(", ");

function refusalsOf({ refused, refusals }) {
  const shown = refusals.slice(0, 100);
  const items = shown.map(({ line, code, detail }) => h("li", {}, h("strong", {}, `Line ${count(line)}: `), exact(explained(code, detail))));
  return h("ul", { class: "refusals" }, items, refused > shown.length && h("li", { class: "muted" }, `and ${count(refused - shown.length)} more`));
}

/** A file in pieces of whole lines, as bytes, and where each ends. */
async function* piecesOf(file) {
  let rest = new Uint8Array();
  let end = 0;
  while (end < file.size || rest.length) {
    const read = new Uint8Array(await file.slice(end, end + PIECE_BYTES).arrayBuffer());
    end += read.length;
    const together = new Uint8Array(rest.length + read.length);
    together.set(rest);
    together.set(read, rest.length);
    const cut = end < file.size ? together.lastIndexOf(NEWLINE) + 1 : together.length;
    rest = together.slice(cut);
    if (cut) yield { piece: together.slice(0, cut), end };
  }
}
