// The console: commands of the Redis protocol, with completion and help, and replies that fold.

import { replaceAddress } from "./address.js";
import { ask, get, watch } from "./api.js";
import { commandOf, completions, mayKeep, remembered, selects, typed } from "./command-line.js";
import { dialog } from "./dialog.js";
import { button, exact, failure, fill, h, loading } from "./dom.js";
import { brief } from "./format.js";
import { replyView } from "./reply.js";
import { may } from "./rights.js";

/** So many commands and replies stay on the page. */
const ENTRIES_MAX = 100;

export function consoleView(main, { session, parameters }) {
  main.append(loading());
  const abort = new AbortController();
  const { signal } = abort;
  (async () => {
    try {
      const [{ commands }, { stores }] = await Promise.all([watch("commands", { signal }), watch("stores", { signal })]);
      fill(main);
      open(main, { session, stores, commands: new Map(commands.map((command) => [command.name, command])), wanted: parameters.get("store") });
    } catch (error) {
      if (!signal.aborted && error.status !== 401) fill(main, failure(error));
    }
  })();
  return () => abort.abort();
}

function open(main, { session, stores, commands, wanted }) {
  const history = keptLines(session.user);
  const offered = new Map([...commands].filter(([name, { needs_connection: isLost }]) => may(name) && !isLost));
  let position = history.lines.length;
  let draft = "";

  const chosen = h("select", { "aria-label": "Store", on: { change: () => replaceAddress(`#/console?store=${encodeURIComponent(chosen.value)}`) } });
  const drawStores = (number) => {
    const offeredStores = withNumbered(stores);
    fill(chosen, offeredStores.map((store) => h("option", { value: store.number }, store.name === String(store.number) ? `Store ${store.number}` : store.name)));
    if (offeredStores.some((store) => String(store.number) === String(number))) chosen.value = number;
  };
  // one who may use a single store begins in it
  drawStores(wanted ?? (stores.length === 1 ? stores[0].number : 0));

  const log = h("div", { class: "log", role: "log", "aria-label": "Commands and replies", tabindex: "0" }, welcome());
  const choices = h("ul", { class: "choices", id: "choices", role: "listbox", "aria-label": "Commands", hidden: true });
  const help = h("div", { class: "help", id: "help" });
  const input = h("input", {
    id: "line", type: "text", class: "code", autocomplete: "off", autocapitalize: "off", spellcheck: "false", placeholder: "A command, such as GET user:1", role: "combobox",
    "aria-label": "Command", "aria-expanded": "false", "aria-controls": "choices", "aria-autocomplete": "list", "aria-describedby": "help",
  });
  const send = h("button", { type: "submit", class: "primary" }, "Run");
  const form = h("form", { class: "line", on: { submit: (event) => { event.preventDefault(); submit(); } } }, choices, input, send);
  main.append(
    h("header", { class: "head" }, h("h1", {}, "Console"), h("div", { class: "actions" }, chosen, button("Clear", () => { fill(log, welcome()); input.focus(); }, {}))),
    log,
    form,
    help,
  );

  input.addEventListener("input", () => {
    position = history.lines.length;
    complete();
  });
  input.addEventListener("blur", () => setTimeout(close, 150));
  input.addEventListener("keydown", (event) => {
    const isOpen = !choices.hidden;
    const at = [...choices.children].findIndex((choice) => choice.getAttribute("aria-selected") === "true");
    const keys = {
      Tab: () => isOpen && !event.shiftKey && take(choices.children[Math.max(at, 0)]),
      Enter: () => isOpen && at >= 0 && take(choices.children[at]),
      Escape: () => isOpen && close(),
      ArrowDown: () => (isOpen ? mark(at + 1) : recall(1)),
      ArrowUp: () => (isOpen && at >= 0 ? mark(at - 1) : recall(-1)),
    };
    if (keys[event.key]?.()) event.preventDefault();
  });

  function complete() {
    const found = completions(input.value.slice(0, input.selectionStart), offered);
    fill(choices, found.map((name, at) => h("li", { id: `choice-${at}`, role: "option", "aria-selected": "false", on: { pointerdown: (event) => { event.preventDefault(); take(event.currentTarget); } } }, h("span", { class: "code" }, name), h("span", { class: "muted" }, offered.get(name.toLowerCase().replace(" ", "|"))?.summary))));
    choices.hidden = found.length === 0;
    input.setAttribute("aria-expanded", String(!choices.hidden));
    input.removeAttribute("aria-activedescendant");
    explain();
  }

  function close() {
    choices.hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
    return true;
  }

  function mark(at) {
    const count = choices.children.length;
    const next = Math.min(at, count - 1);
    [...choices.children].forEach((choice, index) => choice.setAttribute("aria-selected", String(index === next)));
    if (next >= 0) {
      input.setAttribute("aria-activedescendant", `choice-${next}`);
      choices.children[next].scrollIntoView({ block: "nearest" });
    } else input.removeAttribute("aria-activedescendant");
    return true;
  }

  function take(choice) {
    const name = choice.querySelector(".code").textContent;
    const rest = input.value.slice(input.selectionStart);
    input.value = `${name} ${rest.trimStart()}`;
    input.setSelectionRange(name.length + 1, name.length + 1);
    close();
    explain();
    input.focus();
    return true;
  }

  /** Earlier lines, and back to what was being typed. */
  function recall(step) {
    const next = position + step;
    if (next < 0 || next > history.lines.length) return true;
    if (position === history.lines.length) draft = input.value;
    position = next;
    input.value = history.lines[position] ?? draft;
    input.setSelectionRange(input.value.length, input.value.length);
    close();
    explain();
    return true;
  }

  function explain() {
    const command = commandOf(input.value, commands);
    fill(help, command && documentation(command));
  }

  async function submit() {
    const line = input.value.trim();
    if (line === "" || send.disabled) return;
    close();
    const command = commandOf(line, commands);
    if (command && !may(command.name)) return tell(line, refusal(`Your user, ${session.user}, may not run ${typed(command.name)}.`));
    if (command?.needs_connection) return tell(line, refusal(`${typed(command.name)} works on a connection, and this page has none: use redis-cli for it.`));
    if (command?.is_harmful && !(await agrees(line, command, nameOfStore()))) return input.focus();
    send.disabled = true;
    if (mayKeep(line, commands)) history.add(line);
    position = history.lines.length;
    draft = "";
    input.value = "";
    explain();
    try {
      const { reply, store, took_us: took } = await (await ask("POST", "run", { json: { line, store: chosen.value } })).json();
      const known = stores.length;
      if (command && /^(store\||swapdb|flush)/.test(command.name)) stores.splice(0, known, ...(await get("stores")).stores);
      drawStores(selects(line) ? store : chosen.value);
      tell(line, replyView(reply), brief(took * 1000));
    } catch (error) {
      tell(line, refusal(error.detail ?? String(error)));
    } finally {
      send.disabled = false;
      input.focus();
    }
  }

  const nameOfStore = () => chosen.selectedOptions[0]?.textContent ?? "";
  const refusal = (text) => h("span", { class: "reply error" }, exact(text));

  function tell(line, shown, took) {
    log.querySelector(".welcome")?.remove();
    const isKept = mayKeep(line, commands);
    const again = button("", () => { input.value = line; input.focus(); explain(); }, { class: "quiet", icon: "refresh", "aria-label": "Edit and run again", title: "Edit and run again" });
    // what may be a secret does not stay on the screen
    const words = isKept || !commandOf(line, commands) ? line : `${typed(commandOf(line, commands).name)} …`;
    log.append(h("section", { class: "entry" }, h("header", {}, h("span", { class: "where" }, nameOfStore()), h("code", {}, exact(words)), took && h("span", { class: "muted" }, took), isKept && again), shown));
    while (log.children.length > ENTRIES_MAX) log.firstChild.remove();
    log.scrollTop = log.scrollHeight;
  }

  input.focus();
}

/** So many numbered stores are offered even if they are empty, which the list of stores leaves out. */
const NUMBERED = 16;

function withNumbered(stores) {
  const known = new Set(stores.map(({ number }) => number));
  const empty = Array.from({ length: NUMBERED }, (_, number) => ({ number, name: String(number) })).filter(({ number }) => !known.has(number));
  const isNumbered = ({ number, name }) => name === String(number);
  return [...stores, ...empty].sort((one, other) => Number(isNumbered(one)) - Number(isNumbered(other)) || (isNumbered(one) ? one.number - other.number : one.name.localeCompare(other.name)));
}

function welcome() {
  return h("div", { class: "welcome muted" }, h("p", {}, "Type a command of the Redis protocol. What you may run is completed as you type, and explained below."), h("p", {}, h("kbd", {}, "Tab"), " completes, ", h("kbd", {}, "↑"), " brings earlier commands back."));
}

function documentation({ name, syntax, summary, since, complexity, group }) {
  const words = typed(name);
  // its arguments may begin with the name already
  return [
    h("p", { class: "code" }, h("strong", {}, words), " ", syntax),
    h("p", {}, summary, ". ", h("span", { class: "muted" }, `${complexity.replace(/\.$/, "")} · since ${since} · ${group}`)),
  ];
}

/** Asks before a command that does something to everybody. */
function agrees(line, { name, summary }, store) {
  return new Promise((answer) => {
    const asked = dialog({
      title: `Run ${typed(name)}?`,
      body: [h("p", {}, `${summary}.`), h("pre", { class: "asked" }, line), h("p", { class: "muted" }, `Store: ${store}. It takes effect at once, for everybody who uses this server.`)],
      action: "Run it",
      danger: true,
      submit: () => answer(true),
    });
    asked.form.querySelector("footer button").focus();
    asked.onClosed.push(() => answer(false));
  });
}

/** The lines that this browser keeps for a user. */
function keptLines(user) {
  const name = `larder.console.${user}`;
  let lines = [];
  try {
    const kept = JSON.parse(localStorage.getItem(name) ?? "[]");
    if (Array.isArray(kept)) lines = kept.filter((line) => typeof line === "string");
  } catch {
    // they begin anew
  }
  const history = {
    get lines() {
      return lines;
    },
    add(line) {
      lines = remembered(lines, line);
      try {
        localStorage.setItem(name, JSON.stringify(lines));
      } catch {
        // they hold until the page is left
      }
    },
  };
  return history;
}
