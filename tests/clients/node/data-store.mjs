// The data store of examples/node does what it says.

import assert from "node:assert/strict";

import { DataStore } from "../../../examples/node/data-store.mjs";
import { load, url } from "./server.mjs";

const { createClient } = load("redis");

// one target, whether the URL or the argument names it; names that JavaScript would take for numbers
for (const [end, name] of [["", 12], ["/12", undefined], ["/12", "12"], ["", "0x11"], ["", "1e3"]]) {
  const store = await DataStore.open(createClient({ url: url + end }), name);
  await store.set("only here", 1);
  assert.deepEqual([...(await store.entries())], [["only here", 1]]);
  for (const number of [0, 7]) {
    const other = await DataStore.open(createClient({ url }), number);
    assert.equal(await other.has("only here"), false, `${end} ${name}`);
    await other.close();
  }
  await store.clear();
  await store.close();
}
await assert.rejects(DataStore.open(createClient({ url: `${url}/12` }), "orders"), /name one of them/);
const nameless = createClient({ url });
await assert.rejects(DataStore.open(nameless, ""));
await nameless.close();

for (const [RESP, name, page] of [[2, "orders", 500], [3, "orders", 7], [2, 5, 7]]) {
  const store = await DataStore.open(createClient({ url, RESP }), name, { page });
  await store.clear();
  assert.equal(await store.size(), 0);
  assert.equal(await store.get("a"), undefined);
  assert.equal(await store.has("a"), false);
  for (const value of [0, "", false, null, [], { nested: [1.5, "ü"] }]) {
    await store.set("a", value);
    assert.deepEqual(await store.get("a"), value);
    assert.equal(await store.has("a"), true);
  }
  assert.equal(await store.getTtl("a"), null);
  await store.set("b", 1, { ttl: 100 });
  assert.ok((await store.getTtl("b")) > 90);
  await store.setTtl("b", null);
  assert.equal(await store.getTtl("b"), null);
  await store.setTtl("b", 50);
  assert.ok((await store.getTtl("b")) <= 50);
  assert.equal(await store.delete("b"), true);
  assert.equal(await store.delete("b"), false);
  assert.equal(await store.getTtl("b"), undefined);

  // many records, and pages of them
  const indexes = Array.from({ length: 30 }, (_, index) => index);
  await Promise.all(indexes.map((index) => store.set(`key:${index}`, { index })));
  assert.equal(await store.size(), 31);
  const keys = new Set();
  for await (const [key, value] of store) {
    keys.add(key);
    if (key !== "a") assert.equal(key, `key:${value.index}`);
  }
  assert.equal(keys.size, 31);
  assert.deepEqual(new Set(await store.keys()), keys);
  assert.deepEqual(new Map(await store.entries()).get("key:7"), { index: 7 });
  assert.deepEqual(await store.getMany(["key:1", "none"]), [{ index: 1 }, undefined]);

  // parts of a record, from many sides at once
  await store.set("count", { n: 0, seen: [] });
  await Promise.all(indexes.map((index) => store.add("count", "$.n", 2)));
  await Promise.all(indexes.map((index) => store.append("count", "$.seen", index)));
  assert.deepEqual(await store.part("count", "$.n"), [60]);
  assert.deepEqual((await store.get("count")).seen.sort((a, b) => a - b), indexes);
  assert.equal(await store.setPart("count", "$.n", "none"), true);
  assert.deepEqual(await store.part("count", "$.n"), ["none"]);
  await store.clear();
  assert.deepEqual(await store.entries(), []);
  await store.close();
}
console.log("done");
