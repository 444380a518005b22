// Stores the records of a file, or checks that a store holds them, with node-redis.
//
// records.mjs load|check FILE DB: each line of the file is a JSON object of "key" and "value", both strings.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

import { load, url } from "./server.mjs";

const { createClient } = load("redis");

const [action, path, database] = process.argv.slice(2);
const records = readFileSync(path, "utf8").trimEnd().split("\n").map((line) => JSON.parse(line));
const client = await createClient({ url, database: Number(database) }).connect();

for (let start = 0; start < records.length; start += 500) {
  await Promise.all(
    records.slice(start, start + 500).map(async ({ key, value }) => {
      if (action === "load") {
        assert.equal(await client.set(key, value), "OK", key);
      } else {
        assert.equal(await client.get(key), value, key);
      }
    }),
  );
}

assert.equal(await client.dbSize(), records.length);
const keys = new Set();
for await (const page of client.scanIterator({ COUNT: 1000 })) {
  page.forEach((key) => keys.add(key));
}
assert.deepEqual(keys, new Set(records.map(({ key }) => key)));
await client.close();
console.log(`${action}: ${records.length} records`);
