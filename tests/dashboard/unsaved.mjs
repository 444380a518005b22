// What was typed is lost only if one says so: in every dialog, whichever way one leaves it.

import { assert, becomes, choose, dialog, done, inBrowser, toast } from "./browser.mjs";

const question = (page) => page.getByRole("dialog", { name: "Discard your changes?" });
const keepEditing = (page) => question(page).getByRole("button", { name: "Keep editing" }).click();
const discard = (page) => question(page).getByRole("button", { name: "Discard" }).click();
const hash = (page) => page.evaluate(() => location.hash);
const dialogs = (page) => page.locator("dialog").count();

/** Dialogs with a field, and how to come to them from the page of the store `orders`. */
const DIALOGS = [
  {
    name: "New record",
    open: (page) => page.getByRole("button", { name: "New record" }).click(),
    fields: [(form) => form.getByLabel("Key"), (form) => form.getByRole("textbox", { name: "Value" })],
  },
  {
    name: "k",
    open: async (page) => {
      await page.getByRole("button", { name: "k", exact: true }).click();
      await dialog(page).locator(".meta").waitFor();
    },
    fields: [(form) => form.getByRole("textbox", { name: "Value" })],
  },
  {
    name: "k, when it expires",
    open: async (page) => {
      await page.getByRole("button", { name: "k", exact: true }).click();
      await dialog(page).locator(".meta").waitFor();
      await dialog(page).getByLabel("Expires").selectOption("in");
    },
    fields: [(form) => form.getByLabel("How many")],
    typed: "77",
  },
  {
    name: "Settings of orders",
    open: (page) => choose(page, "orders", "Settings"),
    fields: [(form) => form.getByLabel("Records at most"), (form) => form.getByLabel("Records expire after"), (form) => form.getByLabel("Workflow to link")],
  },
  { name: "Rename orders", open: (page) => choose(page, "orders", "Rename"), fields: [(form) => form.getByLabel("New name")] },
  { name: "Import into orders", open: (page) => page.getByRole("button", { name: "Import" }).click(), fields: [(form) => form.getByLabel("File")] },
];

/** Ways to leave a dialog without an answer to it. */
const WAYS = [
  ["Escape", async (page) => page.keyboard.press("Escape")],
  ["Escape twice", async (page) => {
    await page.keyboard.press("Escape");
    await question(page).waitFor();
    await page.keyboard.press("Escape");
    await question(page).waitFor({ state: "detached" });
    await page.keyboard.press("Escape");
  }],
  ["the cross", (page) => dialog(page).getByRole("button", { name: "Close" }).first().click()],
  ["the other button", (page) => dialog(page).locator("footer button:not(.first)").first().click()],
  ["a browser that closes it", (page) => dialog(page).evaluate((element) => element.close())],
  ["Back", (page) => page.evaluate(() => history.back())],
  ["another address", (page) => page.evaluate(() => (location.hash = "#/clients"))],
];

await inBrowser(async (open) => {
  await done("POST", "stores", { name: "orders" });
  await done("PUT", "stores/orders/records/k", "1");
  const page = await open();
  await page.getByRole("link", { name: "orders" }).click();
  await page.getByRole("button", { name: "k", exact: true }).waitFor();

  for (const { name, open: openDialog, fields, typed = "typed" } of DIALOGS) {
    for (const field of fields) {
      await openDialog(page);
      const address = await hash(page);
      const typing = field(dialog(page));
      const isFile = (await typing.getAttribute("type")) === "file";
      if (isFile) await typing.setInputFiles({ name: "typed", mimeType: "text/plain", buffer: Buffer.from("{}") });
      else await typing.fill(typed);
      for (const [way, leave] of WAYS) {
        await leave(page);
        await question(page).waitFor();
        await keepEditing(page);
        await question(page).waitFor({ state: "detached" });
        assert.ok((await typing.inputValue()).endsWith(typed), `${name}: ${way}`);
        await becomes(address, () => hash(page));
      }
      // beside it
      await page.mouse.click(5, 400);
      assert.ok((await typing.inputValue()).endsWith(typed), name);
      // reload, a closed tab
      page.unload = (asked) => asked.dismiss();
      const asked = page.waitForEvent("dialog");
      await page.evaluate(() => setTimeout(() => location.reload()));
      assert.equal((await asked).type(), "beforeunload", name);
      page.unload = null;
      assert.ok((await typing.inputValue()).endsWith(typed), name);

      await page.keyboard.press("Escape");
      await discard(page);
      await becomes(0, () => dialogs(page));
    }
    // what was not touched closes at once, and goes with its page
    await openDialog(page);
    await dialog(page).waitFor();
    if (typed === "77") {
      await dialog(page).getByLabel("Expires").selectOption("never");
    }
    await page.evaluate(() => history.back());
    await page.getByRole("heading", { name: "Stores", exact: true }).waitFor();
    await becomes(0, () => dialogs(page));
    await page.evaluate(() => history.forward());
    await page.getByRole("button", { name: "k", exact: true }).waitFor();
    // a record that was open is part of the address
    if (name.startsWith("k")) {
      await dialog(page).locator(".meta").waitFor();
      assert.equal(await hash(page), "#/store/orders?key=k");
      await page.keyboard.press("Escape");
    }
    await becomes(0, () => dialogs(page));
    assert.equal(await hash(page), "#/store/orders");
  }

  // a dialog that is still being fetched does not open over another page
  let answer;
  await page.route("**/stores/*", async (route) => {
    await new Promise((resolve) => (answer = resolve));
    await route.continue();
  });
  await choose(page, "orders", "Settings");
  await becomes(true, () => answer !== undefined);
  await page.evaluate(() => history.back());
  await page.getByRole("heading", { name: "Stores", exact: true }).waitFor();
  const fetched = page.waitForResponse("**/stores/*");
  answer();
  await fetched;
  await page.unroute("**/stores/*");
  await page.evaluate(() => new Promise((resolve) => setTimeout(resolve)));
  assert.equal(await dialogs(page), 0);
  await page.evaluate(() => history.forward());
  await page.getByRole("button", { name: "k", exact: true }).waitFor();

  // whoever means it gets where they wanted to go, and nothing is written
  await DIALOGS[1].open(page);
  await dialog(page).getByRole("textbox", { name: "Value" }).fill("2");
  await page.evaluate(() => history.back());
  await discard(page);
  await becomes(["", 0], async () => [await hash(page), await dialogs(page)]);
  await page.evaluate(() => history.forward());
  await page.getByRole("button", { name: "k", exact: true }).waitFor();
  assert.equal((await done("GET", "stores/orders/records/k")).body, "1");

  // a store that somebody renames while a record is open, and another that takes its name: the record is still the one that was opened
  await DIALOGS[1].open(page);
  await dialog(page).getByRole("textbox", { name: "Value" }).fill("3");
  await done("POST", "stores/orders/rename", { name: "sales" });
  await done("POST", "stores", { name: "orders" });
  await done("PUT", "stores/orders/records/k", '"another"');
  await dialog(page).getByRole("button", { name: "Save" }).click();
  await toast(page, "k was saved.");
  assert.deepEqual([(await done("GET", "stores/sales/records/k")).body, (await done("GET", "stores/orders/records/k")).body], ["3", '"another"']);
  await becomes("Stores / sales", () => page.locator("h1").textContent());
  assert.equal(await hash(page), "#/store/sales");

  // what takes long is not left without a word, and what is done meanwhile needs no answer
  let release;
  await page.route("**/record?key=k", async (route) => {
    if (route.request().method() === "PUT") await new Promise((resolve) => (release = resolve));
    await route.continue();
  });
  await page.route("**/record?key=k&*", async (route) => {
    await new Promise((resolve) => (release = resolve));
    await route.continue();
  });
  await DIALOGS[1].open(page);
  await dialog(page).getByRole("textbox", { name: "Value" }).fill("4");
  await dialog(page).getByRole("button", { name: "Save" }).click();
  await becomes(true, () => release !== undefined);
  await page.keyboard.press("Escape");
  await page.getByRole("dialog", { name: "Leave before it is done?" }).waitFor();
  release();
  await becomes(0, () => dialogs(page));
  assert.equal((await done("GET", "stores/sales/records/k")).body, "4");

  // so does what holds nothing but its own work
  let arrived;
  await page.route("**/import*", async (route) => {
    await new Promise((resolve) => (arrived = resolve));
    await route.continue();
  });
  await page.getByRole("button", { name: "Import" }).click();
  await dialog(page).getByLabel("File").setInputFiles({ name: "one.jsonl", mimeType: "text/plain", buffer: Buffer.from('{"key":"i","value":1}') });
  await dialog(page).getByRole("button", { name: "Import" }).click();
  await becomes(true, () => arrived !== undefined);
  await page.evaluate(() => history.back());
  await page.getByRole("dialog", { name: "Leave before it is done?" }).getByRole("button", { name: "Wait" }).click();
  arrived();
  await becomes(0, () => dialogs(page));
  assert.equal((await done("GET", "stores/sales/records/i")).body, "1");

  // a workflow that was typed and not linked is linked with the rest
  await choose(page, "sales", "Settings");
  await dialog(page).getByLabel("Workflow to link").fill("nightly");
  await dialog(page).getByRole("button", { name: "Save" }).click();
  await becomes(0, () => dialogs(page));
  assert.deepEqual(JSON.parse((await done("GET", "stores/sales/links")).body).workflows, ["nightly"]);
});
