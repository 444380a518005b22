// Lines over time, drawn as SVG.

import { fill, h, svg } from "./dom.js";

const HEIGHT = 180;
/** Before it is known how much room there is. */
const USUAL_WIDTH = 600;
const [LEFT, RIGHT, TOP, BOTTOM] = [52, 8, 10, 20];

/** Which numbers are round. */
const TENS = { base: 10, factors: [1, 2, 5, 10] };
export const BINARY = { base: 1024, factors: [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024] };

/** A chart of named series. `draw(points, now)` takes points of `{at, values}`, times in milliseconds, null for what is unknown. */
export function chart({ title, names, shown, steps = TENS, spanMs, note }) {
  const plot = svg("g", {});
  const cross = svg("line", { class: "cross", y1: TOP, y2: HEIGHT - BOTTOM, visibility: "hidden" });
  const label = h("span", { class: "at" });
  const figures = names.map(() => h("span", { class: "figure" }, "–"));
  const legend = h("p", { class: "legend" }, names.map((name, at) => h("span", { class: `series s${at}` }, h("span", { class: "swatch" }), name, " ", figures[at])), label);
  const picture = svg("svg", { viewBox: `0 0 ${USUAL_WIDTH} ${HEIGHT}`, role: "img", "aria-label": title }, plot, cross);
  const element = h("figure", { class: "chart" }, h("figcaption", {}, h("h2", {}, title), legend), picture, note && h("p", { class: "hint" }, note));
  let drawn = { points: [], now: 0, x: () => 0, width: USUAL_WIDTH };

  const tell = (point) => point && names.forEach((_, at) => (figures[at].textContent = shown(point.values[at])));

  function draw(points, now) {
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
    const minutes = spanMs / 60_000;
    for (let ago = 0; ago <= minutes; ago += width < 450 ? 2 : 1) {
      const anchor = ago === 0 ? "end" : ago === minutes ? "start" : "middle";
      lines.push(svg("text", { class: "tick", x: x(now - ago * 60_000), y: HEIGHT - 5, "text-anchor": anchor }, ago === 0 ? "now" : `−${ago} min`));
    }
    const series = names.map((_, which) => svg("path", { class: `line s${which}`, d: path(known, which, x, y) }));
    fill(plot, lines, series.reverse());
    drawn = { points: known, now, x, width };
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
    label.textContent = `${Math.round((drawn.now - nearest.at) / 1000)} s ago`;
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
function ticks(highest, { base, factors }) {
  if (highest <= 0) return { top: 1, step: 1 };
  const rough = highest / 3;
  const power = base ** Math.floor(Math.log(rough) / Math.log(base));
  const step = factors.map((factor) => factor * power).find((size) => size >= rough);
  return { top: Math.ceil(highest / step) * step, step };
}
