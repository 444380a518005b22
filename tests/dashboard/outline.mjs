// The lines of a JSON value to be read: all of it is there, in order, with paths that lead to it.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";

const read = (name) => readFile(new URL(`../../src/http/dashboard/${name}`, import.meta.url), "utf8");
const url = (text) => `data:text/javascript,${encodeURIComponent(text)}`;
const json = url(await read("json.js"));
const { linesWith, outline, pathOf, seenLines } = await import(url((await read("outline.js")).replace("./json.js", json)));

const text = '{"a":1.50,"b":{},"list":[10,{"x y":[]},[12345678901234567890,"s"]],"é":null}';
const shape = outline(text);
const { tokens, lines } = shape;
const shown = ({ first, last }) => tokens.slice(first, last + 1).map(({ start, end }) => text.slice(start, end)).join("");
assert.deepEqual(lines.map(shown), ["{", '"a":1.50,', '"b":{},', '"list":[', "10,", "{", '"x y":[]', "},", "[", "12345678901234567890,", '"s"', "]", "],", '"é":null', "}"]);
assert.deepEqual(lines.map(({ level }) => level), [0, 1, 1, 1, 2, 2, 3, 2, 2, 3, 3, 2, 1, 1, 0]);
assert.deepEqual(lines.map((_, at) => pathOf(shape, at)), ["$", "$.a", "$.b", "$.list", "$.list[0]", "$.list[1]", '$.list[1]["x y"]', "$.list[1]", "$.list[2]", "$.list[2][0]", "$.list[2][1]", "$.list[2]", "$.list", '$["é"]', "$"]);
const value = (at) => text.slice(lines[at].from, lines[at].to);
assert.deepEqual([value(1), value(2), value(5), value(9), value(13)], ["1.50", "{}", '{"x y":[]}', "12345678901234567890", "null"]);
assert.equal(value(0), text);
assert.deepEqual(seenLines(shape, new Set([3])), [0, 1, 2, 3, 13, 14]);
assert.deepEqual(seenLines(shape, new Set([0])), [0]);
assert.deepEqual(linesWith(shape, "X Y"), [6]);
for (const [given, count] of [["1", 1], ["[]", 1], ["{}", 1], ["[[]]", 3], ['"s"', 1], ["[1]", 3], [" [ 1 , 2 ] ", 4]]) assert.equal(outline(given).lines.length, count, given);
for (const given of ["", "[1", "{a:1}"]) assert.equal(outline(given), null);
console.log("done");
