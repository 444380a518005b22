// Two stores beside each other: at which keys they differ, and copies from one to the other.

import { replaceAddress } from "./address.js";
import { get, query, recordPath, storePath, watch } from "./api.js";
import { copyRecord } from "./copy.js";
import { dialog } from "./dialog.js";
import { button, exact, exactKey, failure, fill, h, loading, state, toast } from "./dom.js";
import { exactText, keyText } from "./exact.js";
import { count, plural } from "./format.js";
import { pageHead, progress, table } from "./parts.js";
import { may } from "./rights.js";
import { storeAddress } from "./stores.js";

/** Differences that are shown; all of them are counted. */
const SHOWN_MAX = 1_000;
/** Characters of a value that are shown. */
const VALUE_MAX = 5_000;

const SAID = { only_here: "only in the first", only_there: "only in the second", value: "different values" };

export function compareView(main, { session, parameters }) {
  let stores = [];
  let differences = [];
  let work = null;
  let hasLeft = false;
  const body = h("div", {}, loading());
  const result = h("div", { class: "compared" });
  const choices = ["first", "second"].map((which) => h("select", { "aria-label": `The ${which} store` }));
  const [one, other] = choices;
  const start = button("Compare", compare, { class: "primary" });
  main.append(pageHead("Compare two stores"), body);

  async function load() {
    try {
      ({ stores } = await watch("stores"));
    } catch (error) {
      if (error.status !== 401) fill(body, failure(error, load));
      return;
    }
    if (stores.length < 2) return fill(body, state("There is nothing to compare yet", "It takes two stores that hold something."));
    choices.forEach((choice, at) => {
      fill(choice, stores.map((store) => h("option", { value: store.name }, exactText(store.name))));
      choice.value = parameters.get(at ? "with" : "store") ?? stores[at].name;
      if (choice.selectedIndex < 0) choice.selectedIndex = at;
    });
    fill(body, h("div", { class: "tools" }, h("div", { class: "row" }, one, h("span", { class: "muted" }, "with"), other, start)), result);
    if (parameters.has("with")) compare();
  }

  async function compare() {
    const [here, there] = choices.map((choice) => stores[choice.selectedIndex]);
    replaceAddress(`#/compare${query({ store: here.name, with: there.name })}`);
    work?.stop();
    const mine = (work = progress("Comparison"));
    differences = [];
    let [cursor, counted] = ["0", { only_here: 0, only_there: 0, value: 0 }];
    fill(result, mine.element);
    try {
      while (cursor !== null && !mine.signal.aborted) {
        const told = await get(storePath(here, `/difference/${there.number}${query({ cursor, limit: session.max_keys_per_query || 1000 })}`), { signal: mine.signal });
        cursor = told.cursor;
        for (const found of told.differences) {
          counted[found.difference] += 1;
          if (differences.length < SHOWN_MAX) differences.push(found);
        }
        mine.show(`${plural(counted.only_here + counted.only_there + counted.value, "difference")} so far`);
      }
    } catch (error) {
      if (!mine.signal.aborted) return fill(result, failure(error, compare));
    }
    if (hasLeft || work !== mine) return;
    draw(here, there, counted, cursor !== null);
  }

  function draw(here, there, counted, isStopped) {
    const all = counted.only_here + counted.only_there + counted.value;
    if (!all && !isStopped) return fill(result, state("They are the same", "Both stores have the same keys with the same values."));
    const columns = [
      { name: "Key", kind: "code", head: true, show: ({ key }) => exactKey(key) },
      { name: "Difference", show: ({ difference }) => SAID[difference] },
      { name: "", kind: "end", show: (found) => h("div", { class: "row" }, actions(found, here, there)) },
    ];
    const said = `${isStopped ? "So far " : ""}${count(counted.only_here)} only in ${exactText(here.name)}, ${count(counted.only_there)} only in ${exactText(there.name)}, ${count(counted.value)} with different values${all > differences.length ? `; the first ${count(differences.length)} are shown` : ""}`;
    fill(
      result,
      h(
        "div",
        { class: "row" },
        may("set") && counted.only_here > 0 && button(["Copy what only ", exact(here.name), " has …"], () => copyAll(here, there, "only_here")),
        may("set") && counted.only_there > 0 && button(["Copy what only ", exact(there.name), " has …"], () => copyAll(there, here, "only_there")),
      ),
      table({ columns, items: differences, caption: said, kind: "differences" }),
    );
  }

  function actions({ key, difference }, here, there) {
    const name = keyText(key);
    const link = (store) => h("a", { href: `${storeAddress(store.name)}${typeof key === "string" ? `?key=${encodeURIComponent(key)}` : query({ key_base64: key.base64 })}` }, "in ", exact(store.name));
    const copy = (from, to) => button("", () => copyOne(from, to, key, difference), { icon: from === here ? "right" : "left", class: "quiet", title: `Copy to ${exactText(to.name)}`, "aria-label": `Copy ${name} to ${exactText(to.name)}` });
    return [
      difference === "value" && button("Show both", () => showBoth(here, there, key), { class: "quiet", "aria-label": `Show both values of ${name}` }),
      difference !== "only_there" && link(here),
      difference !== "only_here" && link(there),
      may("set") && difference !== "only_here" && copy(there, here),
      may("set") && difference !== "only_there" && copy(here, there),
    ];
  }

  async function showBoth(here, there, key) {
    const shown = await Promise.all([here, there].map(async (store) => {
      const text = await get.text(recordPath(store, key));
      return h("div", {}, h("h3", {}, exact(store.name)), h("pre", { class: "dump code", tabindex: "0" }, text.slice(0, VALUE_MAX), text.length > VALUE_MAX && "…"));
    })).catch((error) => [failure(error)]);
    dialog({ title: h("span", { class: "code" }, exactKey(key)), wide: true, body: h("div", { class: "both" }, shown), cancel: "Close" });
  }

  function copyOne(from, to, key, difference) {
    const isOver = difference === "value";
    dialog({
      title: ["Copy to ", exact(to.name)],
      body: [h("p", {}, h("span", { class: "code" }, exactKey(key)), " will be copied from ", exact(from.name), isOver && ", and replaces the value there. This can’t be undone.")],
      action: isOver ? "Replace it" : "Copy",
      danger: isOver,
      submit: async () => {
        await copyRecord(from, key, to, key, isOver);
        toast(`${keyText(key)} was copied to ${exactText(to.name)}.`);
        compare();
      },
    });
  }

  /** What one store lacks is copied there; what came to be there meanwhile stays. */
  function copyAll(from, to, difference) {
    const keys = differences.filter((found) => found.difference === difference).map(({ key }) => key);
    const copying = progress("Copies");
    const place = h("div", {});
    const parts = dialog({
      title: ["Copy to ", exact(to.name)],
      body: [h("p", {}, `${plural(keys.length, "record")} that only `, exact(from.name), " has will be copied."), place],
      action: "Copy them",
      keep: () => false,
      cancelled: () => (copying.stop(), parts.isBusy || parts.close()),
      submit: async () => {
        fill(place, copying.element);
        let made = 0;
        for (const key of keys) {
          if (copying.signal.aborted) break;
          await copyRecord(from, key, to, key).catch((error) => {
            if (error.code !== "RECORDEXISTS" && error.status !== 404) throw error;
          });
          made += 1;
          copying.show(`${count(made)} of ${count(keys.length)}`, made / keys.length);
        }
        toast(`${plural(made, "record")} copied to ${exactText(to.name)}.`);
        compare();
      },
    });
  }

  load();
  return () => {
    hasLeft = true;
    work?.stop();
  };
}
