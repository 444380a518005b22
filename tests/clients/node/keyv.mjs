// Keyv and cache-manager, which write JSON through @keyv/redis.

import assert from "node:assert/strict";

import { jsonUrl, load, restart } from "./server.mjs";

const { Keyv } = load("keyv");
const { default: KeyvRedis, createClient } = load("@keyv/redis");
const { createCache } = load("cache-manager");

const client = createClient({ url: jsonUrl });
client.on("error", () => {}); // the restart; commands wait for the new connection
await client.connect();
await client.flushDb();

// two Keyvs, each in its namespace
const users = new Keyv({ store: new KeyvRedis(client), namespace: "users", useKeyPrefix: false });
const pages = new Keyv({ store: new KeyvRedis(client), namespace: "pages", useKeyPrefix: false });
const ada = { name: "Ada", langs: ["en", "fr"], note: "Grüße", none: null };
assert.equal(await users.set("1", ada, 100_000), true);
assert.deepEqual(await users.get("1"), ada);
assert.equal(await pages.get("1"), undefined);
assert.equal(await users.has("1"), true);
const ttl = await client.ttl("users::1");
assert.ok(ttl >= 90 && ttl <= 100, `${ttl}`);
assert.deepEqual(JSON.parse(await client.get("users::1")).value, ada);
for (const value of [0, -1.5, "", "text", false, true, [], {}]) {
  await users.set("value", value);
  assert.deepEqual(await users.get("value"), value);
}

// many at once, and walking
const many = Array.from({ length: 500 }, (_, index) => ({ key: `many:${index}`, value: { index } }));
await pages.setMany(many);
assert.deepEqual(await pages.getMany(["many:7", "missing"]), [{ index: 7 }, undefined]);
const seen = new Set();
for await (const [key] of pages.iterator()) seen.add(key);
assert.equal(seen.size, 500);
assert.equal(await pages.delete(["many:7", "many:8"]), true);
assert.equal(await pages.has("many:8"), false);
await pages.clear();
assert.equal(await pages.get("many:9"), undefined);
assert.deepEqual(await users.get("1"), ada);

// cache-manager wraps the work of finding a value
const cache = createCache({ stores: [new Keyv({ store: new KeyvRedis(client), namespace: "cache" })], ttl: 100_000 });
let runs = 0;
const find = () => cache.wrap("report", async () => ({ run: ++runs }));
assert.deepEqual(await find(), { run: 1 });
assert.deepEqual(await find(), { run: 1 });
await cache.del("report");
assert.deepEqual(await find(), { run: 2 });
await cache.mset([{ key: "a", value: 1 }, { key: "b", value: [2] }]);
assert.deepEqual(await cache.mget(["a", "b", "missing"]), [1, [2], undefined]);
const deadline = await cache.ttl("a");
assert.ok(deadline > Date.now() && deadline <= Date.now() + 100_000, `${deadline}`);

// it outlives the server
await restart();
assert.deepEqual(await find(), { run: 2 });
assert.deepEqual(await users.get("1"), ada);
await cache.clear();
assert.equal(await cache.get("a"), undefined);
await client.close();
console.log("done");
