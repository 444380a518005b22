// What programs do with node-redis every day, in both protocols. tests/clients.rs restarts the server when asked to.

import assert from "node:assert/strict";
import { once } from "node:events";

import { load, url } from "./packages.mjs";

const { createClient } = load("redis");

async function everyday(RESP) {
  const client = createClient({ url: `${url}/${5 + RESP}`, RESP, name: "everyday" });
  client.on("error", () => {}); // the restart; commands wait for the new connection
  await client.connect();
  await client.flushDb();
  assert.equal(await client.ping(), "PONG");
  assert.equal(await client.clientGetName(), "everyday");

  // JSON values and their deadlines
  const order = { id: 17, lines: [{ sku: "a-1", count: 2 }], note: "Grüße", paid: null };
  const text = JSON.stringify(order);
  assert.equal(await client.set("order:17", text, { EX: 100 }), "OK");
  assert.equal(await client.get("order:17"), text);
  assert.deepEqual(JSON.parse(await client.get("order:17")), order);
  const ttl = await client.ttl("order:17");
  assert.ok(ttl >= 90 && ttl <= 100, `${ttl}`);
  assert.equal(await client.set("order:17", "1", { NX: true }), null);
  assert.equal(await client.set("order:17", "1", { GET: true }), text);
  assert.equal(await client.getDel("order:17"), "1");
  assert.equal(await client.get("order:17"), null);

  // many at once: what is asked in one turn goes out as one pipeline
  await Promise.all(
    Array.from({ length: 1000 }, (_, index) => client.set(`key:${index}`, JSON.stringify({ index }))),
  );
  assert.deepEqual(await client.mGet(["key:1", "missing"]), ['{"index":1}', null]);
  const replies = await client.multi().set("counter", "41").incr("counter").get("counter").exec();
  assert.deepEqual(replies.map(String), ["OK", "42", "42"]);

  // walking
  const keys = new Set();
  for await (const page of client.scanIterator({ MATCH: "key:*", COUNT: 100 })) {
    page.forEach((key) => keys.add(key));
  }
  assert.equal(keys.size, 1000);
  assert.equal(await client.dbSize(), 1001);

  // errors reject, and the connection lives on
  await client.set("text", '"not a number"');
  await assert.rejects(client.incr("text"), /not an integer/);
  await assert.rejects(client.sendCommand(["NONSENSE"]), /unknown command/);
  assert.equal(await client.get("text"), '"not a number"');

  return client;
}

const clients = [await everyday(2), await everyday(3)];

// the same clients go on after a restart
console.log("restart");
await once(process.stdin, "data");
process.stdin.unref();
for (const client of clients) {
  assert.equal(await client.get("key:7"), '{"index":7}');
  await client.close();
}
console.log("done");
