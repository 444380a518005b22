// The list of stores, and what is done to a store as a whole: create, rename, empty, drop.

import { replaceAddress } from "./address.js";
import { ask, exactly, query, storePath, watch } from "./api.js";
import { dialog } from "./dialog.js";
import { button, exact, failure, field, fill, h, loading, menu, state, toast } from "./dom.js";
import { exactText, isPlain } from "./exact.js";
import { bytes, count, percent, plural, ratio } from "./format.js";
import { facts, usageBar } from "./parts.js";
import { ifMay } from "./rights.js";
import { limitFields, settingsDialog } from "./settings.js";

export function storesView(main, { parameters }) {
  let hasLeft = false;
  const body = h("div", {}, loading());
  const head = h(
    "header",
    { class: "head" },
    h("h1", {}, "Stores"),
    h(
      "div",
      { class: "actions" },
      numbered(),
      ifMay("store|create", button("New store", () => createDialog((name) => hasLeft || openStore(name)), { class: "primary", icon: "plus" })),
    ),
  );
  main.append(head, body);

  async function load() {
    try {
      const [{ stores }, usage] = await Promise.all([watch("stores"), watch("usage")]);
      fill(body, stores.length ? [warnings(usage), totals(stores, usage), listed(stores, load, parameters)] : empty());
    } catch (error) {
      if (error.status !== 401) fill(body, failure(error, load));
    }
  }

  load();
  return () => (hasLeft = true);
}

const openStore = (name) => (location.hash = storeAddress(name));
export const storeAddress = (name) => `#/store/${encodeURIComponent(name)}`;

function empty() {
  return state(
    "No stores yet",
    "A store is a named set of JSON records. Stores 0 to 15 always exist, and show up here once they hold something.",
    button("Create a store", () => createDialog(openStore), { class: "primary" }),
    h("a", { class: "button", href: storeAddress("0") }, "Open store 0"),
  );
}

function totals(stores, usage) {
  const named = stores.filter(({ number, name }) => String(number) !== name).length;
  return facts([
    ["Stores", count(stores.length), usageBar(named, usage.max_stores, count, "Named stores")],
    ["Records", count(usage.records), usageBar(usage.records, usage.max_keys, count, "Records in all stores")],
    ["Stored", bytes(usage.stored_bytes), usageBar(usage.stored_bytes, usage.max_bytes, bytes, "Stored bytes in all stores")],
    ["Keys and values", bytes(usage.plain_bytes)],
    ["Compression", compression(usage)],
    ["With expiry", count(usage.expiring)],
  ]);
}

const LIMITED = new Map([["max-stores", ["stores", count]], ["max-keys", ["records", count]], ["max-bytes", ["stored bytes", bytes]]]);

/** Limits of which little is left. */
function warnings({ nearly_reached: limits }) {
  const items = limits.map(({ store, limit, used, max }) => {
    const [what, shown] = LIMITED.get(limit) ?? [limit, count];
    return h("li", {}, store === null ? "The server" : exact(store), ` has ${shown(used)} of ${shown(max)} ${what}`);
  });
  return items.length > 0 && h("div", { class: "warning", role: "status" }, h("strong", {}, "Limits are nearly reached"), h("ul", {}, items));
}

/** Opens a store of a number: those that are empty are in no list. */
function numbered() {
  const choice = h("select", { "aria-label": "Open a numbered store", on: { change: () => choice.value !== "" && openStore(choice.value) } }, h("option", { value: "" }, "Open by number"), Array.from({ length: 16 }, (_, number) => h("option", { value: number }, `Store ${number}`)));
  return choice;
}

/** From so many stores on, they are looked for. */
const FIND_FROM = 8;
const COLUMNS = [["name", "Store"], ["records", "Records"], ["stored_bytes", "Stored"], ["plain_bytes", "Keys and values"], ["ratio", "Compression"], ["expiring", "With expiry"]];
const byName = new Intl.Collator("en", { numeric: true });

/** The part of a name before its first separator, which stores of one kind have in common. */
export const groupOf = (name) => /^(.+?)[-_.:/ ]/.exec(name)?.[1] ?? "";

/** The list, with a search and an order that are part of the address. */
function listed(stores, reload, parameters) {
  const place = h("div", {});
  let sort = parameters.get("sort") ?? "name";
  let isDown = parameters.get("order") === "down";
  let isGrouped = parameters.has("groups");
  const find = h("input", { type: "search", "aria-label": "Look for a store", placeholder: `Look in ${plural(stores.length, "store")}`, autocomplete: "off", spellcheck: "false", props: { value: parameters.get("find") ?? "" }, on: { input: redraw } });
  const group = h("input", { type: "checkbox", props: { checked: isGrouped }, on: { change: () => ((isGrouped = group.checked), redraw()) } });
  const tools = h("div", { class: "tools", hidden: stores.length < FIND_FROM }, h("div", { class: "find" }, find), h("label", { class: "check" }, group, "In groups"));

  const valueOf = (store) => (sort === "ratio" ? gain(store) : store[sort]);
  const compare = (one, other) => (sort === "name" ? byName.compare(one.name, other.name) : valueOf(other) - valueOf(one)) * (isDown ? -1 : 1);

  /** Shows what is looked for now, in the list and in the address. */
  function redraw() {
    replaceAddress(`#/${query({ find: find.value, sort: sort === "name" ? "" : sort, order: isDown ? "down" : "", groups: isGrouped ? "yes" : "" })}`);
    draw();
  }

  function draw() {
    const wanted = find.value.toLowerCase();
    const shown = stores.filter(({ name, number }) => name.toLowerCase().includes(wanted) || String(number) === wanted).sort(compare);
    if (!shown.length) return fill(place, state("No such store", "No store has this in its name."));
    const groups = isGrouped ? Map.groupBy(shown, ({ name }) => groupOf(name)) : new Map([["", shown]]);
    const inOrder = [...groups].sort(([one], [other]) => byName.compare(one, other));
    fill(place, list(inOrder));
  }

  function list(groups) {
    const heads = COLUMNS.map(([id, name], at) => {
      const order = sort === id ? (isDown ? "descending" : "ascending") : null;
      const choose = () => {
        isDown = sort === id && !isDown;
        sort = id;
        redraw();
      };
      return h("th", { scope: "col", class: at ? "number" : null, "aria-sort": order }, button(name, choose, { class: "sort" }));
    });
    const head = h("tr", {}, heads, h("th", { class: "end" }, h("span", { class: "unseen" }, "Actions")));
    const bodies = groups.map(([name, stores]) =>
      h("tbody", {}, isGrouped && h("tr", { class: "group" }, h("th", { scope: "rowgroup", colspan: COLUMNS.length + 1 }, name || "Others", h("span", { class: "muted" }, ` ${plural(stores.length, "store")}`))), stores.map((store) => row(store, reload))),
    );
    return h("table", { class: "list stores" }, h("thead", {}, head), bodies);
  }

  draw();
  return [tools, place];
}

function row(store, reload) {
  const { name, records, stored_bytes: stored, plain_bytes: plain, expiring } = store;
  const cell = (label, ...content) => h("td", { class: "number", "data-label": label }, content);
  return h(
    "tr",
    {},
    h("th", { scope: "row" }, h("a", { href: storeAddress(name) }, exact(name)), kindOf(store)),
    cell("Records", count(records), usageBar(records, store.max_keys, count, `Records of ${exactText(name)}`)),
    cell("Stored", bytes(stored), usageBar(stored, store.max_bytes, bytes, `Stored bytes of ${exactText(name)}`)),
    cell("Keys and values", bytes(plain)),
    cell("Compression", compression(store)),
    cell("With expiry", count(expiring)),
    h("td", { class: "end" }, storeMenu(store, reload)),
  );
}

/** How many times smaller the data became; nothing where little data is outweighed by what is kept of each record. */
const gain = ({ plain_bytes: plain, stored_bytes: stored }) => (stored > 0 && stored < plain ? plain / stored : 0);
export const compression = (usage) => (gain(usage) ? ratio(usage.plain_bytes, usage.stored_bytes) : h("span", { class: "muted", title: "There is too little data for compression to outweigh what is kept beside each record" }, "–"));

function kindOf(store) {
  const number = String(store.number) === store.name ? null : h("span", { class: "muted" }, `no. ${store.number}`);
  return h("span", { class: "chips" }, store.values === "any" && h("span", { class: "chip", title: "Takes any bytes, not only JSON" }, "any bytes"), number);
}

/** What can be done to a store. `changed` is told the name it has afterwards, or null if it is gone. */
export function storeMenu(store, changed) {
  const isNamed = store.number >= 16 || String(store.number) !== store.name;
  const entry = (label, open, danger) => button(label, () => open(store, changed), { class: danger ? "quiet warn" : "quiet" });
  return menu(`Actions for ${exactText(store.name)}`, [
    ifMay("store|set", entry("Settings …", settingsDialog)),
    isNamed && ifMay("store|rename", entry("Rename …", renameDialog)),
    ifMay("flushdb", entry("Empty …", clearDialog, true)),
    isNamed && ifMay("store|drop", entry("Drop …", dropDialog, true)),
  ]);
}

export function createDialog(done) {
  const name = h("input", { name: "name", autofocus: true, maxlength: "128", autocomplete: "off", spellcheck: "false" });
  const values = h("select", { name: "values" }, h("option", { value: "" }, "As the server’s default"), h("option", { value: "json" }, "JSON only"), h("option", { value: "any" }, "Any bytes"));
  const limits = limitFields({});
  dialog({
    title: "New store",
    body: [
      field("Name", name, "Up to 128 bytes; not a number."),
      field("Values", values, "A store for JSON refuses everything else."),
      h("details", { class: "more" }, h("summary", {}, "Limits and lifetimes"), limits.elements),
    ],
    action: "Create",
    submit: async () => {
      await ask("POST", "stores", { json: { name: exactly(name.value), ...(values.value && { values: values.value }), ...limits.changes() } });
      toast(`Store ${exactText(name.value)} was created.`);
      done(name.value);
    },
  });
}

function renameDialog(store, changed) {
  const name = h("input", { name: "name", autofocus: true, maxlength: "128", autocomplete: "off", spellcheck: "false", props: { value: store.name } });
  dialog({
    title: ["Rename ", exact(store.name)],
    body: [field("New name", name, "Its number and its records stay. Clients that select it by its old name will not find it.")],
    action: "Rename",
    submit: async () => {
      await ask("POST", storePath(store, "/rename"), { json: { name: exactly(name.value) } });
      toast(`${exactText(store.name)} is ${exactText(name.value)} now.`);
      changed(name.value);
    },
  });
  name.select();
}

function clearDialog(store, changed) {
  const { confirmation, watchName } = typed(store);
  watchName(
    dialog({
      title: ["Empty ", exact(store.name)],
      body: [h("p", {}, `All ${plural(store.records, "record")} of `, exact(store.name), " will be deleted. This can’t be undone."), confirmation],
      action: "Delete all records",
      danger: true,
      submit: async () => {
        await ask("POST", storePath(store, "/clear"), { json: {} });
        toast(`${exactText(store.name)} is empty.`);
        changed(store.name);
      },
    }),
  );
}

/** A field into which the store's name has to be typed, if something would be lost. */
function typed(store) {
  if (!store.records) return { confirmation: null, watchName: () => {} };
  const name = h("input", { autocomplete: "off", spellcheck: "false", autofocus: true });
  // nobody can type what can't be seen
  const wanted = isPlain(store.name) ? store.name : String(store.number);
  const watchName = ({ confirm }, mayBe = () => true) => {
    const check = () => (confirm.disabled = name.value !== wanted || !mayBe());
    name.addEventListener("input", check);
    check();
    return check;
  };
  return { confirmation: field(`Type “${wanted}” to confirm`, name), watchName };
}

function dropDialog(store, changed) {
  const users = h("div", { class: "users" }, loading());
  const { confirmation, watchName } = typed(store);
  let isFree = false;
  const parts = dialog({
    title: ["Drop ", exact(store.name)],
    body: [
      h("p", {}, store.records ? `The store and its ${plural(store.records, "record")} will be deleted. This can’t be undone.` : "The store is empty. Its name becomes free."),
      users,
      confirmation,
    ],
    action: "Drop store",
    danger: true,
    submit: async () => {
      try {
        await ask("DELETE", storePath(store));
      } catch (error) {
        if (error.code === "INUSE") await look();
        throw error;
      }
      toast(`${exactText(store.name)} was dropped.`);
      changed(null);
    },
  });
  const recheck = watchName(parts, () => isFree) ?? (() => (parts.confirm.disabled = !isFree));

  async function look() {
    parts.confirm.disabled = true;
    try {
      const using = await usersOf(store);
      isFree = using.length === 0;
      fill(
        users,
        !isFree && [
          h("p", {}, h("strong", {}, "It is in use"), ", so it can’t be dropped:"),
          h("ul", {}, using.map((user) => h("li", {}, exact(user)))),
          button("Look again", look, { icon: "refresh" }),
        ],
      );
    } catch (error) {
      isFree = error.status !== 404;
      fill(users);
      parts.fail(error);
    }
    recheck();
  }

  recheck();
  look();
}

/** Who uses a store: workflows that are linked, and connections that have it selected. */
async function usersOf(store) {
  const { workflows, clients } = await watch(storePath(store, "/links"));
  return [...workflows.map((workflow) => `workflow ${workflow}`), ...clients];
}
