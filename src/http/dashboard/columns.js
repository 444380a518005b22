// The columns of a list of records: which there are, which are shown, and what they show of a record.

import { exact, h } from "./dom.js";
import { bytes, bytesOfBase64, duration, ratio } from "./format.js";

const KEPT = "larder.columns";

/** A column's id, its name, what it shows of an entry, and the class of its cells. */
export const COLUMNS = [
  ["value", "Value", preview, "code value"],
  ["ttl", "Expires in", remaining, "number ttl"],
  ["size", "Size", ({ plain_bytes: size }) => bytes(size), "number"],
  ["stored", "Stored", ({ stored_bytes: size }) => bytes(size), "number"],
  // a small record is outweighed by what is kept beside it, which says nothing about compression
  ["ratio", "Ratio", ({ plain_bytes: plain, stored_bytes: stored }) => (stored < plain ? ratio(plain, stored) : h("span", { class: "muted" }, "–")), "number"],
];

/** The ids of columns that are not shown, as this browser remembers them. */
export function hiddenColumns() {
  try {
    return new Set(JSON.parse(localStorage.getItem(KEPT) ?? "[]"));
  } catch {
    return new Set();
  }
}

export function keepHidden(hidden) {
  try {
    localStorage.setItem(KEPT, JSON.stringify([...hidden]));
  } catch {
    // it holds until the page is left
  }
}

/** How long a record has left. */
export function remaining({ deadline }) {
  if (deadline === null) return h("span", { class: "muted" }, "never");
  const left = deadline - performance.now();
  return left > 0 ? duration(left) : h("span", { class: "muted" }, "expired");
}

/** The beginning of a value in one line; of bytes that are no text, in hexadecimal. */
function preview(entry) {
  if (entry.preview_base64 !== undefined) {
    const hex = Array.from(bytesOfBase64(entry.preview_base64).subarray(0, 48), (byte) => byte.toString(16).padStart(2, "0")).join(" ");
    return [h("span", { class: "chip" }, "bytes"), hex];
  }
  // as JSON takes them, blanks and line ends are one blank here
  return exact(entry.preview.replace(/[ \t\r\n]+/g, " ").trim());
}
