// What programs do with ioredis every day. tests/clients.rs restarts the server when asked to.

import assert from "node:assert/strict";
import { once } from "node:events";

import { load, url } from "./packages.mjs";

const Redis = load("ioredis");

const client = new Redis(`${url}/6`, { connectionName: "everyday", retryStrategy: () => 50 });
client.on("error", () => {}); // the restart; commands wait for the new connection
await client.flushdb();
assert.equal(await client.ping(), "PONG");
assert.equal(await client.client("GETNAME"), "everyday");

// JSON values and their deadlines
const text = JSON.stringify({ id: 17, note: "Grüße", paid: null });
assert.equal(await client.set("order:17", text, "EX", 100), "OK");
assert.equal(await client.get("order:17"), text);
const ttl = await client.ttl("order:17");
assert.ok(ttl >= 90 && ttl <= 100, `${ttl}`);
assert.equal(await client.set("order:17", "1", "NX"), null);
assert.equal(await client.getdel("order:17"), text);

// a pipeline and a transaction
const pipeline = client.pipeline();
for (let index = 0; index < 1000; index++) {
  pipeline.set(`key:${index}`, JSON.stringify({ index }));
}
const replies = await pipeline.exec();
assert.ok(replies.every(([error, reply]) => error === null && reply === "OK"));
assert.deepEqual(await client.multi().set("counter", 41).incr("counter").exec(), [[null, "OK"], [null, 42]]);

// walking
const keys = new Set();
for await (const page of client.scanStream({ match: "key:*", count: 100 })) {
  page.forEach((key) => keys.add(key));
}
assert.equal(keys.size, 1000);
assert.equal(await client.dbsize(), 1001);

// errors reject, and the connection lives on
await client.set("text", '"not a number"');
await assert.rejects(client.incr("text"), /not an integer/);
await assert.rejects(client.call("NONSENSE"), /unknown command/);

// the same client goes on after a restart
console.log("restart");
await once(process.stdin, "data");
process.stdin.unref();
assert.equal(await client.get("key:7"), '{"index":7}');
await client.quit();
console.log("done");
