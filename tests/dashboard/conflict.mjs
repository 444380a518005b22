// Two people change the same record: nobody's change is lost unasked.

import { api, assert, becomes, dialog, done, inBrowser, shownKeys, toast } from "./browser.mjs";

const value = (page) => dialog(page).getByRole("textbox", { name: "Value" });
const save = (page) => dialog(page).getByRole("button", { name: "Save" });
const stored = async () => (await done("GET", "stores/0/records/k")).body;

async function edit(page, text) {
  await page.getByRole("button", { name: "k", exact: true }).click();
  await dialog(page).locator(".meta").waitFor();
  await value(page).fill(text);
}

await inBrowser(async (open) => {
  await done("PUT", "stores/0/records/k", "1");
  const page = await open("#/store/0");

  // theirs is loaded
  await edit(page, '"mine"');
  await done("PUT", "stores/0/records/k", '"theirs"');
  await save(page).click();
  await dialog(page).getByText("Somebody else changed this record").waitFor();
  assert.equal(await stored(), '"theirs"');
  await dialog(page).getByText("What it is now").click();
  await dialog(page).locator(".conflict pre", { hasText: '"theirs"' }).waitFor();
  await dialog(page).getByRole("button", { name: "Discard mine" }).click();
  await becomes('"theirs"', () => value(page).inputValue());
  assert.ok(await save(page).isDisabled());

  // mine goes over it, but only over what was seen
  await value(page).fill('"mine"');
  await done("PUT", "stores/0/records/k", '"third"');
  await save(page).click();
  await dialog(page).getByText("Somebody else changed this record").waitFor();
  await done("PUT", "stores/0/records/k", '"fourth"');
  await dialog(page).getByRole("button", { name: "Overwrite theirs" }).click();
  await dialog(page).locator(".conflict pre", { hasText: '"fourth"' }).waitFor({ state: "attached" });
  assert.equal(await stored(), '"fourth"');
  await dialog(page).getByRole("button", { name: "Overwrite theirs" }).click();
  await toast(page, "k was saved.");
  assert.equal(await stored(), '"mine"');

  // an expiry, too, is set only on what was seen
  await page.getByRole("button", { name: "k", exact: true }).click();
  await dialog(page).locator(".meta").waitFor();
  await dialog(page).getByLabel("Expires").selectOption("in");
  await done("PUT", "stores/0/records/k", "2");
  await save(page).click();
  await dialog(page).getByText("Somebody else changed this record").waitFor();
  assert.equal((await done("GET", "stores/0/records/k")).headers.get("larder-ttl-ms"), null);
  await page.keyboard.press("Escape");

  // and only what was seen is deleted
  await page.getByRole("button", { name: "k", exact: true }).click();
  await dialog(page).locator(".meta").waitFor();
  await done("PUT", "stores/0/records/k", "3");
  await dialog(page).getByRole("button", { name: "Delete" }).click();
  await dialog(page).getByRole("button", { name: "Delete", exact: true }).click();
  await dialog(page).getByText("Somebody else changed this record").waitFor();
  assert.equal(await stored(), "3");
  await page.keyboard.press("Escape");

  // what is gone meanwhile can be created again
  await edit(page, "[4]");
  await done("DELETE", "stores/0/records/k");
  await save(page).click();
  await dialog(page).getByText("This record is gone").waitFor();
  await dialog(page).getByRole("button", { name: "Create it again" }).click();
  await dialog(page).getByRole("button", { name: "Create", exact: true }).click();
  await toast(page, "k was created.");
  assert.equal(await stored(), "[4]");

  // a row of a record that is gone says so
  await done("DELETE", "stores/0/records/k");
  await page.getByRole("button", { name: "k", exact: true }).click();
  await dialog(page).getByText("This record is gone").waitFor();
  await page.keyboard.press("Escape");
  await becomes([], () => shownKeys(page));
  assert.equal((await api("GET", "stores/0/records/k")).status, 404);
});
