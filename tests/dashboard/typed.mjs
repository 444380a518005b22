// What the console and the pages about the server work out by themselves: lines, rules of users, points of curves.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";

const load = async (name) => import(`data:text/javascript,${encodeURIComponent(await readFile(new URL(`../../src/http/dashboard/${name}`, import.meta.url), "utf8"))}`);

const { commandOf, completions, mayKeep, remembered, selects } = await load("command-line.js");
const commands = new Map([["get", false], ["getdel", false], ["config|get", false], ["config|set", true], ["acl|setuser", true], ["auth", true], ["json.get", false]].map(([name, hides]) => [name, { name, hides }]));
for (const [line, name] of [["GET k", "get"], ["  get", "get"], ["CONFIG set requirepass x", "config|set"], ["config", undefined], ["", undefined], ["constructor", undefined]]) {
  assert.equal(commandOf(line, commands)?.name, name, line);
}
for (const [line, found] of [["", []], ["ge", ["GET", "GETDEL", "CONFIG GET", "JSON.GET"]], ["get", ["GET", "GETDEL", "CONFIG GET", "JSON.GET"]], ["getdel", []], ["get k", []], ["config", ["CONFIG GET", "CONFIG SET"]], ["CONFIG  s", ["CONFIG SET"]], ["config set x", []], ["zz", []]]) {
  assert.deepEqual(completions(line, commands), found, line);
}
for (const [line, isKept] of [["get k", true], ["config get x", true], ["config set requirepass x", false], ["ACL  SETUSER a >b", false], ["auth x", false], ["ath secret", false]]) assert.equal(mayKeep(line, commands), isKept, line);
assert.deepEqual(remembered(["a", "b"], "a"), ["b", "a"]);
assert.deepEqual(remembered(["a", "b"], "c", 2), ["b", "c"]);
for (const [line, store] of [["SELECT 3", "3"], ["select orders", "orders"], ["select", null], ["select 1 2", null], ["get 3", null]]) assert.equal(selects(line), store, line);

const { userOf, wordsOf } = await load("user-rules.js");
const hash = `#${"a1".repeat(32)}`;
const user = userOf(`user ann on sanitize-payload ${hash} ~a:* resetchannels &x -@all +get (~b +@read)`);
assert.deepEqual([user.name, user.isOn, user.isOpen, user.hashes], ["ann", true, false, [hash]]);
const rules = user.rules.join(" ");
assert.equal(rules, "~a:* resetchannels &x -@all +get (~b +@read)");
for (const [given, words] of [
  [{ isOn: true, password: "", rules, user }, `reset on ${hash} ${rules}`],
  [{ isOn: false, password: "new", rules: " ~*\n+@read ", user }, "reset off >new ~* +@read"],
  [{ isOn: true, password: "", rules: "+get", user: { isOpen: true, hashes: [] } }, "reset on nopass +get"],
  [{ isOn: true, password: "", rules: "", user: undefined }, "reset on"],
]) assert.equal(wordsOf(given).join(" "), words);

const { keptPoints, seenPoints } = await load("points.js");
const kept = keptPoints({ step_ms: 10, columns: ["a", "b"], points: [[100, 1, null], [110, 2, 3], [200, 4, 5]] });
assert.deepEqual(kept.map(({ at, isGap, figures }) => [at, isGap, figures.a, figures.b]), [[100, false, 1, null], [110, false, 2, 3], [200, true, 4, 5]]);
const seen = [
  { at_ms: 1000, figures: { x_total: 5, y: 1 }, responses: [[10, 4]] },
  { at_ms: 3000, figures: { x_total: 9, y: 2 }, responses: [[10, 4], [2000, 99], [9000, 1]] },
  { at_ms: 5000, figures: { x_total: 0, y: 3 }, responses: [[10, 4], [2000, 99], [9000, 1]] },
];
const [first, second] = seenPoints(seen);
assert.deepEqual([first.figures.x_total, first.figures.y, second.figures.x_total], [2, 2, null]);
assert.deepEqual([first.figures.larder_response_seconds_p50, first.figures.larder_response_seconds_p999, second.figures.larder_response_seconds_p50], [2e-6, 9e-6, null]);
console.log("done");
