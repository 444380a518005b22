// What is done to all records that a search finds: count, delete, export, have them expire. What is counted is what is changed.

import { ask, command, recordPath, storePath } from "./api.js";
import { dialog } from "./dialog.js";
import { exact, field, fill, h, toast } from "./dom.js";
import { exactText } from "./exact.js";
import { bytes, count, plural } from "./format.js";
import { progress } from "./parts.js";
import { save } from "./transfer.js";

/** The dialog of such work: it collects the keys first, then says what will be done to how many, then does it. */
function workDialog({ title, store, search, limit, explain, action, danger, needsTyping, options = [], act }) {
  const keys = [];
  const counting = progress("Counting");
  const place = h("div", {}, counting.element);
  let work = counting;
  let isCounted = false;
  const typed = h("input", { autocomplete: "off", inputmode: "numeric" });
  const check = () => (parts.confirm.disabled = !isCounted || keys.length === 0 || (needsTyping && typed.value.replaceAll(/[^0-9]/g, "") !== String(keys.length)));
  const parts = dialog({
    title,
    body: [h("p", { class: "muted" }, said(search), " in ", exact(store.name)), place, options],
    action,
    danger,
    keep: () => false,
    cancelled: () => {
      work.stop();
      if (!parts.isBusy) parts.close();
    },
    submit: async () => {
      work = progress(action);
      fill(place, work.element);
      await act(keys, work);
    },
  });
  parts.onClosed.push(() => work.stop());
  typed.addEventListener("input", check);
  check();
  (async () => {
    try {
      for await (const { entries, looked } of search.all(store, limit, counting.signal)) {
        keys.push(...entries);
        counting.show(search.isSlow ? `${count(keys.length)} found in ${plural(looked, "record")}` : `${plural(keys.length, "record")} so far`, store.records ? looked / store.records : null);
      }
    } catch (error) {
      if (!counting.signal.aborted) parts.fail(error);
      return;
    }
    if (counting.signal.aborted || !parts.isOpen) return;
    isCounted = true;
    fill(place, h("p", {}, explain(keys.length)), needsTyping && keys.length > 0 && field(`Type ${keys.length} to confirm`, typed));
    typed.focus();
    check();
  })();
}

const said = ({ way, text, within, isAll }) =>
  isAll ? "All records" : [text && `${way.label} “${exactText(text)}”`, within && `below ${exactText(within)}`].filter(Boolean).join(", ");

/** Has somebody delete all records that are found, after they typed how many there are. */
export function deleteMatching({ store, search, limit, done }) {
  workDialog({
    title: "Delete all that were found",
    store,
    search,
    limit,
    danger: true,
    needsTyping: true,
    action: "Delete them",
    explain: (number) => (number ? `${plural(number, "record")} will be deleted, as they were counted just now. This can’t be undone.` : "There is no such record."),
    act: async (entries, work) => {
      let deleted = 0;
      for (let at = 0; at < entries.length && !work.signal.aborted; at += limit) {
        const keys = entries.slice(at, at + limit).map(({ key }) => key);
        deleted += (await (await ask("POST", storePath(store, "/many/delete"), { json: { keys } })).json()).deleted;
        work.show(`${count(deleted)} of ${plural(entries.length, "record")} deleted`, (at + keys.length) / entries.length);
      }
      toast(`${plural(deleted, "record")} deleted${work.signal.aborted ? "; then it was stopped" : ""}.`);
      done();
    },
  });
}

const UNITS = [["minutes", 60e3], ["hours", 3600e3], ["days", 86400e3]];
/** Commands in one request. */
const BATCH = 1000;

/** Has all records that are found expire, or not any more. */
export function expireMatching({ store, search, limit, done }) {
  const choice = h("select", {}, h("option", { value: "in" }, "In …"), h("option", { value: "never" }, "Never"));
  const amount = h("input", { type: "number", min: "1", step: "1", value: "1", "aria-label": "How many", class: "amount" });
  const unit = h("select", { "aria-label": "Unit" }, UNITS.map(([name, millis]) => h("option", { value: millis }, name)));
  unit.value = "86400000";
  choice.addEventListener("change", () => (amount.disabled = unit.disabled = choice.value === "never"));
  const expiry = field("Expires", choice);
  choice.after(h("div", { class: "row" }, amount, unit));
  workDialog({
    title: "Set an expiry for all that were found",
    store,
    search,
    limit,
    action: "Set it",
    options: [expiry],
    explain: (number) => `${plural(number, "record")} will get this expiry.`,
    act: async (entries, work) => {
      const millis = Number(amount.value) * Number(unit.value);
      const isNever = choice.value === "never";
      if (!isNever && (!Number.isSafeInteger(millis) || millis < 1)) throw new Error("The time until they expire must be a whole number from 1 up.");
      const texts = entries.filter(({ key }) => typeof key === "string");
      const others = entries.filter(({ key }) => typeof key !== "string");
      let made = 0;
      const tell = () => work.show(`${count(made)} of ${plural(entries.length, "record")}`, made / entries.length);
      for (let at = 0; at < texts.length && !work.signal.aborted; at += BATCH) {
        const some = texts.slice(at, at + BATCH);
        const answers = await command.many(store, some.map(({ key }) => (isNever ? ["PERSIST", key] : ["PEXPIRE", key, String(millis)])));
        const refused = answers.find(({ error }) => error);
        if (refused) throw new Error(refused.error);
        made += some.length;
        tell();
      }
      for (const { key } of others) {
        if (work.signal.aborted) break;
        await ask("PUT", recordPath(store, key, "/ttl"), { json: { ttl_ms: isNever ? null : millis } });
        made += 1;
        tell();
      }
      toast(`${plural(made, "record")} ${isNever ? "will not expire" : "will expire"}.`);
      done();
    },
  });
}

/** Saves all records that are found as a file of JSON lines, which can be imported again. */
export function exportMatching({ store, search, limit }) {
  workDialog({
    title: "Export all that were found",
    store,
    search,
    limit,
    action: "Export",
    explain: (number) => `${plural(number, "record")} will be saved as a file of JSON lines, with values byte for byte.`,
    act: async (entries, work) => {
      const lines = [];
      let [made, size] = [0, 0];
      for (const { key } of entries) {
        if (work.signal.aborted) return;
        const line = await lineOf(store, key);
        made += 1;
        if (!line) continue;
        lines.push(line, "\n");
        size += line.length;
        if (made % 20 === 0) work.show(`${count(made)} of ${plural(entries.length, "record")}, ${bytes(size)}`, made / entries.length);
      }
      save(new Blob(lines, { type: "application/x-ndjson" }), `${store.name.replace(/[^\w.-]+/g, "_")}.jsonl`);
      toast(`${plural(lines.length / 2, "record")} exported.`);
    },
  });
}

/** A record as a line of a file; null if it is gone. A value that is JSON stands there as it is, without line ends. */
async function lineOf(store, key) {
  let response;
  try {
    response = await ask("GET", recordPath(store, key));
  } catch (error) {
    if (error.status === 404 && error.code !== "NOSTORE") return null;
    throw error;
  }
  const ttl = response.headers.get("Larder-Ttl-Ms");
  const isJson = response.headers.get("Content-Type")?.startsWith("application/json");
  const content = new Uint8Array(await response.arrayBuffer());
  const text = isJson ? new TextDecoder("utf-8", { ignoreBOM: true }).decode(content) : null;
  const base64 = () => btoa(Array.from(content, (byte) => String.fromCharCode(byte)).join(""));
  const parts = [typeof key === "string" ? `"key":${JSON.stringify(key)}` : `"key_base64":"${key.base64}"`];
  // line ends are blanks in JSON, unless they are part of the value, which is then sent as bytes
  parts.push(text !== null && !/[\r\n]/.test(text) ? `"value":${text}` : `"value_base64":"${base64()}"`);
  if (ttl !== null) parts.push(`"expires_at":${Date.now() + Number(ttl)}`);
  return `{${parts.join(",")}}`;
}
