// One record: seen, changed, created, deleted. What is saved says which version it replaces, so that nobody's change is lost.

import { ask, recordPath, watch } from "./api.js";
import { copyDialog } from "./copy.js";
import { readings } from "./decode.js";
import { dialog } from "./dialog.js";
import { button, exact, exactKey, field, fill, h, toast } from "./dom.js";
import { editor } from "./editor.js";
import { exactText, isPlain, keyText, unseenIn } from "./exact.js";
import { base64OfBytes, bytes, bytesOfBase64, count, duration, hexDump, moment, ratio } from "./format.js";
import { compacted, formatted } from "./json.js";
import { reader } from "./reader.js";
import { ifMay, may } from "./rights.js";
import { save } from "./transfer.js";

/** Longer values are downloaded, not edited. */
const EDITABLE_BYTES_MAX = 4 << 20;
/** Bytes of a value without text that are shown. */
const DUMP_BYTES = 4096;
/** Characters of a decoded value that are shown. */
const READING_MAX = 100_000;
/** Characters of somebody else's value that are shown. */
const THEIRS_MAX = 20_000;

/**
 * Asks for a record that there is not yet. A draft is what was to be saved elsewhere and could not be: its key, and its text or,
 * of bytes, their Base64; it may go into another store.
 */
export function newRecord({ store, done, draft = null }) {
  const isTyped = typeof (draft?.key ?? "") === "string" && !/[\r\n]/.test(draft?.key ?? "");
  const name = h("input", { id: "record-key", class: "code", autofocus: true, autocomplete: "off", autocapitalize: "none", spellcheck: "false" });
  const isBase64 = h("input", { type: "checkbox", props: { checked: !isTyped } });
  const key = draft?.key ?? "";
  name.value = isTyped ? key : typeof key === "string" ? base64OfBytes(new TextEncoder().encode(key)) : key.base64;
  const shownKey = h("p", { class: "hint code", role: "status" });
  const isBytes = draft?.kind === "bytes";
  const isJsonNeeded = () => !isBytes && store.values === "json";
  const value = editor({ text: draft?.text ?? "", label: isBytes ? "Value in Base64" : "Value", isJson: !isBytes, isJsonNeeded });
  const conflict = h("div", { class: "conflict", role: "alert", hidden: true });
  const expiryPlace = h("div", {});
  const storePlace = h("div", {});
  let expiry = null;

  const parts = dialog({
    title: "New record",
    wide: true,
    body: [
      storePlace,
      h("div", { class: "field" }, h("div", { class: "legend" }, h("label", { for: "record-key" }, "Key"), h("label", { class: "check" }, isBase64, "in Base64")), name, shownKey),
      valueField(value, isBytes && { kind: "bytes" }),
      expiryPlace,
      conflict,
    ],
    action: "Create",
    keep: () => name.value !== "" || value.text !== "" || expiry.isChanged,
    submit: () => put({ nx: "true" }, {}),
  });
  name.addEventListener("input", showKey);
  isBase64.addEventListener("change", showKey);
  useStore(store);
  showKey();
  if (draft) chooseStore();

  function useStore(chosen) {
    store = chosen;
    expiry = expiryControl({ store });
    fill(expiryPlace, expiry.element);
    value.draw();
  }

  /** Lets another store be chosen, since the one at hand may be gone. */
  async function chooseStore() {
    if (storePlace.hasChildNodes()) return;
    let stores;
    try {
      ({ stores } = await watch("stores"));
    } catch {
      // the store stays the one that it is
      return;
    }
    const isThere = stores.some(({ number }) => number === store.number);
    // numbered stores that are empty are not listed
    const isNumbered = String(store.number) === store.name;
    const all = isThere || !isNumbered ? stores : [...stores, store];
    const choice = h("select", { on: { change: () => useStore(all[choice.selectedIndex - 1] ?? store) } }, h("option", { value: "" }, "Choose a store"), all.map((one) => h("option", { value: one.number }, exactText(one.name))));
    choice.value = isThere || isNumbered ? String(store.number) : "";
    fill(storePlace, field("Store", choice));
  }

  function keyOf() {
    if (!isBase64.checked) {
      if (name.value === "") throw new Error("Type a key. If you mean the empty key, choose “in Base64” and leave the field empty.");
      return name.value;
    }
    const content = bytesIn(name.value, "The key");
    try {
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(content);
    } catch {
      return { base64: base64OfBytes(content) };
    }
  }

  function showKey() {
    conflict.hidden = true;
    let isShown = isBase64.checked || !isPlain(name.value);
    try {
      fill(shownKey, "The key is: ", exactKey(keyOf()));
    } catch {
      isShown = false;
    }
    shownKey.hidden = !isShown;
  }

  async function put(parameters, headers) {
    const key = keyOf();
    if (value.problem) throw wrong(value);
    const content = isBytes ? { body: bytesIn(value.text, "The value"), type: "application/octet-stream" } : bodyOf(value);
    let response;
    try {
      response = await ask("PUT", recordPath(store, key, "", { ...parameters, ...expiry.parameters() }), { ...content, headers });
    } catch (error) {
      if (error.code === "RECORDEXISTS" || error.status === 412) return await collide(key);
      if (error.code === "NOSTORE") {
        await chooseStore();
        error.detail = "This store is gone: it was dropped. Your record can be created in another one; choose it above.";
      }
      throw error;
    }
    const isNew = response.status === 201;
    toast(`${keyText(key)} was ${isNew ? "created" : "overwritten"}.`);
    // the record is there, whatever becomes of this
    await expiry.afterPut(store, key, response.headers.get("ETag")).catch((error) => toast(`Its expiry could not be taken away: ${error.detail ?? error}`));
    done();
  }

  /** There is a record at the key: shows it, and lets one choose. */
  async function collide(key) {
    const theirs = await theRecord(store, key);
    if (!theirs) throw new Error("Not created: there was a record at this key, which is gone again. Try once more.");
    const overwrite = button("Overwrite it with mine", () => resubmit(parts, () => put({}, { "If-Match": theirs.tag })), { class: "danger" });
    const discard = button("Discard mine, open that one", () => {
      parts.close();
      openRecord({ store, key, done });
    });
    fill(
      conflict,
      h("p", {}, h("strong", {}, "There is a record at this key already"), ", so yours was not created. You can also choose another key."),
      shownOf(theirs),
      h("div", { class: "row" }, discard, overwrite),
    );
    conflict.hidden = false;
    conflict.scrollIntoView({ block: "nearest" });
    throw new Told();
  }
}

/** What went wrong has been told already, with what can be done. */
class Told extends Error {}

/** Does something else than what the dialog's button does, in the same way: the dialog closes, or shows what went wrong. */
async function resubmit(parts, act) {
  if (parts.isBusy) return;
  parts.isBusy = true;
  parts.fail(null);
  try {
    await act();
    parts.close();
  } catch (error) {
    parts.fail(error);
  } finally {
    parts.isBusy = false;
  }
}

/**
 * Opens a record of a store, in a place beside the page if there is one; `done` is called when it was changed or deleted, `begun`
 * with the parts of its dialog.
 */
export async function openRecord({ store, key, done, place = null, begun }) {
  const title = keyText(key);
  const content = h("div", { class: "content" });
  const conflict = h("div", { class: "conflict", role: "alert", hidden: true });
  let record = null;
  let value = null;
  let expiry = null;
  /** The text as it was put into the editor. */
  let before = "";

  const isTextChanged = () => value !== null && value.text !== before;
  const isChanged = () => isTextChanged() || Boolean(expiry?.isChanged);
  const parts = dialog({ title: h("span", { class: "code" }, exactKey(key)), wide: true, body: [content, conflict], action: "Save", cancel: "Close", keep: isChanged, place, submit: () => saveOver(record.tag) });
  parts.form.querySelector("footer").prepend(...[ifMay("getdel", button("Delete …", remove, { class: "quiet warn first", icon: "bin" }))].filter(Boolean));
  if (may("set")) parts.confirm.before(button("Copy …", copy, { class: "quiet" }));
  parts.confirm.hidden = !may("set");
  parts.element.addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() !== "s" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    if (!parts.confirm.disabled && !parts.confirm.hidden) parts.form.requestSubmit();
  });
  const ticking = setInterval(() => expiry?.tick(), 1000);
  parts.onClosed.push(() => clearInterval(ticking));
  parts.confirm.disabled = true;
  parts.follow = follow;
  begun?.(parts);

  /** Somebody may have changed it: shows what there is now, unless something is typed. */
  async function follow() {
    if (!record || parts.isBusy || isChanged() || !conflict.hidden) return;
    const now = await theRecord(store, key).catch(() => null);
    if (!parts.isOpen || isChanged() || now?.tag === record.tag) return;
    if (!now) return load();
    record = now;
    draw();
  }

  async function load() {
    try {
      record = await fetchRecord(store, key);
    } catch (error) {
      if (error.status === 404) error.detail = error.code === "NOSTORE" ? "The store of this record is gone: it was dropped." : "This record is gone: it was deleted, or it has expired.";
      parts.fail(error);
      fill(content);
      done();
      return;
    }
    draw();
  }

  function draw() {
    expiry = expiryControl({ store, record, changed: update });
    value = record.kind === "none" ? null : editorOf(record, store, update);
    before = value?.text ?? "";
    const field = value ? valueField(value, record) : tooLong();
    fill(content, metaOf(record), field, expiry.element);
    if (record.kind === "text") addReader(field);
    if (record.content) addReadings(field);
    update();
  }

  /** Objects and arrays can be read as a tree, in which one place can be changed; the text is one click away. */
  function addReader(field) {
    const tree = reader({ text: record.text, ...(may("json.set") && { edit: editPlace }), ...(may("json.del") && { remove: removePlace }) });
    if (!tree?.isContainer) return;
    const views = [["tree", "Tree"], ["text", "Text"]].map(([name, label]) => button(label, () => use(name), { "aria-pressed": "false", "data-view": name }));
    const use = (name) => {
      keepView(name);
      // what is typed is seen
      const isTree = name === "tree" && !isTextChanged();
      if (name === "tree" && !isTree) toast("Save the text first: the tree shows what is stored.");
      tree.element.hidden = !isTree;
      value.element.hidden = isTree;
      tools.hidden = isTree;
      views.forEach((choice) => choice.setAttribute("aria-pressed", String((choice.dataset.view === "tree") === isTree)));
    };
    const tools = field.querySelector(".legend .row");
    tools.before(h("div", { class: "views", role: "group", "aria-label": "View" }, views));
    value.element.before(tree.element);
    use(keptView());
  }

  /** What the bytes mean, where they are packed or serialized. */
  async function addReadings(field) {
    if (record.kind === "text" && store.values === "json") return;
    for (const { name, text } of await readings(record.content)) {
      const shown = h("pre", { class: "dump code", tabindex: "0", "aria-label": `Read as ${name}` }, text.slice(0, READING_MAX), text.length > READING_MAX && "\n…");
      field.after(h("details", { class: "reading", open: true }, h("summary", {}, `Read as ${name}`), shown));
    }
  }

  function editPlace(path, text) {
    const field = editor({ text, label: "New value", isJson: true, isJsonNeeded: () => true });
    if (!field) return;
    dialog({
      title: h("span", { class: "code" }, path),
      wide: text.length > 200,
      body: [field.element],
      action: "Save",
      keep: () => field.text !== text,
      submit: async () => {
        if (field.problem) throw wrong(field);
        await changePlace("PUT", path, { body: field.text, type: "application/json" });
        toast(`${path} was saved.`);
      },
    });
    field.area.focus();
    field.area.select();
  }

  function removePlace(path) {
    dialog({
      title: "Remove a part of the record",
      body: [h("p", {}, h("span", { class: "code" }, path), " will be removed. The rest stays as it is.")],
      action: "Remove",
      danger: true,
      submit: async () => {
        await changePlace("DELETE", path);
        toast(`${path} was removed.`);
      },
    });
  }

  /** Changes one place, over the version that is seen here. */
  async function changePlace(method, path, sent = {}) {
    try {
      await ask(method, recordPath(store, key, "/field", { path }), { ...sent, headers: { "If-Match": record.tag } });
    } catch (error) {
      if (error.status === 412) error.detail = "Somebody else changed this record after you opened it. Close this, and look at it again.";
      throw error;
    }
    const top = content.querySelector(".view")?.scrollTop ?? 0;
    await load();
    content.querySelector(".view")?.scrollTo(0, top);
    done();
  }

  function tooLong() {
    return h("p", {}, `The value has ${bytes(record.plainBytes)}, which is too long to be edited here. `, button("Download", download, { icon: "down" }));
  }

  async function download() {
    try {
      save(await (await ask("GET", recordPath(store, key))).blob(), "value.json");
    } catch (error) {
      parts.fail(error);
    }
  }

  function update() {
    if (expiry) parts.confirm.disabled = !isChanged() || Boolean(value?.problem);
  }

  async function saveOver(tag) {
    const headers = { "If-Match": tag };
    try {
      if (isTextChanged()) {
        const response = await ask("PUT", recordPath(store, key, "", expiry.parameters()), { ...(record.kind === "bytes" ? bodyOfBytes(value) : bodyOf(value)), headers });
        // from here on the value is saved, whatever becomes of the expiry
        record.tag = response.headers.get("ETag");
        before = value.text;
        await expiry.afterPut(store, key, record.tag);
      } else {
        await ask("PUT", recordPath(store, key, "/ttl"), { json: { ttl_ms: expiry.millis }, headers });
      }
    } catch (error) {
      if (error.status === 412 || error.status === 404) return await collide();
      throw error;
    }
    toast(`${title} was saved.`);
    done();
  }

  /** Somebody else was faster: shows what there is now, and lets one choose. */
  async function collide({ isDeletion = false } = {}) {
    let [theirs, isStoreGone] = [null, false];
    try {
      theirs = await theRecord(store, key);
    } catch (error) {
      if (error.code !== "NOSTORE") throw error;
      isStoreGone = true;
    }
    const what = theirs ? "Somebody else changed this record" : isStoreGone ? "The store is gone" : "This record is gone";
    const why = theirs ? " after you opened it." : isStoreGone ? ": it was dropped after you opened the record." : ": it was deleted, or it has expired, after you opened it.";
    fill(conflict, h("p", {}, h("strong", {}, what), why, theirs && isDeletion && " It was not deleted.", isChanged() && " What you see here is not saved."), theirs && shownOf(theirs), h("div", { class: "row" }, choices(theirs, isStoreGone, isDeletion)));
    conflict.hidden = false;
    conflict.scrollIntoView({ block: "nearest" });
    done();
    throw new Told();
  }

  function choices(theirs, isStoreGone, isDeletion) {
    const load = button(isChanged() ? "Discard mine, load theirs" : "Load theirs", () => {
      conflict.hidden = true;
      parts.fail(null);
      record = theirs;
      draw();
    });
    const over = () => {
      conflict.hidden = true;
      // what is kept is kept of theirs, such as when it expires
      Object.assign(record, { tag: theirs.tag, deadline: theirs.deadline, expiresAt: theirs.expiresAt });
      resubmit(parts, () => saveOver(theirs.tag));
    };
    const overwrite = button(isTextChanged() ? "Overwrite theirs with mine" : "Set my expiry on theirs", over, { class: "danger" });
    const deleteTheirs = button("Delete theirs", () => resubmit(parts, () => removeVersion(theirs.tag)), { class: "danger" });
    const asNew = button(theirs ? "Save mine as another record …" : isStoreGone ? "Save mine in another store …" : "Create it again with mine …", () => {
      const draft = { key, kind: record.kind, text: value.text };
      parts.close();
      newRecord({ store, done, draft });
    });
    const discard = button("Close without saving", parts.close);
    if (!theirs) return [value && asNew, discard];
    return [load, isDeletion ? deleteTheirs : isChanged() && overwrite, isTextChanged() && asNew];
  }

  function copy() {
    const told = (isMoved) => {
      if (isMoved && !isChanged()) parts.close();
      done();
    };
    if (record) copyDialog({ store, key, done: told }).catch(parts.fail);
  }

  function remove() {
    if (!record) return;
    dialog({
      title: "Delete record",
      body: [h("p", {}, h("span", { class: "code" }, exactKey(key)), " will be deleted from ", exact(store.name), ". This can’t be undone.")],
      action: "Delete",
      danger: true,
      submit: async (question) => {
        try {
          await removeVersion(record.tag);
        } catch (error) {
          question.close();
          parts.fail(error);
          return;
        }
        parts.close();
      },
    });
  }

  async function removeVersion(tag) {
    try {
      await ask("DELETE", recordPath(store, key), { headers: { "If-Match": tag } });
    } catch (error) {
      if (error.status === 412 || error.status === 404) return await collide({ isDeletion: true });
      throw error;
    }
    toast(`${title} was deleted.`);
    done();
  }

  await load();
}

/** The record, or null if there is none. */
async function theRecord(store, key) {
  try {
    return await fetchRecord(store, key);
  } catch (error) {
    if (error.status === 404 && error.code !== "NOSTORE") return null;
    throw error;
  }
}

/** A record as the API has it: `kind` is text, bytes, or none where the value is too long to be fetched. */
async function fetchRecord(store, key) {
  const abort = new AbortController();
  const response = await ask("GET", recordPath(store, key), { signal: abort.signal });
  const number = (name) => (response.headers.has(name) ? Number(response.headers.get(name)) : null);
  const ttl = number("Larder-Ttl-Ms");
  const record = {
    tag: response.headers.get("ETag"),
    deadline: ttl === null ? null : performance.now() + ttl,
    expiresAt: ttl === null ? null : Date.now() + ttl,
    plainBytes: number("Larder-Plain-Bytes"),
    storedBytes: number("Larder-Stored-Bytes"),
  };
  if (record.plainBytes > EDITABLE_BYTES_MAX) {
    abort.abort();
    return { ...record, kind: "none" };
  }
  const content = new Uint8Array(await response.arrayBuffer());
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(content);
    return { ...record, kind: "text", text, content };
  } catch {
    return { ...record, kind: "bytes", content };
  }
}

/** Bytes that are no text, and text that a field can't hold, are edited in Base64. */
function editorOf(record, store, changed) {
  const ofText = record.kind === "text" && editor({ text: record.text, label: "Value", isJson: true, isJsonNeeded: () => store.values === "json", changed });
  if (ofText) return ofText;
  record.kind = "bytes";
  return editor({ text: base64OfBytes(record.content), label: "Value in Base64", isJson: false, changed });
}

const bodyOf = (value) => ({ body: value.text, type: value.isJson ? "application/json" : "application/octet-stream" });
const bodyOfBytes = (value) => ({ body: bytesIn(value.text, "The value"), type: "application/octet-stream" });

function bytesIn(text, what) {
  try {
    return bytesOfBase64(text.replace(/\s+/g, ""));
  } catch {
    throw new Error(`${what} is not Base64.`);
  }
}

const wrong = (value) => {
  value.showError();
  return new Error(value.problem);
};

/** What somebody else wrote. */
function shownOf(theirs) {
  const summary = h("summary", {}, "What it is now");
  if (theirs.kind === "none") return h("p", { class: "muted" }, `It has ${bytes(theirs.plainBytes)}, which is too long to be shown here.`);
  if (theirs.kind === "bytes") return h("details", {}, summary, h("pre", { class: "code" }, hexDump(theirs.content.subarray(0, DUMP_BYTES)), theirs.content.length > DUMP_BYTES && "\n…"));
  const text = theirs.text.slice(0, THEIRS_MAX);
  const unseen = unseenIn(text);
  return h("details", {}, summary, h("pre", { class: "code" }, text, text.length < theirs.text.length && "…"), unseen && h("p", { class: "hint" }, `It has characters that can’t be seen, such as ${unseen.name}.`));
}

function valueField(value, record) {
  const change = (edit) => () => {
    value.text = edit(value.text);
    value.area.focus();
    value.area.setSelectionRange(0, 0);
    value.area.scrollTop = 0;
  };
  const isBytes = record?.kind === "bytes";
  const tools = isBytes
    ? [record.content && button("Download", () => save(new Blob([record.content]), "value.bin"), { icon: "down" })]
    : [button("Format", change(formatted), { title: "One member a line" }), button("Compact", change(compacted), { title: "Without blanks" }), button("Go to error", () => value.showError(), { class: "go" })];
  const dump = isBytes && record.content && h("pre", { class: "dump code", tabindex: "0", "aria-label": "Bytes" }, hexDump(record.content.subarray(0, DUMP_BYTES)), record.content.length > DUMP_BYTES && "\n…");
  const label = !isBytes ? "Value" : dump ? "Value: bytes that can’t be shown as text; below in Base64" : "Value in Base64";
  return h("div", { class: "field value" }, h("div", { class: "legend" }, h("span", { class: "label" }, label), h("div", { class: "row" }, tools)), dump, value.element);
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

const KEPT_VIEW = "larder.view";

/** Tree or text: what was used last in this browser. */
function keptView() {
  try {
    return localStorage.getItem(KEPT_VIEW) === "text" ? "text" : "tree";
  } catch {
    return "tree";
  }
}

function keepView(name) {
  try {
    localStorage.setItem(KEPT_VIEW, name);
  } catch {
    // it holds until the page is left
  }
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
  const exactly = h("span", { hidden: true, class: "row" }, amount, unit);
  const element = h("div", { class: "field expiry" }, h("label", { for: "expiry" }, "Expires"), h("div", { class: "row" }, choice, exactly));
  const initial = choice.value;

  const update = () => {
    exactly.hidden = choice.value !== "in";
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
    async afterPut(store, key, tag) {
      const expires = isNew ? store.default_ttl_ms > 0 : record.deadline !== null;
      if (expires && choice.value === "never") await ask("PUT", recordPath(store, key, "/ttl"), { json: { ttl_ms: null }, headers: tag ? { "If-Match": tag } : {} });
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
