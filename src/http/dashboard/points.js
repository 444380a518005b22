// The points of the curves: from what a page saw since it was opened, or from what the server kept. Pure, except for drawing.

/** What a chart shows: its name, and the figures of its lines. A `_total` is shown by its growth per second. */
const LINES = {
  throughput: ["larder_commands_total"],
  responses: ["larder_response_seconds_p50", "larder_response_seconds_p99", "larder_response_seconds_p999"],
  lookups: ["larder_keyspace_hits_total", "larder_keyspace_misses_total"],
  memory: ["larder_memory_allocated_bytes", "larder_memory_resident_bytes"],
  disk: ["larder_lmdb_live_bytes", "larder_lmdb_free_bytes", "larder_journal_disk_bytes"],
  removed: ["larder_expired_records_total", "larder_evicted_records_total"],
  traffic: ["larder_net_input_bytes_total", "larder_net_output_bytes_total"],
  clients: ["larder_connected_clients"],
  processor: ["larder_cpu_user_seconds_total", "larder_cpu_system_seconds_total"],
};
const PERCENTILES = [["larder_response_seconds_p50", 0.5], ["larder_response_seconds_p99", 0.99], ["larder_response_seconds_p999", 0.999]];
/** Two looks that are further apart than so many steps have a gap between them. */
const GAP_STEPS = 3;

/** Draws all charts from points of `{at, isGap, figures}`. */
export function drawAll(charts, points, now, spanMs) {
  for (const [name, figures] of Object.entries(LINES)) {
    // times are shown from nanoseconds on
    const value = (point, figure) => (name === "responses" ? scaled(point.figures[figure], 1e9) : point.figures[figure] ?? null);
    charts[name].draw(points.map((point) => ({ at: point.at, isGap: point.isGap, values: figures.map((figure) => value(point, figure)) })), now, spanMs);
  }
}

const scaled = (number, factor) => (typeof number === "number" ? number * factor : null);

/** The points of an answer of `history`. */
export function keptPoints({ columns, points, step_ms: step }) {
  return points.map(([at, ...values], index) => ({
    at,
    isGap: index > 0 && at - points[index - 1][0] > GAP_STEPS * step,
    figures: Object.fromEntries(columns.map((column, place) => [column, values[place]])),
  }));
}

/** The points between the answers of `stats` that a page has seen. */
export function seenPoints(seen) {
  return seen.slice(1).map((later, index) => {
    const earlier = seen[index];
    const figures = { ...later.figures };
    for (const name of Object.keys(figures)) {
      if (name.endsWith("_total")) figures[name] = perSecond(earlier, later, later.figures[name] - earlier.figures[name]);
    }
    Object.assign(figures, percentiles(earlier, later));
    return { at: later.at_ms, isGap: later.at_ms - earlier.at_ms > GAP_STEPS * 2_000, figures };
  });
}

/** CONFIG RESETSTAT sets counters back: then nothing is known. */
function perSecond(earlier, later, growth) {
  const seconds = (later.at_ms - earlier.at_ms) / 1000;
  return growth >= 0 && seconds > 0 ? growth / seconds : null;
}

/** How long clients waited between two looks, in seconds; null if nobody asked for anything. */
function percentiles(earlier, later) {
  const grown = new Map();
  for (const [stats, sign] of [[later, 1], [earlier, -1]]) {
    for (const [bound, number] of stats.responses) grown.set(bound, (grown.get(bound) ?? 0) + sign * number);
  }
  const buckets = [...grown].filter(([, number]) => number > 0).sort(([one], [other]) => one - other);
  const total = buckets.reduce((sum, [, number]) => sum + number, 0);
  return Object.fromEntries(
    PERCENTILES.map(([name, share]) => {
      let below = 0;
      const found = buckets.find(([, number]) => (below += number) >= total * share);
      return [name, total && found ? found[0] / 1e9 : null];
    }),
  );
}
