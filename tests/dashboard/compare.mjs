// Two stores are compared and made alike; a record is copied, duplicated, renamed and moved.

import { api, assert, becomes, dialog, done, inBrowser, row, shownKeys, toast } from "./browser.mjs";

await inBrowser(async (open) => {
  for (const name of ["staging", "production"]) await done("POST", "stores", { name, values: "any" });
  const put = (store, key, value, more = "") => done("PUT", `stores/${store}/record?key=${encodeURIComponent(key)}${more}`, value);
  await put("staging", "same", "1");
  await put("production", "same", "1.0");
  await put("staging", "only staging", '{"a":  1.50}', "&ttl=100000");
  await put("production", "only production", "2");
  await put("staging", "other", '"a"');
  await put("production", "other", '"b"');
  const page = await open("#/compare");
  await page.getByLabel("The first store").selectOption("staging");
  await page.getByLabel("The second store").selectOption("production");
  await page.getByRole("button", { name: "Compare", exact: true }).click();

  await page.getByText("1 only in staging, 1 only in production").waitFor();
  const keys = () => page.locator(".differences tbody th").allTextContents();
  await page.reload();
  await becomes(true, async () => (await keys()).includes("other") && (await keys()).includes("only staging"));

  // both values, and a copy that replaces one after a question
  await page.getByRole("button", { name: "Show both values of other" }).click();
  await becomes(['"a"', '"b"'], () => dialog(page).locator("pre").allTextContents());
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "Copy other to production" }).click();
  await dialog(page).getByRole("button", { name: "Replace it" }).click();
  await toast(page, "other was copied to production.");
  assert.equal((await done("GET", "stores/production/records/other")).body, '"a"');
  await becomes(false, async () => (await keys()).includes("other"));

  // what only one has is copied, with its expiry
  await page.getByRole("button", { name: "Copy what only staging has …" }).click();
  await dialog(page).getByRole("button", { name: "Copy them" }).click();
  await toast(page, "1 record copied to production.");
  const copied = await done("GET", "stores/production/record?key=only%20staging");
  assert.equal(copied.body, '{"a":  1.50}');
  assert.ok(Number(copied.headers.get("larder-ttl-ms")) > 90_000_000);
  await row(page, "only production").getByRole("link", { name: "in production" }).click();
  const record = page.getByRole("dialog", { name: "only production" });
  await record.locator(".meta").waitFor();

  // a duplicate; a key that is taken; another name; another store
  const copy = async (key, fields) => {
    await page.getByRole("dialog", { name: key, exact: true }).getByRole("button", { name: "Copy …" }).click();
    const form = page.getByRole("dialog", { name: `Copy ${key}` });
    if (fields.store) await form.getByLabel("Store").selectOption({ label: fields.store });
    if (fields.key) await form.getByLabel("Key").fill(fields.key);
    if (fields.move) await form.getByLabel("Delete it here afterwards").check();
    await form.getByRole("button", { name: "Copy", exact: true }).click();
    return form;
  };
  const taken = await copy("only production", { key: "same" });
  await taken.getByRole("alert").getByText("There is a record at this key already").waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "Discard" }).click();
  await copy("only production", { key: "duplicate" });
  await toast(page, "only production was copied to duplicate in production.");
  await becomes(true, async () => (await shownKeys(page)).includes("duplicate"));
  await page.getByRole("button", { name: "duplicate", exact: true }).click();
  await page.getByRole("dialog", { name: "duplicate" }).locator(".meta").waitFor();
  await copy("duplicate", { key: "renamed", store: "staging", move: true });
  await toast(page, "duplicate was moved to renamed in staging.");
  await becomes(0, () => page.getByRole("dialog").count());
  assert.equal((await done("GET", "stores/staging/records/renamed")).body, "2");
  assert.equal((await api("GET", "stores/production/records/duplicate")).status, 404);
  assert.equal((await done("GET", "stores/production/records/same")).body, "1.0");
});
