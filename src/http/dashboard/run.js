// Commands that pages run for what has no route of its own.

import { ask, Problem } from "./api.js";

/** The reply of a command as plain values: text, arrays, and maps as objects. What the server refuses is thrown. */
export async function run(...words) {
  const { reply } = await (await ask("POST", "run", { json: { words } })).json();
  if (reply.type !== "error") return plain(reply);
  const [, code, detail] = /^(\S+) ?(.*)$/s.exec(reply.text);
  throw new Problem(400, code, detail);
}

export function plain({ type, text, base64, items }) {
  if (type === "null") return null;
  if (type === "map") return Object.fromEntries(items.filter((_, at) => at % 2 === 0).map((name, at) => [plain(name), plain(items[2 * at + 1])]));
  if (items) return items.map(plain);
  return type === "integer" ? Number(text) : text ?? atob(base64);
}
