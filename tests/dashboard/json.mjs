// The dashboard's own look at JSON takes what JSON.parse takes, and lays it out without changing a token.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";

const source = await readFile(new URL("../../src/http/dashboard/json.js", import.meta.url), "utf8");
const { compacted, formatted, scan } = await import(`data:text/javascript,${encodeURIComponent(source)}`);

const isJson = (text) => {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
};

function agree(text) {
  const { tokens, error } = scan(text);
  assert.equal(error === null, isJson(text), JSON.stringify(text));
  const glued = tokens.map(({ start, end }) => text.slice(start, end)).join("");
  if (error) {
    assert.equal(formatted(text), text);
  } else {
    assert.equal(compacted(text), glued);
    assert.equal(compacted(formatted(text)), glued);
    assert.deepEqual(JSON.parse(formatted(text)), JSON.parse(text));
  }
}

const good = ['{"a":[1,-0.5e+3,true,false,null,"x\\u00e4\\n"],"b":{},"c":[]}', "12", '"s"', " [ ] ", '{"a":{"b":[[],[{}]]}}', "1E5", "\t\r\n0"];
const bad = ["", " ", "{", "[1,]", '{"a":1,}', "{a:1}", "01", "1.", ".5", "+1", "1e", "tru", "nulll", "'a'", '"a', '"\u0001"', '"\\x"', '"\\u12g4"', "[1 2]", '{"a" 1}', "1 2", "]", '{"a":}', "\u00a01", "NaN", "1-2", '"a\nb"', "[1}", '{"a":1]'];
for (const text of [...good, ...bad]) agree(text);
for (const text of good) assert.equal(scan(text).error, null);
for (const text of bad) assert.notEqual(scan(text).error, null);

assert.deepEqual(scan('{\n  "a": tru\n}').error, { message: "tru is no JSON value", offset: 9, line: 2, column: 8 });
assert.equal(formatted('{"a":[1,{}],"b":12345678901234567890}'), '{\n  "a": [\n    1,\n    {}\n  ],\n  "b": 12345678901234567890\n}');

// what is nearly JSON: pieces of it, mixed
const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
console.error(`seed ${seed}`);
let state = seed;
const chance = (below) => {
  state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
  return (state >>> 8) % below;
};
const pieces = ["{", "}", "[", "]", ",", ":", '"a"', '"\\n"', "1", "-2.5", "true", "null", " ", "\n", '"', "\\", "e", "0", "-", "."];
for (let round = 0; round < 50_000; round += 1) {
  const base = good[chance(good.length)];
  const [from, to] = [chance(base.length + 1), chance(base.length + 1)];
  agree(chance(2) ? base.slice(0, from) + pieces[chance(pieces.length)] + base.slice(chance(2) ? from : to) : Array.from({ length: chance(8) }, () => pieces[chance(pieces.length)]).join(""));
}
console.log("done");
