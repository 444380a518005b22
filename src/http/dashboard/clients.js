// Who is connected over the Redis protocol.

import { watch } from "./api.js";
import { dialog } from "./dialog.js";
import { button, exact, failure, fill, h, loading, state, toast } from "./dom.js";
import { bytes, count, duration, plural } from "./format.js";
import { ifMay } from "./rights.js";
import { run } from "./run.js";

export function clientsView(main) {
  const body = h("div", {}, loading());
  main.append(h("header", { class: "head" }, h("h1", {}, "Clients"), button("Refresh", load, { icon: "refresh" })), body);

  async function load() {
    try {
      const [{ clients }, { stores }] = await Promise.all([watch("clients"), watch("stores")]);
      const names = new Map(stores.map((store) => [store.number, store.name]));
      fill(body, clients.length ? list(clients, names, load) : state("Nobody is connected", "Connections of the Redis protocol are listed here. This page uses HTTP, so it is not among them."));
    } catch (error) {
      if (error.status !== 401) fill(body, failure(error, load));
    }
  }

  load();
}

const COLUMNS = [
  ["Name", (client) => client.name ? exact(client.name) : h("span", { class: "muted" }, `no. ${client.id}`)],
  ["Address", (client) => client.addr, "code"],
  ["User", (client) => exact(client.user)],
  ["Store", (client, names) => exact(names.get(client.db) ?? String(client.db))],
  ["Last command", (client) => client.cmd, "code"],
  ["Library", (client) => `${client.lib_name ?? ""} ${client.lib_ver ?? ""}`.trim() || "–"],
  ["Commands", (client) => count(client.tot_cmds ?? 0), "number"],
  ["In", (client) => bytes(client.tot_net_in ?? 0), "number"],
  ["Out", (client) => bytes(client.tot_net_out ?? 0), "number"],
  ["Connected", (client) => duration(client.age * 1000), "number"],
  ["Idle", (client) => duration(client.idle * 1000), "number"],
];

function list(clients, names, done) {
  const head = h("tr", {}, COLUMNS.map(([name, , kind]) => h("th", { scope: "col", class: kind === "number" ? kind : null }, name)), ifMay("client|kill", h("th", { scope: "col" }, h("span", { class: "unseen" }, "Actions"))));
  const rows = clients.map((client) => h("tr", {}, COLUMNS.map(([name, shown, kind]) => h("td", { class: kind, "data-label": name }, shown(client, names))), ifMay("client|kill", h("td", { class: "end" }, button("End …", () => endDialog(client, done), { class: "quiet", "aria-label": `End ${client.name || client.addr}` })))));
  return h("table", { class: "list clients" }, h("caption", {}, plural(clients.length, "connection")), h("thead", {}, head), h("tbody", {}, rows));
}

function endDialog({ id, addr, name, user }, done) {
  dialog({
    title: "End this connection?",
    body: [h("p", {}, h("strong", {}, exact(name || `no. ${id}`)), ` from ${addr}, signed in as `, exact(user), "."), h("p", { class: "muted" }, "A command that it waits for may still be run. Most clients connect again by themselves.")],
    action: "End it",
    danger: true,
    submit: async () => {
      const ended = await run("CLIENT", "KILL", "ID", String(id));
      toast(ended ? "The connection is ended." : "It had ended already.");
      done();
    },
  });
}
