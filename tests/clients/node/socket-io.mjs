// Socket.IO's Redis adapters: two servers that reach each other's clients.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";

import { load, restart, url } from "./server.mjs";

const Redis = load("ioredis");
const { createClient } = load("redis");
const { Server } = load("socket.io");
const { io } = load("socket.io-client");
const { createAdapter, createShardedAdapter } = load("@socket.io/redis-adapter");

async function nodeRedis() {
  const client = createClient({ url });
  client.on("error", () => {}); // the restart
  await client.connect();
  return [client, () => client.close()];
}

async function ioRedis() {
  const client = new Redis(url);
  client.on("error", () => {});
  return [client, () => client.quit()];
}

// A server with an adapter, and a client of it.
async function start(adapterOf, connect) {
  const [publisher, closePublisher] = await connect();
  const [subscriber, closeSubscriber] = await connect();
  const http = createServer();
  const server = new Server(http, { adapter: adapterOf(publisher, subscriber) });
  server.on("connection", (socket) => {
    socket.on("join", (room, joined) => {
      socket.join(room);
      joined();
    });
    socket.on("question", (answer) => answer(server.port));
  });
  server.on("plus", (a, b, answer) => answer(a + b));
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  const client = io(`http://127.0.0.1:${http.address().port}`, { transports: ["websocket"] });
  await once(client, "connect");
  const close = async () => {
    client.close();
    await server.close();
    await closePublisher();
    await closeSubscriber();
  };
  return { server, client, close };
}

// What one says is heard by all, also when subscriptions come back only after some time.
async function hears(client, event, emit) {
  const heard = new Promise((resolve) => client.once(event, resolve));
  const again = setInterval(emit, 500);
  emit();
  const value = await heard;
  clearInterval(again);
  return value;
}

// Servers know each other once both of them have subscribed to everything.
async function meet(...servers) {
  for (const { server } of servers) {
    for (let tries = 0; (await server.fetchSockets()).length < servers.length; tries++) {
      assert.ok(tries < 1000, "a server does not answer");
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

async function scenario(adapterOf, connect) {
  const [one, two] = await Promise.all([start(adapterOf, connect), start(adapterOf, connect)]);
  await meet(one, two);

  // to everybody, with bytes
  const blob = Buffer.from([0, 255, 10]);
  assert.deepEqual(await hears(two.client, "news", () => one.server.emit("news", blob)), blob);

  // to a room
  await new Promise((joined) => two.client.emit("join", "room", joined));
  one.client.on("room news", () => assert.fail("not in the room"));
  assert.equal(await hears(two.client, "room news", () => one.server.to("room").emit("room news", "Grüße")), "Grüße");

  // what servers ask each other
  assert.equal((await one.server.fetchSockets()).length, 2);
  assert.deepEqual((await one.server.in("room").fetchSockets()).map(({ id }) => id), [two.client.id]);
  assert.deepEqual(await one.server.serverSideEmitWithAck("plus", 1, 2), [3]);
  one.client.on("ack", (answer) => answer("one"));
  two.client.on("ack", (answer) => answer("two"));
  assert.deepEqual((await one.server.timeout(5000).emitWithAck("ack")).sort(), ["one", "two"]);
  await one.server.in(two.client.id).socketsJoin("second room");
  assert.equal(await hears(two.client, "second", () => one.server.to("second room").emit("second", 1)), 1);

  // subscriptions come back after a restart
  await restart();
  assert.equal(await hears(two.client, "from one", () => one.server.emit("from one", 1)), 1);
  assert.equal(await hears(one.client, "from two", () => two.server.emit("from two", 2)), 2);

  const left = once(two.client, "disconnect");
  one.server.in("room").disconnectSockets(true);
  await left;
  await Promise.all([one.close(), two.close()]);
}

for (const connect of [nodeRedis, ioRedis]) {
  await scenario(createAdapter, connect);
  await scenario(createShardedAdapter, connect);
}
console.log("done");
process.exit(0);
