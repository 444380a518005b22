// What the server is doing, and what it did in the last hour, day and week.

import { replaceAddress } from "./address.js";
import { watch } from "./api.js";
import { BINARY, WHOLE, chart } from "./chart.js";
import { diskView } from "./disk.js";
import { button, failure, fill, h, loading } from "./dom.js";
import { brief, bytes, count, duration, percent, rate } from "./format.js";
import { drawAll, keptPoints, seenPoints } from "./points.js";
import { facts } from "./parts.js";

const STEP_MS = 2_000;
/** How often the server adds a point to the last hour. */
const KEPT_STEP_MS = 10_000;
const SPAN_MS = 5 * 60_000;

/** What was seen, by this page since it was opened. */
const seen = [];

/** What one can look at: the last minutes, as this page sees them, or what the server kept. */
const SPANS = [["live", "5 minutes", SPAN_MS], ["hour", "Hour", 3_600_000], ["day", "Day", 86_400_000], ["week", "Week", 7 * 86_400_000]];

export function activityView(main, { parameters }) {
  let span = SPANS.find(([name]) => name === parameters.get("last")) ?? SPANS[0];
  const figures = h("div", {});
  const line = (title, names, shown, more = {}) => chart({ title, names, shown, spanMs: SPAN_MS, ...more });
  const charts = {
    throughput: line("Commands per second", ["commands"], rate, { note: "Over the Redis protocol and the HTTP API." }),
    responses: line("Response time", ["median", "99 %", "99.9 %"], brief, { note: "From the arrival of a request until its reply is sent, with the wait for the disk. What this dashboard looks at by itself does not count." }),
    lookups: line("Keys looked for, per second", ["found", "not found"], rate),
    memory: line("Memory", ["allocated", "resident"], bytes, { steps: BINARY }),
    disk: line("Disk", ["data", "free in LMDB’s file", "journal"], bytes, { steps: BINARY, note: "Free pages are used again before the file grows." }),
    removed: line("Records removed per second", ["expired", "evicted"], rate),
    traffic: line("Bytes per second", ["in", "out"], bytes, { steps: BINARY, note: "Over the Redis protocol." }),
    clients: line("Clients", ["connections"], count, { steps: WHOLE }),
    processor: line("Processor", ["in the program", "in the system"], (share) => percent(share, 1), { note: "100 % is one core." }),
  };
  const trouble = h("div", {});
  const body = h("div", { hidden: true }, figures, h("div", { class: "charts" }, Object.values(charts).map(({ element }) => element)), diskView());
  const choices = SPANS.map((choice) => button(choice[1], () => choose(choice), { "aria-pressed": String(choice === span) }));
  main.append(h("header", { class: "head" }, h("h1", {}, "Activity"), h("div", { class: "segments", role: "group", "aria-label": "How far back" }, choices)), trouble, body);
  trouble.append(loading());
  const abort = new AbortController();
  let timer;

  function choose(choice) {
    span = choice;
    choices.forEach((other, at) => other.setAttribute("aria-pressed", String(SPANS[at] === span)));
    replaceAddress(span === SPANS[0] ? "#/activity" : `#/activity?last=${span[0]}`);
    look();
  }

  async function look() {
    clearTimeout(timer);
    if (document.hidden) return;
    const wanted = span;
    const [name, , spanMs] = wanted;
    try {
      const [stats, kept] = await Promise.all([watch("stats", { signal: abort.signal }), name === "live" ? null : watch(`history?last=${name}`, { signal: abort.signal })]);
      if (seen.length && stats.figures.larder_uptime_seconds < seen.at(-1).figures.larder_uptime_seconds) seen.length = 0;
      seen.push(stats);
      while (seen.length > 2 && seen[0].at_ms < stats.at_ms - SPAN_MS - STEP_MS) seen.shift();
      // another span was chosen meanwhile
      if (wanted !== span) return;
      fill(trouble);
      body.hidden = false;
      fill(figures, facts(now(stats.figures)));
      drawAll(charts, kept ? keptPoints(kept) : seenPoints(seen), kept ? kept.now_ms : stats.at_ms, spanMs);
    } catch (error) {
      if (abort.signal.aborted || error.status === 401) return;
      fill(trouble, failure(error, look));
      if (error.status === 403) return;
    }
    timer = setTimeout(look, name === "live" ? STEP_MS : KEPT_STEP_MS);
  }

  document.addEventListener("visibilitychange", look);
  look();
  return () => {
    abort.abort();
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", look);
  };
}

/** The figures above the charts. */
function now(all) {
  const hits = all.larder_keyspace_hits_total ?? 0;
  return [
    ["Running for", duration(all.larder_uptime_seconds * 1000)],
    ["Clients", count(all.larder_connected_clients)],
    ["Commands", count(all.larder_commands_total)],
    ["Keys found", percent(hits, hits + (all.larder_keyspace_misses_total ?? 0))],
    ["Expired", count(all.larder_expired_records_total)],
    ["Evicted", count(all.larder_evicted_records_total)],
    ["Not yet in LMDB", bytes(all.larder_memtable_bytes)],
    ["On disk", bytes((all.larder_lmdb_file_bytes ?? 0) + (all.larder_journal_disk_bytes ?? 0))],
  ];
}
