// The changes of a store as they happen, from its stream of events.

import { ask, storePath } from "./api.js";

const KEPT = "larder.live";
const RETRY_MS = 3_000;

export const isLiveKept = () => {
  try {
    return localStorage.getItem(KEPT) === "on";
  } catch {
    return false;
  }
};

export function keepLive(isOn) {
  try {
    localStorage.setItem(KEPT, isOn ? "on" : "off");
  } catch {
    // it holds until the page is left
  }
}

/**
 * Calls `changed(event)` for each change of a store until `stop` is called, and `status(text)` with what the stream does. Without
 * a window that is seen there is no stream, because browsers allow few of them.
 */
export function follow(store, { changed, status }) {
  let isStopped = false;
  let abort = null;
  let retry;

  async function run() {
    clearTimeout(retry);
    if (isStopped || document.hidden || abort) return;
    const mine = (abort = new AbortController());
    try {
      const response = await ask("GET", storePath(store, "/events"), { signal: mine.signal, isWatching: true });
      status("live");
      for await (const event of eventsOf(response.body)) {
        if (event.kind === "end") break;
        if (event.kind !== "open") changed(event);
      }
      status("interrupted");
    } catch (error) {
      if (!mine.signal.aborted) status(error.status === 403 ? "not permitted" : "interrupted");
      if (error.status === 403 || error.status === 404) isStopped = true;
    }
    if (abort === mine) abort = null;
    // what happened meanwhile is not known
    if (!isStopped && !document.hidden) retry = setTimeout(() => run().then(() => changed({ kind: "lost" })), RETRY_MS);
  }

  function onVisible() {
    if (document.hidden) {
      abort?.abort();
      abort = null;
    } else {
      changed({ kind: "lost" });
      run();
    }
  }

  document.addEventListener("visibilitychange", onVisible);
  run();
  return () => {
    isStopped = true;
    clearTimeout(retry);
    abort?.abort();
    document.removeEventListener("visibilitychange", onVisible);
  };
}

/** The data of a stream of server-sent events, and `raw`, its text, in which numbers have all their digits. */
async function* eventsOf(body) {
  const decoder = new TextDecoder();
  const reader = body.getReader();
  let [text, data] = ["", []];
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += decoder.decode(value, { stream: true });
    const lines = text.split("\n");
    text = lines.pop();
    for (const line of lines) {
      if (line.startsWith("data: ")) data.push(line.slice(6));
      else if (line === "" && data.length) {
        const raw = data.join("\n");
        yield { ...JSON.parse(raw), raw };
        data = [];
      }
    }
  }
}
