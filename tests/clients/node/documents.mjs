// What node-redis's client.json does, in both protocols.

import assert from "node:assert/strict";

import { load, url } from "./server.mjs";

const { createClient } = load("redis");

async function documents(RESP) {
  const client = await createClient({ url: `${url}/${5 + RESP}`, RESP }).connect();
  await client.flushDb();
  const { json } = client;
  const order = { id: 17, lines: [{ sku: "a-1", n: 2 }], note: "Grüße", paid: false, total: 1.5 };
  assert.equal(await json.set("order", "$", order), "OK");
  assert.equal(await json.set("order", "$", order, { NX: true }), null);
  assert.deepEqual(await json.get("order"), order);
  assert.deepEqual(await json.get("order", { path: "$.lines[0].sku" }), ["a-1"]);
  assert.deepEqual(await json.get("order", { path: ["$.id", "$.note"] }), { "$.id": [17], "$.note": ["Grüße"] });
  assert.equal(await json.get("missing"), null);
  assert.deepEqual(JSON.parse(await client.get("order")), order);

  assert.deepEqual((await json.type("order", { path: "$.lines" })).flat(), ["array"]);
  assert.deepEqual(await json.numIncrBy("order", "$.total", 2), [3.5]);
  assert.deepEqual(await json.numMultBy("order", "$.lines[*].n", 2), [4]);
  assert.deepEqual((await json.toggle("order", "$.paid")).map(Number), [1]);
  assert.deepEqual(await json.strAppend("order", "!", { path: "$.note" }), [8]);
  assert.deepEqual(await json.strLen("order", { path: "$.note" }), [8]);
  assert.deepEqual(await json.arrAppend("order", "$.lines", { sku: "b" }, { sku: "c" }), [3]);
  assert.deepEqual(await json.arrInsert("order", "$.lines", 1, { sku: "z" }), [4]);
  assert.deepEqual(await json.arrIndex("order", "$.lines", { sku: "b" }), [2]);
  assert.deepEqual(await json.arrLen("order", { path: "$.lines" }), [4]);
  assert.deepEqual(await json.arrPop("order", { path: "$.lines", index: -1 }), [{ sku: "c" }]);
  assert.deepEqual(await json.arrTrim("order", "$.lines", 0, 1), [2]);
  assert.deepEqual(await json.objKeys("order", { path: "$" }), [["id", "lines", "note", "paid", "total"]]);
  assert.deepEqual(await json.objLen("order", { path: "$" }), [5]);
  assert.equal(await json.merge("order", "$", { paid: null, by: { name: "Ada" } }), "OK");
  assert.deepEqual(await json.get("order"), {
    id: 17,
    lines: [{ sku: "a-1", n: 4 }, { sku: "z" }],
    note: "Grüße!",
    total: 3.5,
    by: { name: "Ada" },
  });
  const items = [{ key: "a", path: "$", value: { x: 1 } }, { key: "b", path: "$", value: { x: 2 } }];
  assert.equal(await json.mSet(items), "OK");
  assert.deepEqual(await json.mGet(["a", "missing", "b"], "$.x"), [[1], null, [2]]);
  assert.equal(await json.clear("order", { path: "$.lines" }), 1);
  assert.equal(await json.del("order", { path: "$.lines" }), 1);
  assert.equal(await json.forget("order"), 1);
  assert.equal(await client.exists("order"), 0);
  assert.equal(await json.debugMemory("a"), 7);

  // what is asked in one turn goes out as one pipeline, and nothing is lost
  await json.set("count", "$", { n: 0, seen: [] });
  await Promise.all(Array.from({ length: 100 }, () => json.numIncrBy("count", "$.n", 2)));
  assert.deepEqual(await json.get("count", { path: "$.n" }), [200]);
  const replies = await client.multi().json.set("c", "$", 1).json.numIncrBy("c", "$", 5).json.get("c").exec();
  assert.deepEqual(replies.at(-1), 6);

  // errors reject, and nothing changed
  await assert.rejects(json.numIncrBy("missing", "$.n", 1), /doesn't exist/);
  await assert.rejects(json.set("new", "$.x", 1), /must be created at the root/);
  await assert.rejects(json.get("a", { path: ".none" }), /Path does not exist/);
  assert.equal(await client.get("a"), '{"x":1}');
  await client.close();
}

await documents(2);
await documents(3);
console.log("done");
