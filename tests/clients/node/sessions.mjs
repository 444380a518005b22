// connect-redis keeps the sessions of an Express application, as JSON.

import assert from "node:assert/strict";
import { once } from "node:events";

import { jsonUrl, load, loadModule, restart } from "./server.mjs";

const { createClient } = load("redis");
const { RedisStore } = await loadModule("connect-redis");
const express = load("express");
const session = load("express-session");

const client = createClient({ url: jsonUrl });
client.on("error", () => {}); // the restart; commands wait for the new connection
await client.connect();
await client.flushDb();
const store = new RedisStore({ client, prefix: "app:", ttl: 100 });

const app = express();
app.use(session({ store, secret: "of the cookies", resave: false, saveUninitialized: false }));
app.get("/count", (request, response) => {
  request.session.count = (request.session.count ?? 0) + 1;
  request.session.name ??= "Grüße";
  response.json({ count: request.session.count, name: request.session.name });
});
app.get("/look", (request, response) => response.json({ count: request.session.count ?? null }));
app.get("/renew", (request, response) => request.session.regenerate(() => response.json({})));
app.get("/leave", (request, response) => request.session.destroy(() => response.json({})));
const server = app.listen(0, "127.0.0.1");
await once(server, "listening");

async function get(path, cookie) {
  const address = `http://127.0.0.1:${server.address().port}${path}`;
  const response = await fetch(address, { headers: { connection: "close", ...(cookie && { cookie }) } });
  assert.equal(response.status, 200);
  return { body: await response.json(), cookie: response.headers.get("set-cookie")?.split(";")[0] };
}

// each visitor has a session
const { cookie: ada, body } = await get("/count");
assert.deepEqual(body, { count: 1, name: "Grüße" });
assert.equal((await get("/count", ada)).body.count, 2);
const { cookie: bob } = await get("/count");
assert.notEqual(ada, bob);
assert.deepEqual((await get("/look")).body, { count: null });

// it is JSON, and lives as long as it is used
const [key] = await client.keys("app:*");
const kept = JSON.parse(await client.get(key));
assert.equal(kept.name, "Grüße");
await client.expire(key, 50);
for (const cookie of [ada, bob]) await get("/look", cookie);
const ttl = await client.ttl(key);
assert.ok(ttl > 50 && ttl <= 100, `${ttl}`);

// it outlives the server
await restart();
assert.equal((await get("/count", ada)).body.count, 3);

// it ends when the visitor leaves, and gets another name when they log in
await get("/leave", bob);
assert.deepEqual((await get("/look", bob)).body, { count: null });
const { cookie: renewed } = await get("/renew", ada);
assert.deepEqual((await get("/look", ada)).body, { count: null });
await get("/count", renewed);

// what an administrator asks of a store
const ask = (method, ...words) =>
  new Promise((resolve, reject) => store[method](...words, (error, answer) => (error ? reject(error) : resolve(answer))));
await get("/count");
const count = await ask("length");
assert.equal((await ask("ids")).length, count);
assert.equal((await ask("all")).length, count);
assert.ok(count >= 1, `${count}`);
await ask("clear");
assert.equal(await ask("length"), 0);

server.close();
await client.close();
console.log("done");
