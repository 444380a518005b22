// Numbers, sizes, times and bytes as people read them. Pure. What is no number, or none that could be, is shown as a dash.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const three = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const NONE = "–";

/** Shows numbers; what else may come, NaN, the infinite and what is missing, is a dash. */
const ofNumbers = (shown) => (number) => (typeof number === "number" && Number.isFinite(number) ? shown(number) : NONE);

/** The number in the unit that leaves fewer than four digits before the point; three digits of it. Of the
 * smallest unit there may be only whole ones. */
function scaled(number, units, isWhole = true) {
  const fits = ([, size]) => Math.abs(number) / size < 999.5;
  const [name, size] = units.find(fits) ?? units.at(-1);
  return `${(isWhole && size === 1 ? whole : three).format(number / size)}${name}`;
}

export const count = ofNumbers((number) => whole.format(number));

/** "1 record", "2 records". */
export const plural = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

const SIZES = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"].map((name, at) => [` ${name}`, 1024 ** at]);
export const bytes = ofNumbers((number) => scaled(number, SIZES));

/** How many times smaller something became. */
export const ratio = (plain, stored) => (stored > 0 && Number.isFinite(plain / stored) ? `${(plain / stored).toFixed(2)}×` : NONE);

/** A share of something, in percent. */
export const percent = (part, all) => (all > 0 && Number.isFinite(part / all) ? `${three.format((part / all) * 100)} %` : NONE);

const RATES = [["", 1], ["k", 1e3], ["M", 1e6], ["G", 1e9]];
export const rate = ofNumbers((number) => {
  if (Math.abs(number) < 9_999.5) return number < 10 && !Number.isInteger(number) ? number.toFixed(1) : whole.format(number);
  return scaled(number, RATES);
});

const TIMES = [[" ns", 1], [" µs", 1e3], [" ms", 1e6], [" s", 1e9]];
/** A short time: 850 ns, 12 µs, 3.4 ms, 1.2 s. */
export const brief = ofNumbers((nanos) => scaled(nanos, TIMES));

const UNITS = [["d", 86_400], ["h", 3_600], ["m", 60], ["s", 1]];
const YEAR_DAYS = 365.2425;
const YEARS = [["", 1], ["k", 1e3], ["M", 1e6]];

/** A longer time in its two largest units: 3 d 04 h, 12 m 05 s, 42 s; from a thousand days on in years. */
export const duration = ofNumbers((millis) => {
  const seconds = Math.max(0, Math.round(millis / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds >= 1000 * 86_400) return `${scaled(seconds / 86_400 / YEAR_DAYS, YEARS, false)} years`;
  const at = UNITS.findIndex(([, size]) => seconds >= size);
  const [[unit, size], [lesser, part]] = [UNITS[at], UNITS[at + 1]];
  const rest = Math.floor((seconds % size) / part);
  return `${Math.floor(seconds / size)} ${unit} ${String(rest).padStart(2, "0")} ${lesser}`;
});

/** The last moment that a calendar of JavaScript's has, in the year 275760. */
const LATEST_MS = 8.64e15;

export const moment = ofNumbers((millis) => {
  if (millis > LATEST_MS) return "after the year 275760";
  if (millis < -LATEST_MS) return NONE;
  return new Date(millis).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium" });
});

export function bytesOfBase64(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

export function base64OfBytes(content) {
  let text = "";
  for (let at = 0; at < content.length; at += 0x8000) text += String.fromCharCode(...content.subarray(at, at + 0x8000));
  return btoa(text);
}

/** A key of the API, text or `{base64}`, as a text that tells keys apart. */
export const keyId = (key) => (typeof key === "string" ? `t${key}` : `b${key.base64}`);

const hex = (byte) => byte.toString(16).padStart(2, "0");

/** Bytes as a dump: offset, sixteen bytes, their letters. */
export function hexDump(content) {
  const lines = [];
  for (let at = 0; at < content.length; at += 16) {
    const row = Array.from(content.subarray(at, at + 16));
    const letters = row.map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : "·")).join("");
    lines.push(`${at.toString(16).padStart(6, "0")}  ${row.map(hex).join(" ").padEnd(47)}  ${letters}`);
  }
  return lines.join("\n");
}
