// Asking the server. Who signed in is kept for this tab only, and sent as a header, never as a cookie: so no other page can have
// the browser send it.

import { keyPath } from "./format.js";

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

/** What is to happen when the server asks who this is. */
let onStranger = () => {};
export const whenStranger = (listener) => (onStranger = listener);

/** The response to a request; a refusal is thrown. */
export async function ask(method, path, { json, body = json && JSON.stringify(json), type = "application/json", headers = {}, signal } = {}) {
  const sent = { ...headers };
  if (body !== undefined) sent["Content-Type"] = type;
  if (token !== null) sent.Authorization = `Bearer ${token}`;
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
  const problem = new Problem(response.status, told.code ?? "ERR", told.detail ?? `the server answered ${response.status}`);
  if (response.status === 401) onStranger(problem);
  throw problem;
}

export const get = async (path, options) => (await ask("GET", path, options)).json();

export const storePath = (name, rest = "") => `stores/${encodeURIComponent(name)}${rest}`;

export function recordPath(store, key, rest = "") {
  const path = keyPath(key);
  if (path === null) throw new Problem(400, "ERR", "A web address can’t hold this key. Use redis-cli to see or change its record.");
  return storePath(store, `/records/${path}${rest}`);
}

export function query(parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return given.length ? `?${new URLSearchParams(given)}` : "";
}
