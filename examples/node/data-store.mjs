// A data store for Node: JSON values with an optional time to live, on top of node-redis.
//
//   import { createClient } from "redis";
//   import { DataStore } from "./data-store.mjs";
//
//   const store = await DataStore.open(createClient({ url: "redis://127.0.0.1:6379" }), "orders");
//   await store.set("4711", { total: 12.5, lines: [] });
//   await store.set("token", "abc", { ttl: 60 });
//   await store.append("4711", "$.lines", { sku: "a-1" });
//   for await (const [key, value] of store) console.log(key, value);

export class DataStore {
  #client;
  #store;
  #page;

  /**
   * Connects a client of node-redis to a store, by name or number; a store of this name is made if there is none. Without
   * `store` it is the one that the client's URL names, or 0.
   */
  static async open(client, store, { page = 500 } = {}) {
    const inUrl = client.options?.database;
    if (store !== undefined && inUrl !== undefined && String(store) !== String(inUrl)) {
      throw new Error(`the client's URL names store ${inUrl}, and 'store' is ${store}: name one of them`);
    }
    if (!client.isOpen) await client.connect();
    const name = String(store ?? inUrl ?? 0);
    let number = Number(name);
    // what JavaScript takes for a number beside digits, such as 0x11, 1e3 or nothing, is a name
    if (!/^[0-9]+$/.test(name)) {
      await client.sendCommand(["STORE", "CREATE", name]).catch((error) => {
        if (!error.message.startsWith("STOREEXISTS")) throw error;
      });
      number = await numberOf(client, name);
    }
    // what was selected by number, the client selects again when it connects anew
    await client.select(number);
    return new DataStore(client, number, page);
  }

  constructor(client, store, page) {
    this.#client = client;
    this.#store = store;
    this.#page = page;
  }

  // one record

  /** The value of a key; undefined if there is none. */
  async get(key) {
    const text = await this.#client.get(key);
    return text === null ? undefined : JSON.parse(text);
  }

  /** Sets a value; with a ttl it lasts so many seconds, without one for ever. */
  async set(key, value, { ttl } = {}) {
    await this.#client.set(key, JSON.stringify(value), ttl === undefined ? {} : { EX: ttl });
  }

  async has(key) {
    return (await this.#client.exists(key)) === 1;
  }

  /** Deletes a record; says whether there was one. */
  async delete(key) {
    return (await this.#client.del(key)) === 1;
  }

  /** Seconds that a record has left: null if it lasts for ever, undefined if there is none. */
  async getTtl(key) {
    const seconds = await this.#client.ttl(key);
    return seconds === -2 ? undefined : seconds === -1 ? null : seconds;
  }

  /** Lets a record last so many seconds from now on; null: for ever. */
  async setTtl(key, ttl) {
    await (ttl === null ? this.#client.persist(key) : this.#client.expire(key, ttl));
  }

  // a part of a record, without reading it, and safe with others doing the same

  /** The values at a JSONPath within a record: `store.part("4711", "$.lines[0].sku")`. */
  async part(key, path) {
    return this.#client.json.get(key, { path });
  }

  async setPart(key, path, value) {
    return (await this.#client.json.set(key, path, value)) === "OK";
  }

  /** Adds to the numbers at a JSONPath; gives the sums. */
  async add(key, path, number = 1) {
    return this.#client.json.numIncrBy(key, path, number);
  }

  /** Appends to the arrays at a JSONPath; gives their lengths. */
  async append(key, path, ...values) {
    return this.#client.json.arrAppend(key, path, ...values);
  }

  // many records

  /** The values of several keys, as of one instant; undefined for those that are not there. */
  async getMany(keys) {
    const texts = keys.length ? await this.#client.mGet(keys) : [];
    return texts.map((text) => (text === null ? undefined : JSON.parse(text)));
  }

  async keys() {
    const keys = [];
    for await (const page of this.#client.scanIterator({ COUNT: this.#page })) keys.push(...page);
    return keys;
  }

  async entries() {
    const entries = [];
    for await (const entry of this) entries.push(entry);
    return entries;
  }

  /** All records, read in pages. */
  async *[Symbol.asyncIterator]() {
    let cursor = "0";
    do {
      const command = ["STORE", "ENTRIES", `${this.#store}`, "CURSOR", cursor, "COUNT", `${this.#page}`];
      const [next, page] = await this.#client.sendCommand(command);
      for (const [key, text] of page) yield [key, JSON.parse(text)];
      cursor = next;
    } while (cursor !== "0");
  }

  async size() {
    return this.#client.dbSize();
  }

  async clear() {
    await this.#client.flushDb();
  }

  async close() {
    await this.#client.close();
  }
}

/** The number of a named store, which STORE INFO tells among other things: a list in RESP2, a map in RESP3. */
async function numberOf(client, name) {
  const info = await client.sendCommand(["STORE", "INFO", name]);
  return Array.isArray(info) ? info[info.indexOf("number") + 1] : info.number;
}
