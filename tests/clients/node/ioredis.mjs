// What programs do with ioredis every day. tests/clients.rs restarts the server when asked to.

import assert from "node:assert/strict";
import { once } from "node:events";

import { binaryKey, compareAndDelete, features, load, restart, url, urlAs } from "./server.mjs";

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

await client.watch("counter");
const other = new Redis(`${url}/6`);
await other.set("counter", 5);
assert.equal(await client.multi().set("counter", 6).exec(), null);
assert.equal(await client.get("counter"), "5");
await other.quit();

// a key of any bytes, and a deadline in the past
assert.equal(await client.set(binaryKey, "[0]"), "OK");
assert.equal((await client.getBuffer(binaryKey)).toString(), "[0]");
assert.deepEqual((await client.keysBuffer("*")).filter((key) => key.includes(0)), [binaryKey]);
assert.equal(await client.pexpireat(binaryKey, 1), 1);
assert.equal(await client.exists(binaryKey), 0);

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

const failed = await client.multi().incr("text").set("after", "1").exec();
assert.match(failed[0][0].message, /not an integer/);
assert.deepEqual(failed[1], [null, "OK"]);
const stranger = new Redis(urlAs("", "wrong"), { lazyConnect: true, retryStrategy: null });
const [refused] = await Promise.all([once(stranger, "error"), stranger.ping().catch(() => {})]);
assert.match(refused[0].message, /WRONGPASS/);
stranger.disconnect();

// a subscriber, which takes up its subscriptions again by itself after a restart
const subscriber = client.duplicate();
subscriber.on("error", () => {});
if (features.includes("pubsub")) {
  assert.equal(await subscriber.subscribe("io"), 1);
  assert.equal(await subscriber.psubscribe("io:*"), 2);
  const message = once(subscriber, "message");
  assert.equal(await client.publish("io", "one"), 1);
  assert.deepEqual(await message, ["io", "one"]);
  const matched = once(subscriber, "pmessage");
  assert.equal(await client.publish("io:north", "two"), 1);
  assert.deepEqual(await matched, ["io:*", "io:north", "two"]);
}

if (features.includes("acl")) {
  const rules = ["on", ">open", "~shop:*", "+@read", "+@write", "+@connection", "+info"];
  assert.equal(await client.acl("SETUSER", "shop", ...rules), "OK");
  const shop = new Redis(`${urlAs("shop", "open")}/6`);
  assert.equal(await shop.set("shop:1", "1"), "OK");
  await assert.rejects(shop.get("counter"), /NOPERM.*key/);
  await assert.rejects(shop.config("GET", "timeout"), /NOPERM.*config/);
  await shop.quit();
  assert.equal(await client.acl("DELUSER", "shop"), 1);
}

if (features.includes("eval")) {
  client.defineCommand("compareAndDelete", { numberOfKeys: 1, lua: compareAndDelete });
  await client.set("job", '"mine"');
  assert.equal(await client.compareAndDelete("job", '"theirs"'), 0);
  assert.equal(await client.compareAndDelete("job", '"mine"'), 1);
  await assert.rejects(client.evalsha("0".repeat(40), 0), /NOSCRIPT/);
}

// the same client goes on after a restart
await restart();
assert.equal(await client.get("key:7"), '{"index":7}');
if (features.includes("pubsub")) {
  const message = once(subscriber, "message");
  while ((await client.publish("io", "three")) === 0);
  assert.deepEqual(await message, ["io", "three"]);
}
subscriber.disconnect();
await client.quit();
console.log("done");
