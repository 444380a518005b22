// A browser on the dashboard of the server under test, and ways to change things behind its back.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createRequire } from "node:module";
import { connect } from "node:net";
import { join } from "node:path";

const require = createRequire(join(process.env.LARDER_NODE_PACKAGES, "here.cjs"));
const { chromium } = require("playwright-core");

export { assert };
export const home = process.env.LARDER_DASHBOARD;
const redis = new URL(process.env.LARDER_URL);

/** How long the browser is waited for before a test fails: much longer than anything takes. */
const PATIENCE_MS = 60_000;

/** Runs a test with pages of a browser of its own; whatever a page complains of fails it. */
export async function inBrowser(test) {
  const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox", "--disable-dev-shm-usage"] });
  const complaints = [];
  const open = async (address = "", options = {}) => {
    const { context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options }) } = options;
    context.setDefaultTimeout(PATIENCE_MS);
    // a record is seen as text, unless a test is about the tree
    if (!options.asTree) await context.addInitScript(() => localStorage.getItem("larder.view") ?? localStorage.setItem("larder.view", "text"));
    const page = await context.newPage();
    page.on("pageerror", (error) => complaints.push(error.stack));
    page.on("console", (message) => {
      // a refusal is told as an error, too, and is what many tests are about
      if (message.type() === "error" && !/Failed to load resource/.test(message.text())) complaints.push(message.text());
    });
    page.on("dialog", (dialog) => {
      // a test that leaves a page with unsaved text says what to answer
      if (dialog.type() === "beforeunload") page.unload ? page.unload(dialog) : complaints.push("a page did not want to be left");
      else complaints.push(`a script ran: ${dialog.message()}`);
    });
    await page.goto(home + address);
    return page;
  };
  try {
    await test(open);
  } finally {
    await browser.close();
  }
  assert.deepEqual(complaints, []);
  console.log("done");
}

/** A request to the API, as another client makes it. */
export async function api(method, path, body, headers = {}) {
  const text = body === undefined || typeof body === "string" ? body : JSON.stringify(body);
  const type = text === undefined ? {} : { "Content-Type": "application/json" };
  const response = await fetch(`${home}api/v1/${path}`, { method, body: text, headers: { ...type, ...headers } });
  return { status: response.status, headers: response.headers, body: await response.text() };
}

/** The same where it has to succeed. */
export async function done(...request) {
  const told = await api(...request);
  assert.ok(told.status < 300, `${request}: ${told.status} ${told.body}`);
  return told;
}

/** A connection of the Redis protocol; each line is a command, each answer a line. */
export async function connection() {
  const socket = connect(Number(redis.port), redis.hostname);
  await once(socket, "connect");
  return {
    async send(line) {
      socket.write(`${line}\r\n`);
      const [answer] = await once(socket, "data");
      return answer.toString();
    },
    async close() {
      socket.end();
      await once(socket, "close");
    },
  };
}

export const row = (page, name) => page.getByRole("row").filter({ hasText: name });
export const dialog = (page) => page.getByRole("dialog").last();
export const toast = (page, text) => page.locator("#toasts").getByText(text).waitFor();

/** Leaves a dialog in which something was typed that is not to be saved. */
export async function discard(page) {
  await page.keyboard.press("Escape");
  await page.getByRole("dialog", { name: "Discard your changes?" }).getByRole("button", { name: "Discard" }).click();
  await page.getByRole("dialog").waitFor({ state: "detached" });
}

/** Opens an entry of a store's menu. */
export async function choose(page, store, entry) {
  await page.getByLabel(`Actions for ${store}`).click();
  await page.getByRole("button", { name: entry }).click();
}

/** Waits until what is told has become what it should be. */
export async function becomes(expected, look) {
  const giveUp = AbortSignal.timeout(PATIENCE_MS);
  for (;;) {
    const seen = await look();
    try {
      return assert.deepEqual(seen, expected);
    } catch (error) {
      if (giveUp.aborted) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** The keys of the page that is shown. */
export const shownKeys = (page) => page.locator(".keys tbody th button").allTextContents();

/** Fails if something is wider than the window, which a phone would zoom out for. */
export async function fits(page, what) {
  const { width } = page.viewportSize();
  const widest = await page.evaluate((width) => {
    const wide = [...document.querySelectorAll("body, body *")].filter((element) => element.getBoundingClientRect().right > width + 0.5 && !element.closest(".unseen, thead, pre, .bar nav"));
    return [document.documentElement.scrollWidth, wide.map((element) => element.outerHTML.slice(0, 80))];
  }, width);
  assert.ok(widest[0] <= width, `${what} is too wide for ${width}: ${widest}`);
}
