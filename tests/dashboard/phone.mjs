// The same on a phone: nothing is wider than the screen, and everything can be touched.

import { api, assert, becomes, dialog, done, fits, inBrowser, toast } from "./browser.mjs";

await inBrowser(async (open) => {
  const long = "k".repeat(300);
  await done("POST", "stores", { name: `a store with a rather long name that goes on and on${"x".repeat(60)}` });
  await done("POST", "stores", { name: "orders", "max-keys": 3 });
  for (const key of [long, "short"]) await done("PUT", `stores/orders/records/${key}?ttl=5000`, JSON.stringify({ text: "word ".repeat(200), [long]: [1, 2, 3] }));

  const page = await open("", { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true });
  await page.getByRole("link", { name: "orders", exact: true }).waitFor();
  await fits(page, "the list of stores");
  await page.getByLabel("Actions for orders").tap();
  await fits(page, "a menu");
  await page.getByRole("button", { name: "Settings" }).tap();
  await dialog(page).getByLabel("Records at most").waitFor();
  await fits(page, "the settings");
  await dialog(page).getByRole("button", { name: "Close" }).tap();

  await page.getByRole("link", { name: "orders", exact: true }).tap();
  await page.getByRole("button", { name: "short", exact: true }).waitFor();
  await fits(page, "the records");
  await page.getByRole("button", { name: long, exact: true }).tap();
  await dialog(page).locator(".meta").waitFor();
  await fits(page, "a record");
  const box = await dialog(page).boundingBox();
  assert.ok(box.x >= 0 && box.width <= 360);
  const save = await dialog(page).getByRole("button", { name: "Save" }).boundingBox();
  assert.ok(save.y + save.height <= 740, `what saves is on the screen: ${JSON.stringify([box, save])}`);
  await dialog(page).getByRole("textbox", { name: "Value" }).fill("[1]");
  await dialog(page).getByRole("button", { name: "Save" }).tap();
  await toast(page, "was saved.");
  await page.getByLabel("Select short").tap();
  await page.getByRole("button", { name: "Delete …" }).tap();
  await dialog(page).getByRole("button", { name: "Delete 1 record" }).tap();
  await toast(page, "1 record deleted.");
  await becomes(404, async () => (await api("GET", "stores/orders/records/short")).status);

  for (const [name, heading] of [["Console", "Console"], ["Activity", "Memory"], ["Slow log", "Slow log"], ["Clients", "Clients"], ["Users", "Users"], ["Settings", "Settings"]]) {
    await page.getByRole("link", { name, exact: true }).tap();
    await page.getByRole("heading", { name: heading, exact: true }).waitFor();
    await fits(page, name);
  }
});
