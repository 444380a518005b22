// Stores: create, settings, limits, links, rename, empty, drop.

import { api, assert, becomes, choose, connection, dialog, discard, done, inBrowser, toast } from "./browser.mjs";

const names = (page) => page.locator(".stores tbody th a").allTextContents();

await inBrowser(async (open) => {
  const page = await open();

  // nothing yet
  await page.getByRole("heading", { name: "No stores yet" }).waitFor();
  await page.getByRole("button", { name: "Create a store" }).click();

  // a name that can't be, then one that can
  await dialog(page).getByLabel("Name").fill("17");
  await dialog(page).getByRole("button", { name: "Create" }).click();
  await dialog(page).getByRole("alert").getByText("invalid store name").waitFor();
  await dialog(page).getByLabel("Name").fill("<b>orders</b>");
  await dialog(page).getByLabel("Values").selectOption("any");
  await dialog(page).getByText("Limits and lifetimes").click();
  await dialog(page).getByLabel("Records at most").fill("10");
  await dialog(page).getByRole("button", { name: "Create" }).click();
  await toast(page, "Store <b>orders</b> was created.");
  await page.getByRole("heading", { name: "No records yet" }).waitFor();
  assert.equal(new URL(page.url()).hash, "#/store/%3Cb%3Eorders%3C%2Fb%3E");
  const created = JSON.parse((await done("GET", "stores/16")).body);
  assert.deepEqual([created.name, created.values, created.max_keys], ["<b>orders</b>", "any", 10]);

  // taken
  await page.getByRole("link", { name: "Stores" }).first().click();
  await page.getByRole("button", { name: "New store" }).click();
  await dialog(page).getByLabel("Name").fill("<b>orders</b>");
  await dialog(page).getByRole("button", { name: "Create" }).click();
  await dialog(page).getByRole("alert").getByText("exists already").waitFor();
  await discard(page);

  // rename, from the list
  await choose(page, "<b>orders</b>", "Rename");
  await dialog(page).getByLabel("New name").fill("orders");
  await dialog(page).getByRole("button", { name: "Rename" }).click();
  await becomes(["orders"], () => names(page));

  // settings: what is typed wrong is told; a limit shows how much of it is used
  await done("PUT", "stores/orders/records/a", "1");
  await done("PUT", "stores/orders/records/b", "2");
  await choose(page, "orders", "Settings");
  await dialog(page).getByLabel("Stored bytes at most").fill("much");
  await dialog(page).getByRole("button", { name: "Save" }).click();
  await dialog(page).getByRole("alert").getByText("not 'much'").waitFor();
  await dialog(page).getByLabel("Stored bytes at most").fill("1mb");
  await dialog(page).getByLabel("Records at most").fill("2");
  await dialog(page).getByLabel("Records expire after").fill("90d");
  await dialog(page).getByRole("button", { name: "Save" }).click();
  await toast(page, "The settings of orders were saved.");
  const meter = page.getByRole("meter", { name: "Records of orders" });
  await becomes(["2", "2"], async () => [await meter.getAttribute("aria-valuenow"), await meter.getAttribute("aria-valuemax")]);
  await page.getByText("orders has 2 of 2 records").waitFor();
  const set = JSON.parse((await done("GET", "stores/orders")).body);
  assert.deepEqual([set.max_keys, set.max_bytes, set.default_ttl_ms, set.retention_ms], [2, 1 << 20, 90 * 86_400_000, 0]);

  // they are there again, and go when they are emptied
  await choose(page, "orders", "Settings");
  await becomes("1mb", () => dialog(page).getByLabel("Stored bytes at most").inputValue());
  assert.equal(await dialog(page).getByLabel("Records expire after").inputValue(), "90d");
  for (const label of ["Stored bytes at most", "Records at most", "Records expire after"]) await dialog(page).getByLabel(label).fill("");

  // linked workflows, in the same place
  await dialog(page).getByLabel("Workflow to link").fill("nightly import");
  await dialog(page).getByRole("button", { name: "Link", exact: true }).click();
  await dialog(page).getByLabel("Workflow to link").fill("billing");
  await page.keyboard.press("Enter");
  await dialog(page).getByRole("button", { name: "Unlink billing" }).click();
  await becomes(["nightly import"], () => dialog(page).locator(".links bdi").allTextContents());
  await dialog(page).getByRole("button", { name: "Save" }).click();
  await meter.waitFor({ state: "detached" });

  // a store in use can't be dropped, and its users are named
  const worker = await connection();
  await worker.send("CLIENT SETNAME worker-7");
  await worker.send("SELECT orders");
  await choose(page, "orders", "Drop");
  const drop = dialog(page).getByRole("button", { name: "Drop store" });
  await becomes(["workflow nightly import", "worker-7"], () => dialog(page).locator(".users li").allTextContents());
  await dialog(page).getByLabel("Type “orders” to confirm").fill("orders");
  assert.ok(await drop.isDisabled());

  // without its users it can, once its name is typed
  await worker.send("SELECT 0");
  await done("DELETE", "stores/orders/links/nightly%20import");
  await dialog(page).getByRole("button", { name: "Look again" }).click();
  await becomes(true, () => drop.isEnabled());
  await dialog(page).getByLabel("Type “orders” to confirm").fill("order");
  assert.ok(await drop.isDisabled());
  await dialog(page).getByLabel("Type “orders” to confirm").fill("orders");

  // whoever comes in between is noticed
  await worker.send("SELECT orders");
  await drop.click();
  await dialog(page).getByRole("alert").getByText("is used by worker-7").waitFor();
  assert.equal((await api("GET", "stores/orders")).status, 200);
  await worker.close();
  await dialog(page).getByRole("button", { name: "Look again" }).click();
  await becomes(true, () => drop.isEnabled());
  await drop.click();
  await toast(page, "orders was dropped.");
  assert.equal((await api("GET", "stores/orders")).status, 404);
  await page.getByRole("heading", { name: "No stores yet" }).waitFor();

  // numbered stores are emptied, not dropped
  await done("PUT", "stores/3/records/a", "1");
  await page.reload();
  await page.getByLabel("Actions for 3").click();
  assert.equal(await page.getByRole("button", { name: "Drop" }).count(), 0);
  await page.getByRole("button", { name: "Empty" }).click();
  await dialog(page).getByLabel("Type “3” to confirm").fill("3");
  await dialog(page).getByRole("button", { name: "Delete all records" }).click();
  await toast(page, "3 is empty.");
  assert.equal(JSON.parse((await done("GET", "stores/3")).body).records, 0);

  // from within a store, which moves with its name and is left when it goes
  await done("POST", "stores", { name: "short" });
  await page.goto(new URL("#/store/short", page.url()).href);
  await choose(page, "short", "Rename");
  await dialog(page).getByLabel("New name").fill("a/b?c");
  await dialog(page).getByRole("button", { name: "Rename" }).click();
  await page.getByRole("heading", { name: "a/b?c" }).waitFor();
  await choose(page, "a/b?c", "Drop");
  await becomes(true, () => dialog(page).getByRole("button", { name: "Drop store" }).isEnabled());
  await dialog(page).getByRole("button", { name: "Drop store" }).click();
  await becomes("#/", async () => new URL(page.url()).hash);
  await page.goto(new URL("#/store/short", page.url()).href);
  await page.getByRole("heading", { name: "There is no store short" }).waitFor();
});
