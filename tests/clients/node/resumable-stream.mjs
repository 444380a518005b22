// resumable-stream: a stream of text goes on in other processes, which ask the first one over channels.

import assert from "node:assert/strict";

import { load, url } from "./server.mjs";

const Redis = load("ioredis");
const { createClient } = load("redis");

// the state of a stream is the word DONE at its end, which is no JSON
const anyUrl = `${url}/2`;
process.env.REDIS_URL = anyUrl;
const client = await createClient({ url: anyUrl }).connect();
await client.flushDb();

async function scenario(name, contexts) {
  const [first, second] = contexts;
  let controller;
  const makeStream = () => new ReadableStream({ start: (of) => void (controller = of) });
  const read = async (stream) => {
    let text = "";
    for await (const part of stream) text += part;
    return text;
  };

  assert.equal(await first.hasExistingStream(name), null);
  const stream = await first.resumableStream(name, makeStream);
  controller.enqueue("one ");
  assert.equal(await first.hasExistingStream(name), true);
  const ttl = await client.ttl(`resumable-stream:rs:sentinel:${name}`);
  assert.ok(ttl > 86_000 && ttl <= 86_400, `${ttl}`);

  // others get what was there before, from a place on, and what comes
  const never = () => assert.fail("made a second time");
  const whole = await second.resumableStream(name, never);
  const rest = await second.resumeExistingStream(name, 2);
  controller.enqueue("Grüße");
  controller.close();
  assert.equal(await read(stream), "one Grüße");
  assert.equal(await read(whole), "one Grüße");
  assert.equal(await read(rest), "e Grüße");

  // at its end there is nothing to resume
  while ((await first.hasExistingStream(name)) !== "DONE");
  assert.equal(await second.resumableStream(name, never), null);
  assert.equal(await second.resumeExistingStream(name), null);
  assert.equal(await second.resumeExistingStream("missing"), undefined);
}

// its own clients, of the packages redis and ioredis, and clients that it is given
const waitUntil = null;
for (const name of ["resumable-stream", "resumable-stream/ioredis"]) {
  const { createResumableStreamContext } = load(name);
  await scenario(name, [0, 1].map(() => createResumableStreamContext({ waitUntil })));
}
const { createResumableStreamContext } = load("resumable-stream/ioredis");
const given = () => ({ waitUntil, publisher: new Redis(anyUrl), subscriber: new Redis(anyUrl) });
await scenario("given", [given(), given()].map(createResumableStreamContext));
console.log("done");
process.exit(0);
