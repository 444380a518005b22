// The SDKs of Upstash, which speak HTTP: @upstash/redis and @upstash/ratelimit, unchanged.

import assert from "node:assert/strict";

import { load } from "./server.mjs";

const { Redis } = load("@upstash/redis");
const { Ratelimit } = load("@upstash/ratelimit");

const { LARDER_REST_URL: url, LARDER_REST_TOKEN: token, LARDER_REST_READER: readerToken } = process.env;
const retry = { retries: 0 };
// each command is a request of its own; by default, the SDK makes pipelines of those that come together
const redis = new Redis({ url, token, retry, enableAutoPipelining: false });
const auto = new Redis({ url, token, retry });
await redis.flushdb();

// strings
assert.equal(await redis.ping(), "PONG");
assert.equal(await redis.set("text", "hello"), "OK");
assert.equal(await redis.get("text"), "hello");
assert.equal(await redis.get("missing"), null);
const object = { a: [1, "é\n\"", null], b: { c: true } };
await redis.set("object", object);
assert.deepEqual(await redis.get("object"), object);
assert.equal(await redis.set("text", "other", { nx: true }), null);
assert.equal(await redis.set("text", "newer", { get: true }), "hello");
await redis.mset({ one: 1, two: { n: 2 } });
assert.deepEqual(await redis.mget("one", "two", "missing"), [1, { n: 2 }, null]);
assert.equal(await redis.incr("counter"), 1);
assert.equal(await redis.incrby("counter", 41), 42);
assert.equal(await redis.decr("counter"), 41);
assert.equal(await redis.append("text", "!"), 6);
assert.equal(await redis.strlen("text"), 6);
assert.equal(await redis.getrange("text", 0, 2), "new");
assert.equal(await redis.getdel("text"), "newer!");
await redis.set("OK", "OK");
assert.equal(await redis.get("OK"), "OK");
await redis.set("long", "x".repeat(1_000_000));
assert.equal((await redis.get("long")).length, 1_000_000);

// expiry
await redis.set("soon", 1, { ex: 100 });
const ttl = await redis.ttl("soon");
assert.ok(ttl > 90 && ttl <= 100, `${ttl}`);
assert.equal(await redis.expire("counter", 50), 1);
assert.equal(await redis.persist("counter"), 1);
assert.equal(await redis.pttl("counter"), -1);
await redis.setex("later", 100, "x");
assert.equal(await redis.getex("later", { persist: true }), "x");
assert.equal(await redis.ttl("later"), -1);

// keys
assert.equal(await redis.exists("one", "two", "missing"), 2);
assert.equal(await redis.type("one"), "string");
assert.equal(await redis.rename("one", "uno"), "OK");
assert.equal(await redis.del("uno", "two"), 2);
const fill = redis.pipeline();
for (let at = 0; at < 300; at++) fill.set(`many:${at}`, at);
await fill.exec();
const seen = new Set();
let cursor = "0";
do {
  const [next, keys] = await redis.scan(cursor, { match: "many:*", count: 50 });
  keys.forEach((key) => seen.add(key));
  cursor = next;
} while (cursor !== "0");
assert.equal(seen.size, 300);
assert.deepEqual((await redis.keys("many:29?")).length, 10);
assert.equal(await redis.dbsize(), 300 + 6);

// pipelines, also those that the SDK makes by itself
const pipeline = redis.pipeline();
pipeline.set("p", 1).incr("p").get("p");
assert.deepEqual(await pipeline.exec(), ["OK", 2, 2]);
const failing = redis.pipeline().set("p", "text").incr("p").get("p");
await assert.rejects(failing.exec(), /Command 2 .* failed: ERR value is not an integer/);
const kept = await redis.pipeline().set("p", "text").incr("p").get("p").exec({ keepErrors: true });
assert.deepEqual(kept.map(({ result }) => result), ["OK", undefined, "text"]);
assert.match(kept[1].error, /^ERR value is not an integer/);
const together = await Promise.all([auto.set("auto", 7), auto.incr("auto"), auto.incrby("auto", 2)]);
assert.deepEqual(together, ["OK", 8, 10]);

// transactions
assert.deepEqual(await redis.multi().set("t", 1).incr("t").get("t").exec(), ["OK", 2, 2]);
await assert.rejects(redis.multi().set("t", 5).hset("h", { f: 1 }).exec(), /hset/i);
assert.equal(await redis.get("t"), 2);

// errors
await redis.set("text", "hello");
await assert.rejects(redis.incr("text"), /ERR value is not an integer or out of range, command was/);
await assert.rejects(auto.incr("text"), /ERR value is not an integer or out of range/);
await assert.rejects(redis.hset("h", { f: 1 }), /ERR unknown command 'hset'|ERR .*hset/i);

// scripts
const script = "return {KEYS[1], ARGV[1], redis.call('INCRBY', KEYS[1], ARGV[1])}";
assert.deepEqual(await redis.eval(script, ["s"], [5]), ["s", 5, 5]);
const sha = await redis.scriptLoad("return redis.call('GET', KEYS[1])");
assert.deepEqual(await redis.scriptExists(sha, "0".repeat(40)), [1, 0]);
assert.equal(await redis.evalsha(sha, ["s"], []), 5);
// it sends the digest first, and the text when that is unknown
const created = redis.createScript("return tonumber(ARGV[1]) * 2");
assert.equal(await created.exec([], ["21"]), 42);
assert.equal(await created.exec([], ["4"]), 8);
await assert.rejects(redis.evalsha("0".repeat(40), [], []), /NOSCRIPT/);

// documents
assert.equal(await redis.json.set("doc", "$", { user: { name: "Ada", tags: ["x"] }, n: 1 }), "OK");
assert.deepEqual(await redis.json.get("doc", "$.user.name"), ["Ada"]);
assert.deepEqual(await redis.json.numincrby("doc", "$.n", 2), [3]);
assert.deepEqual(await redis.json.arrappend("doc", "$.user.tags", '"y"'), [2]);
assert.deepEqual(await redis.json.mget(["doc", "missing"], "$.n"), [[3], null]);
assert.equal(await redis.json.del("doc", "$.user"), 1);
assert.deepEqual(await redis.json.get("doc"), { n: 3 });

// messages
const heard = [];
const channel = redis.subscribe("news");
channel.on("message", (message) => heard.push(message));
await new Promise((resolve) => channel.on("subscribe", resolve));
const pattern = redis.psubscribe("new*");
const matched = new Promise((resolve) => pattern.on("pmessage", resolve));
await new Promise((resolve) => pattern.on("psubscribe", resolve));
assert.equal(await redis.publish("news", { hello: "é, world" }), 2);
assert.deepEqual(await matched, { pattern: "new*", channel: "news", message: { hello: "é, world" } });
while (heard.length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
assert.deepEqual(heard, [{ channel: "news", message: { hello: "é, world" } }]);
await channel.unsubscribe();
await pattern.unsubscribe();
while ((await redis.publish("news", "gone")) > 0) await new Promise((resolve) => setTimeout(resolve, 10));

// without base64, a token that may only read, a wrong one, and another store
const plain = new Redis({ url, token, retry, responseEncoding: false });
assert.deepEqual(await plain.mget("text", "missing", "p"), ["hello", null, "text"]);
const reader = new Redis({ url, token: readerToken, retry });
assert.equal(await reader.get("text"), "hello");
await assert.rejects(reader.set("text", "changed"), /NOPERM/);
await assert.rejects(reader.pipeline().del("text").exec(), /NOPERM/);
assert.equal(await redis.get("text"), "hello");
await assert.rejects(new Redis({ url, token: "bm9ib2R5Ong=", retry }).get("text"), /WRONGPASS/);
const orders = new Redis({ url: `${url}/@orders`, token, retry });
assert.equal(await orders.get("text"), null);
await orders.set("order", { id: 1 });
assert.deepEqual(await orders.pipeline().get("order").dbsize().exec(), [{ id: 1 }, 1]);
assert.equal(await redis.get("order"), null);

// rate limits, whose algorithms are scripts; no window of this length ends while the test runs
for (const algorithm of ["fixedWindow", "slidingWindow"]) {
  const limiter = Ratelimit[algorithm](3, "3650 d");
  const ratelimit = new Ratelimit({ redis, limiter, prefix: algorithm, ephemeralCache: false });
  const outcomes = [];
  for (let at = 0; at < 5; at++) outcomes.push((await ratelimit.limit("somebody")).success);
  assert.deepEqual(outcomes, [true, true, true, false, false]);
  const { remaining } = await ratelimit.getRemaining("somebody");
  assert.equal(remaining, 0);
  await ratelimit.resetUsedTokens("somebody");
  assert.equal((await ratelimit.limit("somebody")).success, true);
}

console.log("done");
process.exit();
