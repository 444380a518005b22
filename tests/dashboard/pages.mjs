// Ten thousand records: pages to and fro, prefixes, search, a selection over pages.

import { assert, becomes, dialog, done, inBrowser, shownKeys, toast } from "./browser.mjs";

const COUNT = 10_000;
const keys = Array.from({ length: COUNT }, (_, at) => `user:${String(at).padStart(5, "0")}`);

await inBrowser(async (open) => {
  await done("POST", "stores", { name: "users" });
  for (let at = 0; at < COUNT; at += 1000) {
    const records = keys.slice(at, at + 1000).map((key, index) => ({ key, value: { number: at + index } }));
    await done("POST", "stores/users/many/put", { records });
  }
  const page = await open("#/store/users");
  const next = page.getByRole("button", { name: "Next" });
  const previous = page.getByRole("button", { name: "Previous" });
  const range = (text) => page.locator(".range").getByText(text).waitFor();

  await range("Page 1 · 1–100");
  assert.ok(await previous.isDisabled());
  await next.click();
  await range("Page 2 · 101–200");
  await next.click();
  await range("Page 3 · 201–300");
  assert.deepEqual(await shownKeys(page), keys.slice(200, 300));
  await previous.click();
  await range("Page 2 · 101–200");
  assert.deepEqual(await shownKeys(page), keys.slice(100, 200));

  // all of them, each once
  await page.getByLabel("Records on a page").selectOption("1000");
  const seen = [];
  for (let number = 1; number <= 10; number += 1) {
    await range(`Page ${number} · `);
    seen.push(...(await shownKeys(page)));
    if (number < 10) await next.click();
  }
  assert.deepEqual(seen, keys);

  // a prefix; it is part of the address
  const find = page.getByLabel("Text to look for");
  await find.fill("user:0123");
  await becomes(keys.slice(1230, 1240), () => shownKeys(page));
  assert.equal(new URL(page.url()).hash, "#/store/users?prefix=user%3A0123");
  await page.reload();
  await becomes(keys.slice(1230, 1240), () => shownKeys(page));
  await find.fill("user:*");
  await page.getByText("No key begins with this text.").waitFor();

  // a value
  await page.getByLabel("Look for", { exact: true }).selectOption("contains");
  await find.fill('"number":9999}');
  await becomes(["user:09999"], () => shownKeys(page));
  await find.fill("nowhere");
  await page.getByRole("heading", { name: /Nothing found/ }).waitFor();

  // a selection goes over pages, and only it is deleted
  await page.getByLabel("Look for", { exact: true }).selectOption("prefix");
  await find.fill("");
  await range("Page 1 · 1–100");
  await page.getByLabel("Select user:00001").check();
  await next.click();
  await range("Page 2 · 101–200");
  await page.getByLabel("Select user:00150").check();
  await page.getByText("2 records selected, 1 of them not on this page").waitFor();
  await previous.click();
  await range("Page 1 · 1–100");
  assert.ok(await page.getByLabel("Select user:00001").isChecked());
  await page.getByRole("button", { name: "Delete …" }).click();
  await becomes(["user:00001", "user:00150"], () => dialog(page).locator("li").allTextContents());
  await dialog(page).getByRole("button", { name: "Delete 2 records" }).click();
  await toast(page, "2 records deleted.");
  assert.equal(JSON.parse((await done("GET", "stores/users")).body).records, COUNT - 2);

  // after a bulk deletion, what is left is found, wherever it is
  await page.getByLabel("Select user:00000").check();
  const gone = keys.slice(2, -3).filter((key) => key !== "user:00150");
  for (let at = 0; at < gone.length; at += 1000) await done("POST", "stores/users/many/delete", { keys: gone.slice(at, at + 1000) });
  await page.getByRole("button", { name: "Refresh" }).click();
  await becomes(["user:00000", ...keys.slice(-3)], () => shownKeys(page));
  await page.getByRole("button", { name: "Delete …" }).click();
  await dialog(page).getByRole("button", { name: "Delete 1 record" }).click();
  await becomes(keys.slice(-3), () => shownKeys(page));

  // a page that is empty although there is more is not shown as the end
  let asked = 0;
  await page.route("**/entries?*", async (route) => {
    asked += 1;
    if (asked > 3) return route.continue();
    await route.fulfill({ json: { entries: [], cursor: `${asked}-ffffffff` } });
  });
  await page.route("**/entries?cursor=3-*", (route) => route.continue({ url: route.request().url().replace(/cursor=3-ffffffff/, "cursor=0") }));
  await page.getByRole("button", { name: "Refresh" }).click();
  await becomes(keys.slice(-3), () => shownKeys(page));
  assert.equal(await page.getByText("No records yet").count(), 0);
});
