// Asking the server. Who signed in is kept for this tab only, and sent as a header, never as a cookie: so no other page can have
// the browser send it.

import { halfAt } from "./exact.js";

const ROOT = new URL("api/v1/", document.baseURI);
const TOKEN = "larder.token";

/** What the server refused, or that it can't be reached (status 0). */
export class Problem extends Error {
  constructor(status, code, told) {
    const detail = explained(code, told);
    super(detail);
    Object.assign(this, { status, code, detail });
  }
}

/** Some errors are whole only with their code. */
export const explained = (code, detail) => (code === "NOTJSON" ? `the value is not JSON: ${detail}` : detail);

let token = sessionStorage.getItem(TOKEN);

export function signIn(user, password) {
  const pair = new TextEncoder().encode(`${user}:${password}`);
  token = btoa(String.fromCharCode(...pair));
}

/** After the server has taken the credentials: they outlive a reload. */
export const keepSignedIn = () => token && sessionStorage.setItem(TOKEN, token);

export function signOut() {
  token = null;
  sessionStorage.removeItem(TOKEN);
}

export const isSignedIn = () => token !== null;

/** Has the person sign in because the server does not know who asks; says whether the request may be made again. */
let signInAgain = async () => false;
export const whenStranger = (listener) => (signInAgain = listener);

/**
 * The response to a request; a refusal is thrown. `isSignIn` marks the request that tries credentials, `isWatching` one that the
 * page makes by itself, in order to show something: the slow log and the response times leave it out.
 */
export async function ask(method, path, { json, body = json && JSON.stringify(json), type = "application/json", headers = {}, signal, isSignIn = false, isWatching = false } = {}) {
  for (;;) {
    const sent = { ...headers };
    if (body !== undefined) sent["Content-Type"] = type;
    const usedToken = token;
    if (usedToken !== null) sent.Authorization = `Bearer ${usedToken}`;
    if (isWatching) sent["Larder-Watching"] = "true";
    const options = { method, headers: sent, body, signal, cache: "no-store", credentials: "omit", redirect: "error" };
    let response;
    try {
      response = await fetch(new URL(path, ROOT), options);
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem(0, "OFFLINE", "The server can’t be reached. It may have been stopped, or the network is down.");
    }
    if (response.ok) return response;
    const told = await response.json().catch(() => ({}));
    const problem = new Problem(response.status, told.code ?? "ERR", told.detail ?? told.error ?? `the server answered ${response.status}`);
    if (response.status !== 401 || isSignIn) throw problem;
    // another request may have led to a new sign-in meanwhile
    if (token === usedToken && !(await signInAgain())) throw problem;
  }
}

export const get = async (path, options) => (await ask("GET", path, options)).json();
get.text = async (path, options) => (await ask("GET", path, options)).text();
/** What a page shows without having been asked for more than that. */
export const watch = (path, options) => get(path, { ...options, isWatching: true });

/** Below a store, which is named by its number: that stays the same store, whatever it is called meanwhile. */
export const storePath = ({ number }, rest = "") => `stores/${number}${rest}`;

/** The store of a name. */
export async function storeOf(name, options) {
  // browsers resolve these in an address
  if (name !== "." && name !== "..") return watch(`stores/${encodeURIComponent(exactly(name))}`, options);
  const { stores } = await watch("stores", options);
  const store = stores.find((store) => store.name === name);
  if (store) return store;
  throw new Problem(404, "NOSTORE", `there is no store '${name}'`);
}

/** A record's path. Keys are named in the query, where any of them can stand. */
export function recordPath(store, key, rest = "", parameters = {}) {
  const given = new URLSearchParams(parameters).toString();
  return storePath(store, `/record${rest}?key=${keyInQuery(key)}${given && `&${given}`}`);
}

/** A key of the API, text or `{base64}`, percent-encoded. */
function keyInQuery(key) {
  if (typeof key === "string") return encodeURIComponent(exactly(key));
  return Array.from(atob(key.base64), (byte) => `%${byte.charCodeAt(0).toString(16).padStart(2, "0")}`).join("");
}

/** Runs a command of the Redis protocol in a store, and gives its result; its words are texts. */
export async function command(store, words) {
  return (await ask("POST", `../../redis/@${store.number}`, { json: words.map(exactly) }).then((response) => response.json())).result;
}
/** The same for many, one after the other: the `{result}` or `{error}` of each. */
command.many = async (store, commands) => (await ask("POST", `../../redis/@${store.number}/pipeline`, { json: commands })).json();

export function query(parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined && value !== "");
  for (const [, value] of given) exactly(String(value));
  return given.length ? `?${new URLSearchParams(given)}` : "";
}

/** The text, if it can be sent as it is. */
export function exactly(text) {
  const at = halfAt(text);
  if (at < 0) return text;
  throw new Problem(400, "ERR", `Character ${at + 1} is only half of one (a lone surrogate), which can’t be sent.`);
}
