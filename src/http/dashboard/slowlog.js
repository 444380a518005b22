// The commands that took long.

import { ask, watch } from "./api.js";
import { dialog } from "./dialog.js";
import { button, exact, failure, fill, h, loading, state, toast } from "./dom.js";
import { exactText } from "./exact.js";
import { brief, moment, plural } from "./format.js";
import { ifMay } from "./rights.js";

/** What a row shows of a command; all of it is in its title. */
const SHOWN_MAX = 300;

export function slowLogView(main) {
  const body = h("div", {}, loading());
  const clear = button("Clear …", () => clearDialog(load), { disabled: true });
  main.append(h("header", { class: "head" }, h("h1", {}, "Slow log"), h("div", { class: "actions" }, button("Refresh", load, { icon: "refresh" }), ifMay("slowlog|reset", clear))), body);

  async function load() {
    try {
      const { entries } = await watch("slowlog");
      clear.disabled = entries.length === 0;
      fill(body, entries.length ? list(entries) : state("Nothing was slow", "Commands that take longer than slowlog-log-slower-than (10 ms if not set) are listed here."));
    } catch (error) {
      if (error.status !== 401) fill(body, failure(error, load));
    }
  }

  load();
}

function list(entries) {
  const head = h("tr", {}, h("th", { scope: "col" }, "When"), h("th", { scope: "col", class: "number" }, "Took"), h("th", { scope: "col" }, "Command"), h("th", { scope: "col" }, "Client"));
  const rows = entries.map(({ at, took_us: took, command, client, client_name: name }) => {
    const words = command.map((word) => (word === "" ? '""' : word)).join(" ");
    return h(
      "tr",
      {},
      h("td", { "data-label": "When", class: "time" }, moment(at * 1000)),
      h("td", { "data-label": "Took", class: "number" }, brief(took * 1000)),
      h("td", { "data-label": "Command", class: "code", title: exactText(words) }, exact(words.length > SHOWN_MAX ? `${words.slice(0, SHOWN_MAX)}…` : words)),
      h("td", { "data-label": "Client" }, exact(name || client)),
    );
  });
  return h("table", { class: "list slow" }, h("caption", {}, `${plural(entries.length, "command")}, latest first`), h("thead", {}, head), h("tbody", {}, rows));
}

function clearDialog(done) {
  dialog({
    title: "Clear the slow log",
    body: [h("p", {}, "All entries will be forgotten, for everyone.")],
    action: "Clear",
    danger: true,
    submit: async () => {
      await ask("DELETE", "slowlog");
      toast("The slow log is empty.");
      done();
    },
  });
}
