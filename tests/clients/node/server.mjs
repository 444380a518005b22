// The server under test, as the test driver describes it to a script; and the client libraries, which stand where
// tests/run has put them, not beside this file.

import { once } from "node:events";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const require = createRequire(join(process.env.LARDER_NODE_PACKAGES, "here.cjs"));

export const load = require;
export const loadModule = (name) => import(pathToFileURL(require.resolve(name)));

export const url = process.env.LARDER_URL;
// for the caches: a store that takes JSON only
export const jsonUrl = `${url}/1`;
export const features = (process.env.LARDER_FEATURES ?? "").split(" ");

// no text in any encoding, and all that a careless protocol trips over
export const binaryKey = Buffer.from("\x00\xff\r\n \"'*\xfe", "latin1");

export const compareAndDelete =
  "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) else return 0 end";

// The URL for another user than the default one.
export function urlAs(user, password) {
  return `redis://${user}:${password}@${url.split("@")[1]}`;
}

// Has the driver restart the server; resolves when it listens again.
export async function restart() {
  console.log("restart");
  await once(process.stdin, "data");
  process.stdin.unref();
}
