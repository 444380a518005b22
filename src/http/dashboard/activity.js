// What the server is doing now: figures that grow, looked at again and again, and drawn by how they grew.

import { watch } from "./api.js";
import { BINARY, chart } from "./chart.js";
import { failure, fill, h, loading } from "./dom.js";
import { brief, bytes, count, duration, percent, rate } from "./format.js";
import { facts } from "./parts.js";

const STEP_MS = 2_000;
const SPAN_MS = 5 * 60_000;

/** What was seen, by this page since it was opened. */
const seen = [];

export function activityView(main) {
  const figures = h("div", {});
  const charts = {
    throughput: chart({ title: "Commands per second", names: ["reads", "writes"], shown: rate, spanMs: SPAN_MS, note: "Commands on keys, over the Redis protocol and the HTTP API." }),
    responses: chart({ title: "Response time", names: ["median", "99 %"], shown: brief, spanMs: SPAN_MS, note: "From the arrival of a request until its reply is sent, with the wait for the disk. What this dashboard looks at by itself does not count." }),
    memory: chart({ title: "Memory", names: ["allocated", "resident"], shown: bytes, steps: BINARY, spanMs: SPAN_MS }),
    traffic: chart({ title: "Bytes per second", names: ["in", "out"], shown: bytes, steps: BINARY, spanMs: SPAN_MS, note: "Over the Redis protocol." }),
  };
  const trouble = h("div", {});
  const body = h("div", { hidden: true }, figures, h("div", { class: "charts" }, Object.values(charts).map(({ element }) => element)));
  main.append(h("header", { class: "head" }, h("h1", {}, "Activity"), h("p", { class: "muted" }, "The last five minutes, as long as this page is open; looked at every two seconds")), trouble, body);
  trouble.append(loading());
  const abort = new AbortController();
  let timer;

  async function look() {
    clearTimeout(timer);
    if (document.hidden) return;
    try {
      const stats = await watch("stats", { signal: abort.signal });
      if (seen.length && stats.figures.larder_uptime_seconds < seen.at(-1).figures.larder_uptime_seconds) seen.length = 0;
      seen.push(stats);
      while (seen.length > 2 && seen[0].at_ms < stats.at_ms - SPAN_MS - STEP_MS) seen.shift();
      fill(trouble);
      body.hidden = false;
      draw();
    } catch (error) {
      if (abort.signal.aborted || error.status === 401) return;
      fill(trouble, failure(error, look));
      if (error.status === 403) return;
    }
    timer = setTimeout(look, STEP_MS);
  }

  function draw() {
    const now = seen.at(-1);
    const all = now.figures;
    const hits = all.larder_keyspace_hits_total ?? 0;
    const lookups = hits + (all.larder_keyspace_misses_total ?? 0);
    fill(
      figures,
      facts([
        ["Running for", duration(all.larder_uptime_seconds * 1000)],
        ["Clients", count(all.larder_connected_clients)],
        ["Commands", count(all.larder_commands_total)],
        ["Keys found", percent(hits, lookups)],
        ["Expired", count(all.larder_expired_records_total)],
        ["Evicted", count(all.larder_evicted_records_total)],
        ["Not yet in LMDB", bytes(all.larder_memtable_bytes)],
        ["On disk", bytes((all.larder_lmdb_file_bytes ?? 0) + (all.larder_journal_segments_bytes ?? 0))],
      ]),
    );
    const points = (values) => seen.slice(1).map((later, at) => ({ at: later.at_ms, values: values(seen[at], later), isGap: later.at_ms - seen[at].at_ms > 3 * STEP_MS }));
    const grown = (name) => (earlier, later) => perSecond(earlier, later, later.figures[name] - earlier.figures[name]);
    const [input, output] = [grown("larder_net_input_bytes_total"), grown("larder_net_output_bytes_total")];
    charts.throughput.draw(points((earlier, later) => ["reads", "writes"].map((name) => perSecond(earlier, later, calls(later[name]) - calls(earlier[name])))), now.at_ms);
    charts.responses.draw(points((earlier, later) => percentiles(earlier, later, [0.5, 0.99])), now.at_ms);
    charts.memory.draw(seen.map(({ at_ms: at, figures: { larder_memory_allocated_bytes: allocated, larder_memory_resident_bytes: resident } }) => ({ at, values: [allocated ?? null, resident ?? null] })), now.at_ms);
    charts.traffic.draw(points((...pair) => [input(...pair), output(...pair)]), now.at_ms);
  }

  document.addEventListener("visibilitychange", look);
  look();
  return () => {
    abort.abort();
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", look);
  };
}

/** CONFIG RESETSTAT sets counters back: then nothing is known. */
function perSecond(earlier, later, growth) {
  const seconds = (later.at_ms - earlier.at_ms) / 1000;
  return growth >= 0 && seconds > 0 ? growth / seconds : null;
}

const calls = (buckets) => buckets.reduce((sum, [, number]) => sum + number, 0);

/** How long clients waited between two looks, in nanoseconds; null if nobody asked for anything. */
function percentiles(earlier, later, wanted) {
  const grown = new Map();
  for (const [stats, sign] of [[later, 1], [earlier, -1]]) {
    for (const [bound, number] of stats.responses) grown.set(bound, (grown.get(bound) ?? 0) + sign * number);
  }
  const buckets = [...grown].filter(([, number]) => number > 0).sort(([one], [other]) => one - other);
  const total = calls(buckets);
  return wanted.map((share) => {
    let below = 0;
    const found = buckets.find(([, number]) => (below += number) >= total * share);
    return total && found ? found[0] : null;
  });
}
