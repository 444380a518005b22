// Records: add, see, edit, expire, select, delete; odd keys and values.

import { api, assert, becomes, dialog, discard, done, inBrowser, row, shownKeys, toast } from "./browser.mjs";

const value = (page) => dialog(page).getByRole("textbox", { name: "Value" });
const save = (page) => dialog(page).getByRole("button", { name: "Save" });
const stored = async (key) => (await done("GET", `stores/orders/records/${key}`)).body;
const left = async (key) => (await done("GET", `stores/orders/records/${key}`)).headers.get("larder-ttl-ms");

async function openRecord(page, key) {
  await page.getByRole("button", { name: key, exact: true }).click();
  await dialog(page).locator(".meta").waitFor();
}

await inBrowser(async (open) => {
  await done("POST", "stores", { name: "orders" });
  const page = await open("#/store/orders");
  await page.getByRole("heading", { name: "No records yet" }).waitFor();

  // what is no JSON is told with its place, and can't be saved
  await page.getByRole("button", { name: "New record" }).first().click();
  await dialog(page).getByLabel("Key").fill("a b/ü");
  await value(page).fill('{\n  "n": 1.50,\n  "x": tru\n}');
  await dialog(page).getByText("Not valid JSON: tru is no JSON value, line 3, column 8").waitFor();
  await dialog(page).getByRole("button", { name: "Create" }).click();
  await dialog(page).getByRole("alert").getByText("not valid JSON").waitFor();
  assert.equal(await value(page).evaluate((area) => area.selectionStart), 22);
  assert.equal((await api("GET", "stores/orders/records/a%20b%2F%C3%BC")).status, 404);

  // byte for byte as it was typed
  const text = '{ "n" : 1.50,\n  "big":12345678901234567890 }';
  await value(page).fill(text);
  await dialog(page).getByText("Valid JSON", { exact: true }).waitFor();
  await dialog(page).getByRole("button", { name: "Create" }).click();
  await toast(page, "a b/ü was created.");
  assert.equal(await stored("a%20b%2F%C3%BC"), text);
  await becomes(["a b/ü"], () => shownKeys(page));

  // a key that is taken
  await page.getByRole("button", { name: "New record" }).click();
  await dialog(page).getByLabel("Key").fill("a b/ü");
  await value(page).fill("1");
  await dialog(page).getByRole("button", { name: "Create" }).click();
  await dialog(page).getByRole("alert").getByText("There is a record at this key already").waitFor();
  await discard(page);
  assert.equal(await stored("a%20b%2F%C3%BC"), text);

  // to see a record changes nothing; names, strings, numbers have colours
  await openRecord(page, "a b/ü");
  assert.equal(await value(page).inputValue(), text);
  assert.deepEqual(await dialog(page).locator("pre .key").allTextContents(), ['"n"', '"big"']);
  assert.deepEqual(await dialog(page).locator("pre .number").allTextContents(), ["1.50", "12345678901234567890"]);
  assert.ok(await save(page).isDisabled());
  const facts = await dialog(page).locator(".meta").innerText();
  assert.match(facts, /Size\s+\d+ B\s+Stored\s+\d+ B\s+Ratio\s+\d\.\d\d×\s+Version\s+[0-9a-f]{8}-\d+/);

  // format and compact change blanks only
  await dialog(page).getByRole("button", { name: "Format" }).click();
  assert.equal(await value(page).inputValue(), '{\n  "n": 1.50,\n  "big": 12345678901234567890\n}');
  await dialog(page).getByRole("button", { name: "Compact" }).click();
  assert.equal(await value(page).inputValue(), '{"n":1.50,"big":12345678901234567890}');
  await save(page).click();
  await toast(page, "a b/ü was saved.");
  assert.equal(await stored("a%20b%2F%C3%BC"), '{"n":1.50,"big":12345678901234567890}');

  // an expiry alone leaves the value as it is, and the other way round
  await openRecord(page, "a b/ü");
  await dialog(page).getByLabel("Expires").selectOption("in");
  await dialog(page).getByLabel("How many").fill("2");
  await dialog(page).getByLabel("Unit").selectOption({ label: "days" });
  await save(page).click();
  await dialog(page).waitFor({ state: "detached" });
  assert.ok(Number(await left("a%20b%2F%C3%BC")) > 86_400_000);
  await row(page, "a b/ü").getByText("1 d 23 h").waitFor();
  await openRecord(page, "a b/ü");
  await value(page).fill("[1]");
  await save(page).click();
  await dialog(page).waitFor({ state: "detached" });
  assert.equal(await stored("a%20b%2F%C3%BC"), "[1]");
  assert.ok(Number(await left("a%20b%2F%C3%BC")) > 86_400_000);
  await openRecord(page, "a b/ü");
  await value(page).fill("[2]");
  await dialog(page).getByLabel("Expires").selectOption({ label: "Never" });
  await save(page).click();
  await dialog(page).waitFor({ state: "detached" });
  assert.deepEqual([await stored("a%20b%2F%C3%BC"), await left("a%20b%2F%C3%BC")], ["[2]", null]);

  // what is left is shown as it runs out, in the list and in a record
  await done("PUT", "stores/orders/records/soon?ttl=3000", "1");
  await page.getByRole("button", { name: "Refresh" }).click();
  const running = [row(page, "soon").locator(".ttl"), dialog(page).locator("#expiry option").first()];
  for (const shown of running) {
    if (shown === running[1]) await openRecord(page, "soon");
    const before = await shown.textContent();
    await shown.filter({ hasNotText: before }).waitFor({ state: "attached" });
  }
  await page.keyboard.press("Escape");

  // line ends that a text field doesn't know stay
  await done("PUT", "stores/orders/records/crlf", "{\r\n\"a\":1\r\n}");
  await page.getByRole("button", { name: "Refresh" }).click();
  await openRecord(page, "crlf");
  assert.ok(await save(page).isDisabled());
  await value(page).fill('{\n"a":2\n}');
  await save(page).click();
  await dialog(page).waitFor({ state: "detached" });
  assert.equal(await stored("crlf"), "{\r\n\"a\":2\r\n}");

  // one record is deleted, after a question
  await openRecord(page, "crlf");
  await dialog(page).getByRole("button", { name: "Delete" }).click();
  await dialog(page).getByRole("button", { name: "Cancel" }).click();
  await dialog(page).getByRole("button", { name: "Delete" }).click();
  await dialog(page).getByText("will be deleted from orders").waitFor();
  await dialog(page).getByRole("button", { name: "Delete", exact: true }).click();
  await toast(page, "crlf was deleted.");
  await becomes(["a b/ü", "soon"], () => shownKeys(page));

  // names are text, whatever they look like
  await done("POST", "stores", { name: "odd", values: "any" });
  const markup = "<img src=x onerror=alert(1)>";
  const records = [
    { key: markup, value: "<script>alert(2)</script>" },
    { key: { base64: "/wBr" }, value_base64: "iVBORwD/" },
    { key: "text", value_base64: Buffer.from("no JSON, just text").toString("base64") },
    { key: "", value: 1 },
    { key: "..", value: 2 },
  ];
  await done("POST", "stores/odd/many/put", { records });
  await page.goto(new URL("#/store/odd", page.url()).href);
  await becomes(["⟨empty key⟩", "..", markup, "text", "\\xff\\x00k"], () => shownKeys(page));
  assert.equal(await page.locator("main img, main script").count(), 0);
  await row(page, "\\xff").getByText("89 50 4e 47 00 ff").waitFor();

  // bytes that are no text: shown as bytes, edited in Base64
  await openRecord(page, "\\xff\\x00k");
  await dialog(page).getByText("000000  89 50 4e 47 00 ff").waitFor();
  await value(page).fill("not base64!");
  await save(page).click();
  await dialog(page).getByRole("alert").getByText("not Base64").waitFor();
  await value(page).fill("/v8=");
  await save(page).click();
  await dialog(page).waitFor({ state: "detached" });
  const many = await done("POST", "stores/odd/many/get", { keys: [{ base64: "/wBr" }] });
  assert.equal(JSON.parse(many.body).records[0].value_base64, "/v8=");

  // text that is no JSON, where a store takes it
  await openRecord(page, "text");
  await dialog(page).getByText("Text that is not JSON; this store takes it").waitFor();
  await value(page).fill("other text");
  await save(page).click();
  await dialog(page).waitFor({ state: "detached" });
  assert.equal((await done("GET", "stores/odd/records/text")).body, "other text");

  // odd keys are deleted from the list
  await page.getByLabel("Select ⟨empty key⟩").check();
  await page.getByLabel("Select ..", { exact: true }).check();
  await page.getByLabel("Select \\xff\\x00k").check();
  await page.getByText("3 records selected").waitFor();
  await page.getByRole("button", { name: "Delete …" }).click();
  await dialog(page).getByRole("button", { name: "Cancel" }).click();
  assert.equal((await shownKeys(page)).length, 5);
  await page.getByRole("button", { name: "Delete …" }).click();
  await dialog(page).getByRole("button", { name: "Delete 3 records" }).click();
  await toast(page, "3 records deleted.");
  await becomes([markup, "text"], () => shownKeys(page));

  // all at once, and a selection that is taken back
  await page.getByLabel("Select all on this page").check();
  await page.getByText("2 records selected").waitFor();
  await page.getByRole("button", { name: "Clear selection" }).click();
  assert.equal(await page.getByLabel("Select text").isChecked(), false);
});
