// JSON as lines that can be folded, made from its tokens: no number and no string is read into a value. Pure.

import { scan } from "./json.js";

/**
 * The lines of a JSON text, one member or element each, or null if it is no JSON. A line has `level`, its tokens `first` to `last`,
 * `parent` (the line that opened what it is in, -1 for the root), `end` (the line that closes what it opens, or itself), `name`
 * (the token of its name, or -1), `index` (its place in an array, or -1) `from`, `to`: where its value is
 * in the text, and `isClosing` if it only closes what another line opened.
 */
export function outline(text) {
  const { tokens, error } = scan(text);
  if (error) return null;
  const lines = [];
  /** Open lines, with how many elements they have so far. */
  const open = [];
  let line = null;
  const begin = (at, isClosing) => {
    const parent = open.at(-1);
    const isElement = parent && !isClosing && parent.isArray;
    line = { level: open.length, first: at, last: at, parent: parent ? parent.at : -1, end: lines.length, name: -1, index: isElement ? parent.count : -1, from: tokens[at].start, to: tokens[at].end, isClosing };
    if (parent && !isClosing) parent.count += 1;
    lines.push(line);
  };
  tokens.forEach(({ kind, start, end }, at) => {
    const mark = kind === "mark" ? text[start] : "";
    if (mark === "}" || mark === "]") {
      const { at: opener } = open.pop();
      // what is empty stays in its line
      if (opener === lines.length - 1) line.last = at;
      else {
        begin(at, true);
        lines[opener].end = lines.length - 1;
      }
      lines[opener].to = end;
      return;
    }
    if (mark === ",") {
      line.last = at;
      line = null;
      return;
    }
    if (!line || (open.at(-1)?.at === lines.length - 1)) begin(at, false);
    line.last = at;
    if (kind === "key") line.name = at;
    else if (mark !== ":") line.from = start;
    if (kind !== "key" && mark !== ":") line.to = end;
    if (mark === "{" || mark === "[") open.push({ at: lines.length - 1, count: 0, isArray: mark === "[" });
  });
  return { text, tokens, lines };
}

const SIMPLE = /^"[A-Za-z_][A-Za-z0-9_]*"$/;

/** The JSONPath of a line's value. */
export function pathOf({ text, tokens, lines }, at) {
  const steps = [];
  for (let here = lines[at].isClosing ? lines.findIndex(({ end }, opener) => end === at && opener !== at) : at; here >= 0; here = lines[here].parent) {
    const { name, index } = lines[here];
    if (name >= 0) {
      const word = text.slice(tokens[name].start, tokens[name].end);
      steps.push(SIMPLE.test(word) ? `.${word.slice(1, -1)}` : `[${word}]`);
    } else if (index >= 0) steps.push(`[${index}]`);
  }
  return `$${steps.reverse().join("")}`;
}

/** Which lines are seen when the lines of `folded` are folded. */
export function seenLines({ lines }, folded) {
  const seen = [];
  for (let at = 0; at < lines.length; at += 1) {
    seen.push(at);
    if (folded.has(at)) at = lines[at].end;
  }
  return seen;
}

/** The lines whose text has a word in it, in any case. */
export function linesWith({ text, tokens, lines }, word) {
  const wanted = word.toLowerCase();
  const found = [];
  lines.forEach(({ first, last }, at) => {
    if (text.slice(tokens[first].start, tokens[last].end).toLowerCase().includes(wanted)) found.push(at);
  });
  return found;
}
