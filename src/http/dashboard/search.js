// Ways to look for records, as addresses and the API have them; and all records that are found, one batch after the other.

import { get, query, storePath, watch } from "./api.js";

/** What can be looked for: the parameter in the address, its label, and the parameters of a search; none is a range of keys. */
export const WAYS = [
  { name: "prefix", label: "Key begins with", none: "No key begins with this text." },
  { name: "key_matches", label: "Key matches pattern", hint: "user:*:name", none: "No key matches this pattern." },
  { name: "key_regex", label: "Key matches regex", hint: "^user:[0-9]+$", none: "No key matches this regular expression." },
  { name: "contains", label: "Value contains", none: "No value contains this text." },
  { name: "icontains", label: "Value contains, any case", asked: (text) => ({ contains: text, ignore_case: true }), none: "No value contains this text." },
  { name: "equals", label: "Value equals", hint: '{"a": 1}', none: "No value equals this." },
  { name: "jsonpath", label: "JSONPath finds", hint: "$..[?(@.total > 10)]", none: "This path finds nothing in any value." },
];

/** What is looked for: a way, a text, and a group of keys within which the search stays. */
export class Search {
  constructor(parameters) {
    this.way = WAYS.find(({ name }) => parameters.has(name)) ?? WAYS[0];
    this.text = parameters.get(this.way.name) ?? "";
    this.within = this.isOfRange ? "" : (parameters.get("within") ?? "");
  }

  get isOfRange() {
    return this.way.name === "prefix";
  }

  /** Whether values or keys have to be looked at, one by one. */
  get isSlow() {
    return !this.isOfRange && this.text !== "";
  }

  /** The prefix that all keys have that it finds. */
  get prefix() {
    return this.isOfRange ? this.text : this.within;
  }

  get isAll() {
    return this.text === "" && this.within === "";
  }

  useWay(name) {
    const { prefix } = this;
    this.way = WAYS.find((way) => way.name === name);
    if (this.isOfRange) this.within = "";
    else if (prefix !== this.text) this.within = prefix;
  }

  /** Looks in a group of keys: a search stays as it is, but only there. */
  useGroup(prefix) {
    if (this.isSlow) this.within = prefix;
    else Object.assign(this, { way: WAYS[0], text: prefix, within: "" });
  }

  get address() {
    return { [this.way.name]: this.text, within: this.within };
  }

  /** The path of a page of what is found, below a store. */
  path(parameters) {
    if (!this.isSlow) return `/entries${query({ prefix: this.prefix, ...parameters })}`;
    const asked = this.way.asked?.(this.text) ?? { [this.way.name]: this.text };
    return `/search${query({ prefix: this.within, ...asked, ...parameters })}`;
  }

  /** A page. A search is somebody's wish, and may be slow; a page of a range is only looked at. */
  page(store, parameters, options) {
    return (this.isSlow ? get : watch)(storePath(store, this.path(parameters)), options);
  }

  /** All records that are found, in batches `{entries, looked}`, `looked` being how many were looked at. */
  async *all(store, limit, signal) {
    let cursor = "0";
    let looked = 0;
    while (cursor !== null && !signal.aborted) {
      const told = await this.page(store, { cursor, limit, preview: 0 }, { signal });
      looked += told.looked_at ?? told.entries.length;
      cursor = told.cursor;
      yield { entries: told.entries, looked };
    }
  }
}
