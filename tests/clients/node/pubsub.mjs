// Messages with node-redis and ioredis, and the client-side cache of node-redis. tests/clients.rs restarts the server
// when asked to.

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";

import { load, restart, url } from "./server.mjs";

const { createClient, BasicClientSideCache } = load("redis");
const Redis = load("ioredis");

// Calls until the outcome is as wanted: a subscription or an invalidation takes a moment to be there.
async function until(wanted, call) {
  for (let attempt = 0; attempt < 500; attempt++) {
    if (wanted(await call())) return;
    await sleep(20);
  }
  throw new Error(`never came true: ${call}`);
}

async function nodeRedis(RESP) {
  const client = createClient({ url, RESP });
  client.on("error", () => {});
  await client.connect();
  const subscriber = client.duplicate();
  subscriber.on("error", () => {});
  await subscriber.connect();
  const heard = [];
  await subscriber.subscribe(`news:${RESP}`, (message) => heard.push(message));
  await subscriber.pSubscribe(`weather:${RESP}:*`, (message, channel) => heard.push(`${channel} ${message}`));
  await subscriber.sSubscribe(`shard:${RESP}`, (message) => heard.push(message));
  assert.equal(await client.publish(`news:${RESP}`, "hello"), 1);
  assert.equal(await client.publish(`weather:${RESP}:rome`, "sun"), 1);
  assert.equal(await client.sPublish(`shard:${RESP}`, "here"), 1);
  await until((length) => length === 3, () => heard.length);
  assert.deepEqual(heard, ["hello", `weather:${RESP}:rome sun`, "here"]);
  await subscriber.pUnsubscribe(`weather:${RESP}:*`);
  assert.equal(await client.publish(`weather:${RESP}:rome`, "rain"), 0);
  if (RESP === 3) {
    // in RESP3 a subscriber can do anything
    await subscriber.set("k", "1");
    assert.equal(await subscriber.get("k"), "1");
  }
  return { client, subscriber, heard, channel: `news:${RESP}` };
}

async function cache() {
  const plain = createClient({ url });
  await plain.connect();
  await plain.set("cached", "1");
  const sideCache = new BasicClientSideCache({ ttl: 0, maxEntries: 0 });
  const caching = createClient({ url, RESP: 3, clientSideCache: sideCache });
  await caching.connect();
  for (let time = 0; time < 10; time++) {
    assert.equal(await caching.get("cached"), "1");
  }
  assert.equal(sideCache.stats().hitCount, 9);
  await plain.set("cached", "2");
  await until((value) => value === "2", () => caching.get("cached"));
  await plain.flushAll();
  await until((value) => value === null, () => caching.get("cached"));
  await caching.close();
  await plain.close();
}

async function ioredis() {
  const client = new Redis(url, { retryStrategy: () => 50 });
  const subscriber = new Redis(url, { retryStrategy: () => 50 });
  for (const one of [client, subscriber]) one.on("error", () => {});
  const heard = [];
  subscriber.on("message", (channel, message) => heard.push(message));
  subscriber.on("pmessage", (pattern, channel, message) => heard.push(`${channel} ${message}`));
  assert.equal(await subscriber.subscribe("io", "io2"), 2);
  assert.equal(await subscriber.psubscribe("io:*"), 3);
  await assert.rejects(subscriber.get("k"));
  assert.equal(await client.publish("io", "hello"), 1);
  assert.equal(await client.publish("io:1", "hello"), 1);
  await until((length) => length === 2, () => heard.length);
  assert.deepEqual(heard, ["hello", "io:1 hello"]);
  // what others run is shown to who monitors
  const monitor = await client.monitor();
  const shown = [];
  monitor.on("monitor", (time, args) => shown.push(args.join(" ")));
  await client.set("io", "1");
  await until((is) => is, () => shown.includes("set io 1"));
  monitor.disconnect();
  return { client, subscriber, heard, channel: "io" };
}

const pairs = [await nodeRedis(2), await nodeRedis(3), await ioredis()];
await cache();

// subscriptions come back after a restart
await restart();
for (const { client, heard, channel } of pairs) {
  await until((count) => count === 1, () => client.publish(channel, "again").catch(() => 0));
  await until((last) => last === "again", () => heard.at(-1));
}
console.log("done");
process.exit(0);
