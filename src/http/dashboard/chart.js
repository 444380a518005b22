// Lines over time, drawn as SVG.

import { fill, h, svg } from "./dom.js";

const HEIGHT = 180;
/** Before it is known how much room there is. */
const USUAL_WIDTH = 600;
const [LEFT, RIGHT, TOP, BOTTOM] = [52, 8, 10, 20];

/** Which numbers are round. */
const TENS = { base: 10, factors: [1, 2, 5, 10] };
export const WHOLE = { ...TENS, least: 1 };
export const BINARY = { base: 1024, factors: [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024] };

/**
 * A chart of named series. `draw(points, now, spanMs)` takes points of `{at, values}`, times in milliseconds, null for what is
 * unknown; a point with `isGap` begins a new line. Up to ten minutes are counted back from now, longer spans have times of the day.
 */
export function chart({ title, names, shown, steps = TENS, spanMs: usualSpanMs, note }) {
  const plot = svg("g", {});
  const cross = svg("line", { class: "cross", y1: TOP, y2: HEIGHT - BOTTOM, visibility: "hidden" });
  const label = h("span", { class: "at" });
  const figures = names.map(() => h("span", { class: "figure" }, "–"));
  const legend = h("p", { class: "legend" }, names.map((name, at) => h("span", { class: `series s${at}` }, h("span", { class: "swatch" }), name, " ", figures[at])), label);
  const picture = svg("svg", { viewBox: `0 0 ${USUAL_WIDTH} ${HEIGHT}`, role: "img", "aria-label": title }, plot, cross);
  const element = h("figure", { class: "chart" }, h("figcaption", {}, h("h2", {}, title), legend), picture, note && h("p", { class: "hint" }, note));
  let drawn = { points: [], now: 0, spanMs: usualSpanMs, x: () => 0, width: USUAL_WIDTH };

  const tell = (point) => point && names.forEach((_, at) => (figures[at].textContent = shown(point.values[at])));

  function draw(points, now, spanMs = usualSpanMs) {
    // as wide as there is room, so that letters have their size on a phone, too
    const width = picture.clientWidth || USUAL_WIDTH;
    picture.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    const known = points.filter(({ at }) => at >= now - spanMs);
    const highest = Math.max(0, ...known.flatMap(({ values }) => values.filter(Number.isFinite)));
    const { top, step } = ticks(highest, steps);
    const x = (at) => LEFT + (1 - (now - at) / spanMs) * (width - LEFT - RIGHT);
    const y = (value) => HEIGHT - BOTTOM - (value / top) * (HEIGHT - TOP - BOTTOM);
    const lines = [];
    for (let value = 0; value <= top * 1.001; value += step) {
      lines.push(svg("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) }), svg("text", { class: "tick", x: LEFT - 6, y: y(value) + 3.5, "text-anchor": "end" }, shown(value)));
    }
    for (const { at, text, anchor = "middle" } of timeTicks(now, spanMs, width < 450)) {
      lines.push(svg("text", { class: "tick", x: x(at), y: HEIGHT - 5, "text-anchor": anchor }, text));
    }
    const series = names.map((_, which) => svg("path", { class: `line s${which}`, d: path(known, which, x, y) }));
    fill(plot, lines, series.reverse());
    drawn = { points: known, now, spanMs, x, width };
    tell(known.at(-1));
  }

  picture.addEventListener("pointermove", (event) => {
    const box = picture.getBoundingClientRect();
    const wanted = ((event.clientX - box.left) / box.width) * drawn.width;
    const distance = ({ at }) => Math.abs(drawn.x(at) - wanted);
    const nearest = drawn.points.reduce((best, point) => (best && distance(best) <= distance(point) ? best : point), null);
    if (!nearest) return;
    cross.setAttribute("x1", drawn.x(nearest.at));
    cross.setAttribute("x2", drawn.x(nearest.at));
    cross.setAttribute("visibility", "visible");
    label.textContent = drawn.spanMs <= COUNTED_MS ? `${Math.round((drawn.now - nearest.at) / 1000)} s ago` : momentOf(nearest.at, drawn.spanMs);
    tell(nearest);
  });
  picture.addEventListener("pointerleave", () => {
    cross.setAttribute("visibility", "hidden");
    label.textContent = "";
    tell(drawn.points.at(-1));
  });
  draw([], 0);
  return { element, draw };
}

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
/** Up to this span, times are counted back from now. */
const COUNTED_MS = 10 * MINUTE;

/** Where times are told below the chart; fewer of them where it is narrow. */
export function timeTicks(now, spanMs, isNarrow) {
  if (spanMs <= COUNTED_MS) {
    const minutes = Math.round(spanMs / MINUTE);
    const ticks = [];
    for (let ago = 0; ago <= minutes; ago += isNarrow ? 2 : 1) {
      ticks.push({ at: now - ago * MINUTE, text: ago === 0 ? "now" : `−${ago} min`, anchor: ago === 0 ? "end" : ago === minutes ? "start" : "middle" });
    }
    return ticks;
  }
  const step = (spanMs <= HOUR ? 10 * MINUTE : spanMs <= DAY ? 4 * HOUR : DAY) * (isNarrow ? 2 : 1);
  const from = now - spanMs;
  // round times are those of the clock on the wall
  const midnight = new Date(from);
  midnight.setHours(0, 0, 0, 0);
  const ticks = [];
  for (let at = midnight.getTime(); at < now - spanMs * 0.03; at += step) {
    if (at > from + spanMs * 0.03) ticks.push({ at, text: step >= DAY ? dayOf(at) : timeOf(at) });
  }
  return ticks;
}

const timeOf = (at) => new Date(at).toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" });
const dayOf = (at) => new Date(at).toLocaleDateString(undefined, { weekday: "short", day: "numeric" });
const momentOf = (at, spanMs) => (spanMs > DAY ? `${dayOf(at)}, ${timeOf(at)}` : timeOf(at));

/** A line that is broken where nothing is known. */
function path(points, which, x, y) {
  let out = "";
  let isOpen = false;
  for (const { at, values, isGap } of points) {
    const value = values[which];
    if (!Number.isFinite(value) || isGap) isOpen = false;
    if (!Number.isFinite(value)) continue;
    out += `${isOpen ? "L" : "M"}${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
    isOpen = true;
  }
  return out;
}

/** Round numbers up to the highest value, three or four of them. */
function ticks(highest, { base, factors, least = 0 }) {
  if (highest <= 0) return { top: 1, step: 1 };
  const rough = Math.max(highest / 3, least);
  const power = base ** Math.floor(Math.log(rough) / Math.log(base));
  const step = factors.map((factor) => factor * power).find((size) => size >= rough);
  return { top: Math.ceil(highest / step) * step, step };
}
