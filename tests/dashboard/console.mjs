// The console: completion, help, typed replies, history, questions before what is harmful.

import { assert, dialog, done, inBrowser } from "./browser.mjs";

await inBrowser(async (open) => {
  const page = await open("#/console");
  const line = page.getByRole("combobox", { name: "Command" });
  const log = page.getByRole("log");
  const last = log.locator(".entry").last();
  const entries = () => log.locator(".entry").count();
  const type = async (text) => {
    const before = await entries();
    await line.fill(text);
    await page.keyboard.press("Escape");
    await page.keyboard.press("Enter");
    await log.locator(".entry").nth(before).waitFor();
  };
  await line.waitFor();

  // completion and help
  await line.pressSequentially("json.ge");
  await page.getByRole("option", { name: "JSON.GET" }).waitFor();
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  assert.equal(await line.inputValue(), "JSON.GET ");
  await page.locator("#help").getByText("since").waitFor();
  await line.fill("config s");
  await page.getByRole("option", { name: "CONFIG SET" }).waitFor();
  await page.keyboard.press("Tab");
  assert.equal(await line.inputValue(), "CONFIG SET ");

  // replies of each kind
  await type(`SET doc '{"name": "<i>Ann</i>", "big": 12345678901234567890}'`);
  await last.getByText("OK", { exact: true }).waitFor();
  await type("GET doc");
  await last.locator(".json").getByText("12345678901234567890").waitFor();
  await last.getByText("<i>Ann</i>").waitFor();
  await type("GET none");
  await last.getByText("(nil)").waitFor();
  await type("STRLEN doc");
  await last.getByText("(integer)").waitFor();
  await type("NOTHING");
  await last.locator(".error").getByText("unknown command").waitFor();
  await type("CONFIG GET max*");
  await last.locator("ol.map .name").getByText("maxclients", { exact: true }).waitFor();
  await last.locator("summary").first().click();
  await last.getByText("maxclients", { exact: true }).waitFor({ state: "hidden" });
  await type("SUBSCRIBE news");
  await last.getByText("works on a connection").waitFor();
  await type("GET 'open");
  await last.getByText("a quote is not closed").waitFor();

  // the store is that of the page, and SELECT changes it
  await page.getByRole("combobox", { name: "Store" }).selectOption("3");
  await type("GET doc");
  await last.getByText("(nil)").waitFor();
  await type("SELECT 0");
  assert.equal(await page.getByRole("combobox", { name: "Store" }).inputValue(), "0");

  // what is harmful is asked for, and a key that is pressed by mistake does nothing
  await line.fill("FLUSHDB");
  await page.keyboard.press("Escape");
  await page.keyboard.press("Enter");
  await dialog(page).getByText("FLUSHDB", { exact: true }).waitFor();
  await page.keyboard.press("Enter");
  await dialog(page).waitFor({ state: "detached" });
  assert.equal((await done("GET", "stores/0/records/doc")).status, 200);
  await page.keyboard.press("Enter");
  await dialog(page).getByRole("button", { name: "Run it" }).click();
  await last.getByText("FLUSHDB").waitFor();
  await last.getByText("OK", { exact: true }).waitFor();

  // earlier lines come back, also after a reload; those with secrets don't
  await line.fill("ACL SETUSER ann >hush");
  await page.keyboard.press("Escape");
  await page.keyboard.press("Enter");
  await dialog(page).getByRole("button", { name: "Run it" }).click();
  await last.getByText("ACL SETUSER …").waitFor();
  await page.reload();
  await line.waitFor();
  await page.keyboard.press("ArrowUp");
  assert.equal(await line.inputValue(), "FLUSHDB");
  await page.keyboard.press("ArrowUp");
  assert.equal(await line.inputValue(), "SELECT 0");
  assert.ok(!(await page.evaluate(() => JSON.stringify(localStorage))).includes("hush"));
});
