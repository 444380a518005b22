// Published rate limiters and locks that work by Lua scripts; functions.

import assert from "node:assert/strict";

import { load, url } from "./server.mjs";

const Redis = load("ioredis");
const { createClient } = load("redis");
const { RateLimiterRedis, BurstyRateLimiter } = load("rate-limiter-flexible");
const { RedisStore } = load("rate-limit-redis");
const { default: Redlock, ExecutionError } = load("redlock");

// locks hold tokens, which are no JSON
const anyUrl = `${url}/2`;
const io = new Redis(anyUrl);
const node = await createClient({ url: anyUrl }).connect();
await io.flushdb();

// rate-limiter-flexible, through both clients
for (const [storeClient, useRedisPackage] of [[io, false], [node, true]]) {
  const keyPrefix = `flexible:${useRedisPackage}`;
  const limiter = new RateLimiterRedis({ storeClient, useRedisPackage, keyPrefix, points: 5, duration: 60 });
  const outcomes = await Promise.allSettled(Array.from({ length: 20 }, () => limiter.consume("somebody")));
  assert.equal(outcomes.filter(({ status }) => status === "fulfilled").length, 5);
  const refused = outcomes.find(({ status }) => status === "rejected").reason;
  assert.equal(refused.remainingPoints, 0);
  assert.ok(refused.msBeforeNext > 0 && refused.msBeforeNext <= 60_000, `${refused.msBeforeNext}`);
  assert.equal((await limiter.consume("somebody else", 2)).remainingPoints, 3);
  assert.equal((await limiter.get("somebody")).consumedPoints, 20);
  await limiter.delete("somebody");
  assert.equal(await limiter.get("somebody"), null);
  await limiter.block("somebody", 30);
  await assert.rejects(limiter.consume("somebody"), ({ msBeforeNext }) => msBeforeNext <= 30_000);

  const burst = new BurstyRateLimiter(
    new RateLimiterRedis({ storeClient, useRedisPackage, keyPrefix: `${keyPrefix}:steady`, points: 1, duration: 60 }),
    new RateLimiterRedis({ storeClient, useRedisPackage, keyPrefix: `${keyPrefix}:burst`, points: 2, duration: 60 }),
  );
  for (let index = 0; index < 3; index++) await burst.consume("somebody");
  await assert.rejects(burst.consume("somebody"));
}

// rate-limit-redis, the store of express-rate-limit: it loads its scripts and calls them by name
for (const sendCommand of [(...words) => io.call(...words), (...words) => node.sendCommand(words)]) {
  const store = new RedisStore({ sendCommand, prefix: `express:${sendCommand}:`.slice(0, 40) });
  await store.init({ windowMs: 60_000 });
  for (let hits = 1; hits <= 3; hits++) {
    const { totalHits, resetTime } = await store.increment("client");
    assert.equal(totalHits, hits);
    const left = resetTime - Date.now();
    assert.ok(left > 0 && left <= 60_000, `${left}`);
  }
  await store.decrement("client");
  assert.equal((await store.get("client")).totalHits, 2);
  // it loads them again when the server has forgotten them
  await io.script("FLUSH");
  assert.equal((await store.increment("client")).totalHits, 3);
  await store.resetKey("client");
  assert.equal((await store.increment("client")).totalHits, 1);
}

// redlock
const redlock = new Redlock([io], { retryCount: 0 });
const lock = await redlock.acquire(["lock:a", "lock:b"], 10_000);
await assert.rejects(redlock.acquire(["lock:b"], 10_000), ExecutionError);
const longer = await lock.extend(20_000);
assert.ok((await io.pttl("lock:a")) > 10_000);
await longer.release();
assert.equal(await io.exists("lock:a", "lock:b"), 0);
await assert.rejects(longer.release(), ExecutionError);

const patient = new Redlock([io], { retryCount: 200, retryDelay: 5, retryJitter: 5 });
let inside = 0;
await Promise.all(
  Array.from({ length: 10 }, () =>
    patient.using(["lock:c"], 5_000, async () => {
      assert.equal(++inside, 1);
      await io.ping();
      inside -= 1;
    }),
  ),
);

// scripts of one's own, as ioredis defines them
io.defineCommand("compareAndSet", {
  numberOfKeys: 1,
  lua: "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end redis.call('SET', KEYS[1], ARGV[2]) return 1",
});
await io.set("own", "1");
assert.equal(await io.compareAndSet("own", "1", "2"), 1);
assert.equal(await io.compareAndSet("own", "1", "3"), 0);
assert.equal(await io.get("own"), "2");

// functions, through both clients
const library = `#!lua name=counters
redis.register_function('count', function(keys, args) return redis.call('INCRBY', keys[1], args[1]) end)
redis.register_function{
  function_name = 'counted', callback = function(keys) return redis.call('GET', keys[1]) end, flags = {'no-writes'}
}`;
await io.del("counted");
assert.equal(await io.function("LOAD", "REPLACE", library), "counters");
assert.equal(await io.fcall("count", 1, "counted", 2), 2);
assert.equal(await io.fcall_ro("counted", 1, "counted"), "2");
assert.equal((await io.function("LIST", "LIBRARYNAME", "counters")).length, 1);
await assert.rejects(node.functionLoad(library), /already exists/);
assert.equal(await node.functionLoad(library, { REPLACE: true }), "counters");
assert.equal(await node.fCall("count", { keys: ["counted"], arguments: ["3"] }), 5);
assert.equal(await node.fCallRo("counted", { keys: ["counted"] }), "5");
const [listed] = await node.functionList();
assert.equal(listed.library_name, "counters");
assert.deepEqual(listed.functions.map(({ name }) => name).sort(), ["count", "counted"]);
assert.equal((await node.functionStats()).engines.LUA.functions_count, 2);
assert.equal(await node.functionDelete("counters"), "OK");
await assert.rejects(io.fcall("count", 1, "counted", 2), /Function not found/);
assert.equal(await io.function("FLUSH"), "OK");

await io.quit();
await node.close();
console.log("done");
