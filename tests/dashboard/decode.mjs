// Bytes are read as what they are, and hostile ones only fail.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { deflateSync, gzipSync } from "node:zlib";

const source = await readFile(new URL("../../src/http/dashboard/decode.js", import.meta.url), "utf8");
const { messagePack, phpSerialized, pickleListing, readings, unzipped } = await import(`data:text/javascript,${encodeURIComponent(source)}`);

const bytes = (text) => Uint8Array.from(text.split(" "), (byte) => parseInt(byte, 16));
const latin = (text) => new TextEncoder().encode(text);

for (const [given, shown] of [
  ["82 a1 61 01 a1 62 93 01 02 c3", '{\n  "a": 1,\n  "b": [\n    1,\n    2,\n    true\n  ]\n}'],
  ["cf ff ff ff ff ff ff ff ff", "18446744073709551615"],
  ["d3 80 00 00 00 00 00 00 00", "-9223372036854775808"],
  ["ff", "-1"],
  ["cb 3f f8 00 00 00 00 00 00", "1.5"],
  ["c4 02 ff 00", "‹ff 00›"],
  ["d6 ff 00 00 00 01", "extension -1 ‹00 00 00 01›"],
  ["90", "[]"],
  ["80", "{}"],
]) assert.equal(messagePack(bytes(given)), shown, given);
for (const given of ["c1", "a5 61", "dd ff ff ff ff", "df ff ff ff ff 01", "01 01", "db ff ff ff ff", Array(100).fill("91").join(" ")]) assert.throws(() => messagePack(bytes(given)), given);

for (const [given, shown] of [
  ['a:2:{s:1:"a";i:1;s:1:"b";b:1;}', '{\n  "a": 1,\n  "b": true\n}'],
  ['O:3:"Foo":1:{s:1:"x";N;}', 'object "Foo" {\n  "x": null\n}'],
  ["d:0.5;", "0.5"],
  ["i:12345678901234567890;", "12345678901234567890"],
]) assert.equal(phpSerialized(latin(given)), shown, given);
for (const given of ["", "x:1;", 's:9:"a";', "a:999999999:{}", "i:1;i:2;", "a:-1:{}", "constructor:1;", `${"a:1:{i:0;".repeat(100)}`]) assert.throws(() => phpSerialized(latin(given)), given);

// {"a": 1}, and a call of os.system, which is listed and nothing else
assert.match(pickleListing(bytes("80 04 95 08 00 00 00 00 00 00 00 7d 94 8c 01 61 94 4b 01 73 2e")), /EMPTY_DICT[\s\S]*SHORT_BINUNICODE +"a"[\s\S]*BININT1 +1[\s\S]*STOP$/);
assert.match(pickleListing(latin("cos\nsystem\n(S'true'\ntR.")), /GLOBAL +"os" "system"[\s\S]*REDUCE/);
for (const given of ["2e", "80 04", "8c ff 61 2e", "8d ff ff ff ff ff ff ff ff 2e", "80 04 2e 00", "e0 2e"]) assert.throws(() => pickleListing(bytes(given)), given);

for (const pack of [gzipSync, deflateSync]) assert.deepEqual(await unzipped(new Uint8Array(pack("hello"))), latin("hello"));
await assert.rejects(unzipped(latin("hello")));
await assert.rejects(unzipped(new Uint8Array(gzipSync("hello")).subarray(0, 20)));
await assert.rejects(unzipped(new Uint8Array(gzipSync(Buffer.alloc(8 << 20)))), /too long/);
assert.deepEqual(await readings(new Uint8Array(gzipSync("[1]"))), [{ name: "gzip", text: "[1]" }]);
assert.deepEqual(await readings(bytes("89 50 4e 47")), []);

// whatever comes, it ends and only fails
let state = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
console.error(`seed ${state}`);
const chance = (below) => {
  state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
  return (state >>> 8) % below;
};
for (let round = 0; round < 20_000; round += 1) {
  const content = Uint8Array.from({ length: 1 + chance(40) }, () => chance(256));
  for (const read of [messagePack, phpSerialized, pickleListing]) {
    try {
      assert.equal(typeof read(content), "string");
    } catch (error) {
      assert.equal(error.constructor, Error, `${error.stack} ${content}`);
    }
  }
}
console.log("done");
