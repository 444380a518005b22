// The last changes of a store, with the value before and after, as they happen.

import { replaceAddress } from "./address.js";
import { query, watch } from "./api.js";
import { button, exact, exactKey, failure, fill, h, loading, state } from "./dom.js";
import { exactText } from "./exact.js";
import { moment, plural } from "./format.js";
import { follow } from "./live.js";
import { outline } from "./outline.js";
import { pageHead, table } from "./parts.js";
import { storeAddress } from "./stores.js";

/** Changes that are kept and shown. */
const KEPT_MAX = 200;
/** Characters of a value that a row shows. */
const VALUE_MAX = 300;
const SAID = { set: "written", delete: "deleted", expire: "expired", evict: "evicted", flush: "all records removed", swap: "exchanged with another store", rename: "renamed", drop: "dropped", lost: "interrupted: changes may be missing here" };

export function changesView(main, { parameters }) {
  let changes = [];
  let stop = null;
  let isPaused = false;
  let drawing;
  let store = null;
  const body = h("div", {}, loading());
  const list = h("div", {});
  const choice = h("select", { "aria-label": "Store", on: { change: () => begin(Number(choice.value)) } });
  const pause = button("Pause", () => {
    isPaused = !isPaused;
    pause.textContent = isPaused ? "Go on" : "Pause";
    draw();
  });
  const clear = button("Clear", () => {
    changes = [];
    draw();
  });
  const status = h("span", { class: "muted", role: "status" });
  let stores = [];
  main.append(pageHead("Changes", pause, clear), body);

  async function load() {
    try {
      ({ stores } = await watch("stores"));
    } catch (error) {
      if (error.status !== 401) fill(body, failure(error, load));
      return;
    }
    if (!stores.length) return fill(body, state("There are no stores yet", "What is written to a store shows up here as it happens."));
    fill(choice, stores.map(({ number, name }) => h("option", { value: number }, exactText(name))));
    const wanted = stores.find(({ name }) => name === parameters.get("store")) ?? stores[0];
    choice.value = String(wanted.number);
    fill(body, h("div", { class: "tools" }, h("div", { class: "row" }, choice, status)), list);
    begin(wanted.number);
  }

  function begin(number) {
    stop?.();
    store = stores.find((one) => one.number === number);
    replaceAddress(`#/changes${query({ store: store.name })}`);
    changes = [];
    stop = follow(store, { changed, status: (text) => (status.textContent = text === "live" ? "Live" : `The stream of changes: ${text}`) });
    draw();
  }

  function changed(event) {
    const { kind, key } = event;
    changes.unshift({ kind, key, at: Date.now(), before: textOf(event, "old"), after: textOf(event, "new") });
    changes.length = Math.min(changes.length, KEPT_MAX);
    // as often as the screen can show it
    if (!isPaused) drawing ??= requestAnimationFrame(draw);
  }

  function draw() {
    drawing = undefined;
    if (isPaused) return;
    const columns = [
      { name: "When", kind: "time", show: ({ at }) => moment(at) },
      { name: "Key", kind: "code", head: true, show: ({ key, kind }) => (key === undefined ? h("span", { class: "muted" }, exact(store.name)) : typeof key === "string" && kind === "set" ? h("a", { href: `${storeAddress(store.name)}?key=${encodeURIComponent(key)}` }, exactKey(key)) : exactKey(key)) },
      { name: "What", show: ({ kind }) => SAID[kind] ?? kind },
      { name: "Before", kind: "code", show: ({ before }) => shown(before) },
      { name: "After", kind: "code", show: ({ after }) => shown(after) },
    ];
    fill(list, changes.length ? table({ columns, items: changes, caption: `${plural(changes.length, "change")}, latest first`, kind: "changes" }) : state("Nothing has changed yet", "Changes of this store show up here as they happen, as long as this page is open."));
  }

  load();
  return () => {
    stop?.();
    cancelAnimationFrame(drawing);
  };
}

/** The beginning of the value before or after a change, as it stands in the event: numbers keep all their digits. */
function textOf(event, name) {
  if (event[`${name}_base64`] !== undefined) return "bytes";
  if (!event.raw || event[name] === undefined) return null;
  const { text, tokens, lines } = outline(event.raw);
  const line = lines.find((line) => line.level === 1 && line.name >= 0 && text.slice(tokens[line.name].start, tokens[line.name].end) === `"${name}"`);
  const value = text.slice(line.from, line.to);
  return value.length > VALUE_MAX ? `${value.slice(0, VALUE_MAX)}…` : value;
}

const shown = (text) => (text === null ? h("span", { class: "muted" }, "–") : exact(text));
