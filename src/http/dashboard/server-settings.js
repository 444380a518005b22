// The settings of the server, with their documentation; those that can change while it runs can be changed.

import { watch } from "./api.js";
import { dialog } from "./dialog.js";
import { button, exact, failure, field, fill, h, loading, state, toast } from "./dom.js";
import { plural } from "./format.js";
import { pageHead } from "./parts.js";
import { ifMay, may } from "./rights.js";
import { run } from "./run.js";

export function serverSettingsView(main) {
  const body = h("div", {}, loading());
  const search = h("input", { type: "search", placeholder: "Find a setting", "aria-label": "Find a setting", on: { input: draw } });
  const only = h("input", { type: "checkbox", on: { change: draw } });
  const keep = h("span", {});
  main.append(pageHead("Settings", keep), h("div", { class: "row filter" }, search, h("label", { class: "check" }, only, " Only those that can change while the server runs")), body);
  let all = [];

  async function load() {
    try {
      const { settings, has_file: hasFile } = await watch("settings");
      all = settings;
      fill(keep, hasFile && ifMay("config|rewrite", button("Keep in the file …", keepDialog)));
      draw();
    } catch (error) {
      if (error.status !== 401) fill(body, failure(error, load));
    }
  }

  function draw() {
    const wanted = search.value.trim().toLowerCase();
    const shown = all.filter(({ name, help, is_changeable: can }) => (can || !only.checked) && `${name} ${help}`.toLowerCase().includes(wanted));
    if (shown.length === 0) return fill(body, state("No setting is like that", "The names and the descriptions were searched."));
    return fill(body, h("p", { class: "muted", role: "status" }, plural(shown.length, "setting")), h("dl", { class: "server-settings" }, shown.map((setting) => row(setting, load))));
  }

  load();
}

/** The text of a declaration as a sentence, with what it quotes as code. */
const sentence = (help) => [`${help}.`.split("`").map((part, at) => (at % 2 ? h("code", {}, part) : part))];

const shownValue = ({ value, is_secret: isSecret }) => (isSecret ? h("span", { class: "muted" }, "not shown") : value === "" ? h("span", { class: "muted" }, "empty") : h("span", { class: "code" }, exact(value)));

function row(setting, done) {
  const { name, value, default: usual, help, is_changeable: can, is_secret: isSecret } = setting;
  const isChanged = !isSecret && value !== usual;
  return h(
    "div",
    { class: isChanged ? "changed" : null },
    h("dt", { class: "code" }, name),
    h("dd", { class: "value" }, shownValue(setting), isChanged && h("span", { class: "hint" }, ` usually ${usual === "" ? "empty" : usual}`)),
    h("dd", { class: "help" }, sentence(help)),
    h("dd", { class: "end" }, can ? ifMay("config|set", button("Change …", () => changeDialog(setting, done), { "aria-label": `Change ${name}` })) : h("span", { class: "hint" }, may("config|set") ? "at a start" : null)),
  );
}

function changeDialog({ name, value, default: usual, takes, help, is_secret: isSecret }, done) {
  const choices = /^[a-z0-9-]+(\|[a-z0-9-]+)+$/.test(takes) ? takes.split("|") : null;
  const control = choices && choices.includes(value)
    ? h("select", { autofocus: true }, choices.map((choice) => h("option", { selected: choice === value }, choice)))
    : h("input", { type: isSecret ? "password" : "text", class: "code", autocomplete: isSecret ? "new-password" : "off", spellcheck: "false", autofocus: true, props: { value: value ?? "" } });
  dialog({
    title: `Change ${name}`,
    body: [h("p", {}, sentence(help)), field(`Value (${takes})`, control, isSecret ? null : `Usually ${usual === "" ? "empty" : usual}.`), h("p", { class: "hint" }, "It takes effect at once, and holds until the server stops.")],
    action: "Change",
    submit: async () => {
      await run("CONFIG", "SET", name, control.value);
      toast(`${name} is changed.`);
      done();
    },
  });
}

function keepDialog() {
  dialog({
    title: "Keep the settings",
    body: [h("p", {}, "The settings that are in effect now are written to the settings file, so that the next start has them. Comments in the file stay.")],
    action: "Write the file",
    submit: async () => {
      await run("CONFIG", "REWRITE");
      toast("The settings file is written.");
    },
  });
}
