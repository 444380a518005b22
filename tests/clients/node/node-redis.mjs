// What programs do with node-redis every day, in both protocols. tests/clients.rs restarts the server when asked to.

import assert from "node:assert/strict";

import { binaryKey, compareAndDelete, features, load, restart, url, urlAs } from "./server.mjs";

const { MultiErrorReply, WatchError, createClient, defineScript } = load("redis");

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
  const other = await createClient({ url: `${url}/${5 + RESP}`, RESP }).connect();
  const replies = await client.multi().set("counter", "41").incr("counter").get("counter").exec();
  assert.deepEqual(replies.map(String), ["OK", "42", "42"]);

  await client.watch("counter");
  await other.set("counter", "5");
  await assert.rejects(client.multi().set("counter", "6").exec(), WatchError);
  assert.equal(await client.get("counter"), "5");

  // a key of any bytes, and a deadline in the past
  assert.equal(await client.set(binaryKey, "[0]"), "OK");
  const raw = client.withTypeMapping({ 36: Buffer });
  assert.deepEqual(await raw.keys(Buffer.concat([binaryKey.subarray(0, 4), Buffer.from("*")])), [binaryKey]);
  assert.equal(await client.pExpireAt(binaryKey, 1), 1);
  assert.equal(await client.exists(binaryKey), 0);

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
  await assert.rejects(client.multi().incr("text").set("after", "1").exec(), MultiErrorReply);
  assert.equal(await client.get("after"), "1");
  const stranger = createClient({ url: urlAs("", "wrong"), RESP, socket: { reconnectStrategy: false } });
  await assert.rejects(stranger.on("error", () => {}).connect(), /WRONGPASS/);
  await other.close();

  return client;
}

// A subscriber, which takes up its subscriptions again by itself after a restart.
async function subscribe(client, RESP) {
  const subscriber = client.duplicate();
  subscriber.on("error", () => {});
  await subscriber.connect();
  const messages = inbox();
  await subscriber.subscribe(`news:${RESP}`, messages.put);
  await subscriber.pSubscribe(`weather:${RESP}:*`, messages.put);
  // channels belong to the server, not to a store
  assert.equal(await client.publish(`news:${RESP}`, "one"), 1);
  assert.deepEqual(await messages.take(), ["one", `news:${RESP}`]);
  assert.equal(await client.publish(`weather:${RESP}:north`, "two"), 1);
  assert.deepEqual(await messages.take(), ["two", `weather:${RESP}:north`]);
  await subscriber.pUnsubscribe(`weather:${RESP}:*`);
  return async function afterRestart() {
    while ((await client.publish(`news:${RESP}`, "three")) === 0);
    assert.deepEqual(await messages.take(), ["three", `news:${RESP}`]);
    await subscriber.close();
  };
}

function inbox() {
  const messages = [];
  let wake = () => {};
  return {
    put: (...message) => { messages.push(message); wake(); },
    take: async () => {
      while (messages.length === 0) await new Promise((resolve) => { wake = resolve; });
      return messages.shift();
    },
  };
}

async function users(client, RESP) {
  const user = `shop${RESP}`;
  const rules = ["on", ">open", "~shop:*", "+@read", "+@write", "+@connection", "+acl|whoami"];
  assert.equal(await client.aclSetUser(user, rules), "OK");
  const shop = await createClient({ url: `${urlAs(user, "open")}/${5 + RESP}`, RESP }).on("error", () => {}).connect();
  assert.equal(await shop.aclWhoAmI(), user);
  assert.equal(await shop.set("shop:1", "1"), "OK");
  await assert.rejects(shop.get("counter"), /NOPERM.*key/);
  await assert.rejects(shop.configGet("timeout"), /NOPERM.*config/);
  await shop.close();
  assert.equal(await client.aclDelUser(user), 1);
}

async function scripts(client, RESP) {
  const script = defineScript({
    SCRIPT: compareAndDelete,
    NUMBER_OF_KEYS: 1,
    parseCommand: (parser, key, value) => { parser.pushKey(key); parser.push(value); },
    transformReply: (reply) => reply,
  });
  const scripted = await createClient({ url: `${url}/${5 + RESP}`, RESP, scripts: { compareAndDelete: script } }).connect();
  await scripted.set("job", '"mine"');
  assert.equal(await scripted.compareAndDelete("job", '"theirs"'), 0);
  assert.equal(await scripted.compareAndDelete("job", '"mine"'), 1);
  assert.deepEqual(await scripted.eval("return {KEYS[1], 3}", { keys: ["k"] }), ["k", 3]);
  await assert.rejects(scripted.evalSha("0".repeat(40)), /NOSCRIPT/);
  await scripted.close();
}

const protocols = [2, 3];
const clients = [];
const subscribed = [];
for (const RESP of protocols) {
  const client = await everyday(RESP);
  clients.push(client);
  if (features.includes("pubsub")) subscribed.push(await subscribe(client, RESP));
  if (features.includes("acl")) await users(client, RESP);
  if (features.includes("eval")) await scripts(client, RESP);
}

// the same clients go on after a restart
await restart();
for (const client of clients) assert.equal(await client.get("key:7"), '{"index":7}');
for (const afterRestart of subscribed) await afterRestart();
for (const client of clients) await client.close();
console.log("done");
