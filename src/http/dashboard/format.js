// Numbers, sizes, times and keys as people read them. Pure.

const whole = new Intl.NumberFormat("en");
const three = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

export const count = (number) => whole.format(number);

/** "1 record", "2 records". */
export const plural = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

const SIZES = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

export function bytes(number) {
  let unit = 0;
  while (number >= 1000 && unit < SIZES.length - 1) {
    number /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? whole.format(number) : three.format(number)} ${SIZES[unit]}`;
}

/** How many times smaller something became. */
export const ratio = (plain, stored) => (stored > 0 ? `${(plain / stored).toFixed(2)}×` : "–");

export function rate(number) {
  if (number >= 1e6) return `${three.format(number / 1e6)}M`;
  if (number >= 1e4) return `${three.format(number / 1e3)}k`;
  return number < 10 && !Number.isInteger(number) ? number.toFixed(1) : whole.format(Math.round(number));
}

/** A short time: 850 ns, 12 µs, 3.4 ms, 1.2 s. */
export function brief(nanos) {
  if (nanos < 1e3) return `${Math.round(nanos)} ns`;
  if (nanos < 1e6) return `${three.format(nanos / 1e3)} µs`;
  if (nanos < 1e9) return `${three.format(nanos / 1e6)} ms`;
  return `${three.format(nanos / 1e9)} s`;
}

const UNITS = [["d", 86_400], ["h", 3_600], ["m", 60], ["s", 1]];

/** A longer time in its two largest units: 3 d 4 h, 12 m 05 s, 42 s. */
export function duration(millis) {
  const seconds = Math.max(0, Math.round(millis / 1000));
  const at = Math.max(0, UNITS.findIndex(([, size]) => seconds >= size));
  if (seconds < 60) return `${seconds} s`;
  const [[unit, size], [lesser, part]] = [UNITS[at], UNITS[at + 1]];
  const rest = Math.floor((seconds % size) / part);
  return `${Math.floor(seconds / size)} ${unit} ${String(rest).padStart(2, "0")} ${lesser}`;
}

export const moment = (millis) => new Date(millis).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium" });

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

/** A key as shown: control characters and other bytes as escapes. */
export function keyText(key) {
  if (typeof key === "string") return key === "" ? "(empty key)" : key.replace(/[\u0000-\u001f\u007f-\u009f]/g, (c) => `\\x${hex(c.charCodeAt(0))}`);
  return Array.from(bytesOfBase64(key.base64), (byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : `\\x${hex(byte)}`)).join("");
}

const hex = (byte) => byte.toString(16).padStart(2, "0");

/** A key as a part of a path; null for those that a URL can't hold. */
export function keyPath(key) {
  if (typeof key === "string") return ["", ".", ".."].includes(key) ? null : encodeURIComponent(key);
  return Array.from(bytesOfBase64(key.base64), (byte) => `%${hex(byte)}`).join("");
}

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
