// The last changes of a store are shown as they happen, with the value before and after, digit by digit.

import { assert, becomes, done, inBrowser } from "./browser.mjs";

await inBrowser(async (open) => {
  for (const name of ["orders", "other"]) await done("POST", "stores", { name });
  const page = await open("#/changes?store=orders");
  await page.getByText("Live", { exact: true }).waitFor();
  await done("PUT", "stores/orders/records/a", "12345678901234567890");
  await done("PUT", "stores/orders/records/a", '{"n": 1.50}');
  await done("DELETE", "stores/orders/records/a");
  await done("PUT", "stores/other/records/b", "1");
  const cells = async () => (await page.locator(".changes tbody tr").all()).length && page.locator(".changes tbody tr").evaluateAll((rows) => rows.map((row) => [...row.children].slice(1).map((cell) => cell.textContent)));
  await becomes([
    ["a", "deleted", '{"n": 1.50}', "–"],
    ["a", "written", "12345678901234567890", '{"n": 1.50}'],
    ["a", "written", "–", "12345678901234567890"],
  ], cells);
  // nothing moves while it is paused, and nothing is missed
  await page.getByRole("button", { name: "Pause" }).click();
  await done("PUT", "stores/orders/records/c", "2");
  await page.getByRole("button", { name: "Go on" }).click();
  await page.locator(".changes").getByRole("link", { name: "c", exact: true }).click();
  await page.getByRole("dialog", { name: "c" }).locator(".meta").waitFor();
  await page.evaluate(() => history.back());
  await page.getByLabel("Store").selectOption({ label: "other" });
  await page.getByRole("heading", { name: "Nothing has changed yet" }).waitFor();
  assert.equal(await page.evaluate(() => location.hash), "#/changes?store=other");
  await done("POST", "stores/other/clear", {});
  await page.getByText("all records removed").waitFor();
});
