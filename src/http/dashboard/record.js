// One record: seen, changed, created, deleted. What is saved says which version it replaces, so that nobody's change is lost.

import { ask, recordPath } from "./api.js";
import { button, dialog, h, toast } from "./dom.js";
import { editor } from "./editor.js";
import { base64OfBytes, bytes, bytesOfBase64, count, duration, hexDump, keyPath, keyText, moment, ratio } from "./format.js";
import { compacted, formatted } from "./json.js";
import { save } from "./transfer.js";

/** Longer values are downloaded, not edited. */
const EDITABLE_BYTES_MAX = 4 << 20;
/** Bytes of a value without text that are shown. */
const DUMP_BYTES = 4096;

export function newRecord({ store, done, key = "", text = "" }) {
  const name = h("input", { id: "record-key", class: "code", autofocus: true, autocomplete: "off", autocapitalize: "none", spellcheck: "false", props: { value: key } });
  const value = editor({ text, label: "Value", isJson: true, isJsonNeeded: store.values === "json" });
  const expiry = expiryControl({ store });
  dialog({
    title: "New record",
    wide: true,
    body: [h("div", { class: "field" }, h("label", { for: "record-key" }, "Key"), name), valueField(value), expiry.element],
    action: "Create",
    submit: async () => {
      if (name.value === "") throw new Error("A key is needed.");
      if (value.isWrong) throw wrong(value);
      const path = recordPath(store.name, name.value);
      const parameters = new URLSearchParams({ nx: "true", ...expiry.parameters() });
      try {
        const type = value.isJson ? "application/json" : "application/octet-stream";
        const response = await ask("PUT", `${path}?${parameters}`, { body: value.text, type });
        await expiry.afterPut(path, response.headers.get("ETag"));
      } catch (error) {
        if (error.code === "RECORDEXISTS") error.detail = "There is a record at this key already. Close this and open it to change it.";
        throw error;
      }
      toast(`${keyText(name.value)} was created.`);
      done();
    },
  });
}

/** Opens a record of a store; `done` is called when it was changed or deleted. */
export async function openRecord({ store, key, plainBytes, done }) {
  const title = keyText(key);
  if (keyPath(key) === null) {
    dialog({ title, body: [h("p", {}, "A web address can’t hold this key. Its record can be deleted from the list; to see or change it, use redis-cli.")], cancel: "Close" });
    return;
  }
  const path = recordPath(store.name, key);
  const content = h("div", { class: "content" });
  const conflict = h("div", { class: "conflict", role: "alert", hidden: true });
  let record = null;
  let value = null;
  let expiry = null;
  /** The text as it was put into the editor. */
  let before = "";

  const parts = dialog({ title, wide: true, body: [content, conflict], action: "Save", cancel: "Close", submit: () => saveAs(record.tag) });
  parts.form.querySelector("h2").replaceChildren(h("bdi", { class: "code" }, title));
  parts.form.querySelector("footer").prepend(button("Delete …", remove, { class: "quiet warn first", icon: "bin" }));
  const ticking = setInterval(() => expiry?.tick(), 1000);
  parts.element.addEventListener("close", () => clearInterval(ticking));
  parts.confirm.disabled = true;

  async function load() {
    try {
      record = await fetchRecord(path, plainBytes);
    } catch (error) {
      if (error.status === 404) error.detail = "This record is gone: it was deleted, or it has expired.";
      parts.fail(error);
      content.replaceChildren();
      done();
      return;
    }
    draw();
  }

  function draw() {
    expiry = expiryControl({ store, record, changed: update });
    value = record.kind === "none" ? null : editorOf(record, store, update);
    before = value?.text ?? "";
    content.replaceChildren(metaOf(record), value ? valueField(value, record) : tooLong(), expiry.element);
    update();
  }

  function tooLong() {
    return h("p", {}, `The value has ${bytes(record.plainBytes)}, which is too long to be edited here. `, button("Download", download, { icon: "down" }));
  }

  async function download() {
    try {
      save(await (await ask("GET", path)).blob(), "value.json");
    } catch (error) {
      parts.fail(error);
    }
  }

  function update() {
    if (!expiry) return;
    const isChanged = (value && value.text !== before) || expiry.isChanged;
    parts.confirm.disabled = !isChanged || Boolean(value?.isWrong);
  }

  async function saveAs(tag) {
    const headers = { "If-Match": tag };
    try {
      if (value && value.text !== before) {
        const response = await ask("PUT", `${path}?${new URLSearchParams(expiry.parameters())}`, { ...bodyOf(value, record), headers });
        await expiry.afterPut(path, response.headers.get("ETag"));
      } else {
        await ask("PUT", `${path}/ttl`, { json: { ttl_ms: expiry.millis }, headers });
      }
    } catch (error) {
      if (error.status === 412 || error.status === 404) return await collide();
      throw error;
    }
    toast(`${title} was saved.`);
    done();
  }

  /** Somebody else was faster: shows what they wrote, and lets one choose. */
  async function collide() {
    let theirs = null;
    try {
      theirs = await fetchRecord(path, plainBytes);
    } catch (error) {
      if (error.status !== 404) throw error;
    }
    const choices = theirs
      ? [
          button("Discard mine, load theirs", () => {
            conflict.hidden = true;
            parts.fail(null);
            record = theirs;
            draw();
          }),
          button("Overwrite theirs with mine", () => {
            conflict.hidden = true;
            record.tag = theirs.tag;
            parts.confirm.disabled = false;
            parts.form.requestSubmit(parts.confirm);
          }, { class: "danger" }),
        ]
      : [
          typeof key === "string" && button("Create it again with my text", () => {
            parts.close();
            newRecord({ store, done, key, text: value?.text });
          }),
        ];
    conflict.replaceChildren(
      h("p", {}, h("strong", {}, theirs ? "Somebody else changed this record" : "This record is gone"), theirs ? " after you opened it. Nothing of yours was saved yet." : ": it was deleted, or it has expired, after you opened it."),
      theirs?.text !== undefined && h("details", {}, h("summary", {}, "What it is now"), h("pre", { class: "code" }, theirs.text)),
      h("div", { class: "row" }, choices),
    );
    conflict.hidden = false;
    done();
    throw new Error(theirs ? "Not saved: the record has changed." : "Not saved: the record is gone.");
  }

  function remove() {
    if (!record) return;
    dialog({
      title: "Delete record",
      body: [h("p", {}, h("bdi", { class: "code" }, title), ` will be deleted from ${store.name}. This can’t be undone.`)],
      action: "Delete",
      danger: true,
      submit: async (question) => {
        try {
          await ask("DELETE", path, { headers: { "If-Match": record.tag } });
        } catch (error) {
          if (error.status !== 412 && error.status !== 404) throw error;
          question.close();
          await collide().catch((told) => parts.fail(told));
          return;
        }
        parts.close();
        toast(`${title} was deleted.`);
        done();
      },
    });
  }

  await load();
}

/** A record as the API has it: `kind` is text, bytes, or none where the value is too long to be fetched. */
async function fetchRecord(path, plainBytes) {
  const isLong = plainBytes > EDITABLE_BYTES_MAX;
  const response = await ask(isLong ? "HEAD" : "GET", path);
  const number = (name) => (response.headers.has(name) ? Number(response.headers.get(name)) : null);
  const ttl = number("Larder-Ttl-Ms");
  const record = {
    tag: response.headers.get("ETag"),
    deadline: ttl === null ? null : performance.now() + ttl,
    expiresAt: ttl === null ? null : Date.now() + ttl,
    plainBytes: number("Larder-Plain-Bytes"),
    storedBytes: number("Larder-Stored-Bytes"),
  };
  if (isLong) return { ...record, kind: "none" };
  const content = new Uint8Array(await response.arrayBuffer());
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(content);
    return { ...record, kind: "text", text, content };
  } catch {
    return { ...record, kind: "bytes", content };
  }
}

function editorOf(record, store, changed) {
  if (record.kind === "bytes") return editor({ text: base64OfBytes(record.content), label: "Value in Base64", isJson: false, changed });
  return editor({ text: record.text, label: "Value", isJson: true, isJsonNeeded: store.values === "json", changed });
}

/** What is sent: line ends as they were (a text field has only \n), bytes as bytes. */
function bodyOf(value, record) {
  if (record.kind === "bytes") {
    try {
      return { body: bytesOfBase64(value.text.replace(/\s+/g, "")), type: "application/octet-stream" };
    } catch {
      throw new Error("This is not Base64.");
    }
  }
  const isCrLf = /\r\n/.test(record.text) && !/[^\r]\n|^\n|\r(?!\n)/.test(record.text);
  const body = isCrLf ? value.text.replace(/\n/g, "\r\n") : value.text;
  return { body, type: value.isJson ? "application/json" : "application/octet-stream" };
}

const wrong = (value) => {
  value.showError();
  return new Error("The value is not valid JSON.");
};

function valueField(value, record) {
  const change = (edit) => () => {
    value.text = edit(value.text);
    value.area.focus();
    value.area.setSelectionRange(0, 0);
    value.area.scrollTop = 0;
  };
  const isBytes = record?.kind === "bytes";
  const tools = isBytes
    ? [button("Download", () => save(new Blob([record.content]), "value.bin"), { icon: "down" })]
    : [button("Format", change(formatted), { title: "One member a line" }), button("Compact", change(compacted), { title: "Without blanks" }), button("Go to error", () => value.showError(), { class: "go" })];
  const dump = isBytes && h("pre", { class: "dump code", tabindex: "0", "aria-label": "Bytes" }, hexDump(record.content.subarray(0, DUMP_BYTES)), record.content.length > DUMP_BYTES && "\n…");
  return h("div", { class: "field value" }, h("div", { class: "legend" }, h("span", { class: "label" }, isBytes ? "Value: bytes that are no text; below in Base64" : "Value"), h("div", { class: "row" }, tools)), dump, value.element);
}

function metaOf(record) {
  const pair = (name, shown) => h("div", {}, h("dt", {}, name), h("dd", {}, shown));
  return h(
    "dl",
    { class: "meta" },
    pair("Size", `${count(record.plainBytes)} B`),
    pair("Stored", `${count(record.storedBytes)} B`),
    pair("Ratio", ratio(record.plainBytes, record.storedBytes)),
    pair("Version", record.tag.replaceAll('"', "")),
  );
}

const UNITS = [["seconds", 1e3], ["minutes", 60e3], ["hours", 3600e3], ["days", 86400e3]];

/** When a record expires: as before, never, or in so long. */
function expiryControl({ store, record, changed }) {
  const isNew = !record;
  const usual = isNew && store.default_ttl_ms ? `As the store has it: in ${duration(store.default_ttl_ms)}` : null;
  const keep = h("option", { value: "keep" });
  const choice = h("select", { id: "expiry" }, (usual || (record && record.deadline !== null)) && keep, h("option", { value: "never" }, "Never"), h("option", { value: "in" }, "In …"));
  const amount = h("input", { type: "number", min: "1", step: "1", value: "1", "aria-label": "How many", class: "amount" });
  const unit = h("select", { "aria-label": "Unit" }, UNITS.map(([name, millis]) => h("option", { value: millis }, name)));
  unit.value = "3600000";
  const exact = h("span", { hidden: true, class: "row" }, amount, unit);
  const element = h("div", { class: "field expiry" }, h("label", { for: "expiry" }, "Expires"), h("div", { class: "row" }, choice, exact));
  const initial = choice.value;

  const update = () => {
    exact.hidden = choice.value !== "in";
    changed?.();
  };
  choice.addEventListener("change", update);
  amount.addEventListener("input", update);
  unit.addEventListener("change", update);

  const millis = () => {
    if (choice.value !== "in") return null;
    const number = Number(amount.value) * Number(unit.value);
    if (!Number.isSafeInteger(number) || number < 1) throw new Error("The time until it expires must be a whole number from 1 up.");
    return number;
  };
  const control = {
    element,
    get isChanged() {
      return choice.value !== initial || choice.value === "in";
    },
    /** Null: never. */
    get millis() {
      return millis();
    },
    /** For a PUT of the value. */
    parameters() {
      if (choice.value === "in") return { ttl_ms: millis() };
      return isNew ? {} : { keepttl: "true" };
    },
    /** That a record is not to expire any more, or not as others of its store do, has to be said behind the PUT. */
    async afterPut(path, tag) {
      const expires = isNew ? store.default_ttl_ms > 0 : record.deadline !== null;
      if (expires && choice.value === "never") await ask("PUT", `${path}/ttl`, { json: { ttl_ms: null }, headers: tag ? { "If-Match": tag } : {} });
    },
    tick() {
      if (usual) keep.textContent = usual;
      else if (record?.deadline != null) {
        const left = record.deadline - performance.now();
        keep.textContent = left > 0 ? `In ${duration(left)} (${moment(record.expiresAt)})` : "It has expired";
      }
    },
  };
  control.tick();
  return control;
}
