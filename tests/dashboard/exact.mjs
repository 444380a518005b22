// What has to be seen exactly is: keys, values and names whose characters can't be seen, or can't stand in an address or a field.

import { api, assert, becomes, choose, dialog, done, inBrowser, row, shownKeys, toast } from "./browser.mjs";

const value = (page) => dialog(page).getByRole("textbox", { name: "Value" });
const save = (page) => dialog(page).getByRole("button", { name: "Save" });
const base64 = (text) => Buffer.from(text).toString("base64");

/** Keys that would look like another one, or like none; and how they are shown. */
const KEYS = [
  ["", "⟨empty key⟩"],
  [" ", "⟨space⟩"],
  ["  ", "⟨2 spaces⟩"],
  [" a", "⟨space⟩a"],
  [".", "."],
  ["..", ".."],
  ["__proto__", "__proto__"],
  ["a", "a"],
  ["a b", "a b"],
  ["a  b", "a⟨2 spaces⟩b"],
  ["a ", "a⟨space⟩"],
  ["a\t", "a⟨tab⟩"],
  ["a\n", "a⟨line feed⟩"],
  ["a\r\n", "a⟨carriage return⟩⟨line feed⟩"],
  ["a\u00a0b", "a⟨U+00A0⟩b"],
  ["a\u00ad", "a⟨U+00AD⟩"],
  ["a\u200b", "a⟨U+200B⟩"],
  ["a\u202eb", "a⟨U+202E⟩b"],
  ["a\u2066b\u2069", "a⟨U+2066⟩b⟨U+2069⟩"],
  ["a\ufeff", "a⟨U+FEFF⟩"],
  ["a\u3164", "a⟨U+3164⟩"],
  ["a\u0000", "a⟨U+0000⟩"],
  ["a⟨tab⟩", "a⟨U+27E8⟩tab⟩"],
  ["\\x00", "\\x00"],
  ["constructor", "constructor"],
  ["e\u0301", "e⟨U+0301⟩"],
  ["toString", "toString"],
  ["é", "é"],
  ["घी", "घी"],
  ["\u{e0041}x", "⟨U+E0041⟩x"],
];

await inBrowser(async (open) => {
  await done("POST", "stores", { name: "odd", values: "any" });
  const records = KEYS.map(([key], at) => ({ key, value: at }));
  await done("POST", "stores/odd/many/put", { records: [...records, { key: { base64: base64(Buffer.from([0xff, 0x5c, 0x61])) }, value: 99 }] });
  const page = await open("#/store/odd");
  await becomes([...KEYS.map(([, shown]) => shown), "\\xff\\x5ca"].sort(), async () => (await shownKeys(page)).sort());

  // each can be opened, is named in full, changed and deleted
  for (const [at, [key, shown]] of KEYS.entries()) {
    await page.getByRole("button", { name: shown, exact: true }).click();
    await dialog(page).locator(".meta").waitFor();
    assert.equal(await dialog(page).locator("h2").textContent(), shown);
    assert.equal(await value(page).inputValue(), String(at));
    await value(page).fill(`"${at}"`);
    if (at % 2) await dialog(page).getByLabel("Expires").selectOption("in");
    await save(page).click();
    await dialog(page).waitFor({ state: "detached" });
    const told = await done("GET", `stores/odd/record?key=${encodeURIComponent(key)}`);
    assert.deepEqual([told.body, told.headers.has("larder-ttl-ms")], [`"${at}"`, at % 2 === 1], shown);
  }
  await page.getByRole("button", { name: "..", exact: true }).click();
  await dialog(page).getByRole("button", { name: "Delete" }).click();
  await dialog(page).getByRole("button", { name: "Delete", exact: true }).click();
  await toast(page, ".. was deleted.");

  // a new one is shown before it is created; any can be given in Base64
  await page.getByRole("button", { name: "New record" }).click();
  await value(page).fill("1");
  await dialog(page).getByRole("button", { name: "Create" }).click();
  await dialog(page).getByRole("alert").getByText("the empty key").waitFor();
  await dialog(page).getByLabel("Key").fill("new\u200b");
  await dialog(page).getByText("The key is: new⟨U+200B⟩").waitFor();
  await dialog(page).getByLabel("in Base64").check();
  await dialog(page).getByLabel("Key", { exact: true }).fill(base64("a\rb"));
  await dialog(page).getByText("The key is: a⟨carriage return⟩b").waitFor();
  await dialog(page).getByRole("button", { name: "Create" }).click();
  await toast(page, "a⟨carriage return⟩b was created.");
  assert.equal(JSON.parse((await done("POST", "stores/odd/many/get", { keys: ["a\rb"] })).body).records[0].value, 1);

  // half of a character is refused, wherever it is typed, instead of being made another
  await page.getByRole("button", { name: "New record" }).click();
  await dialog(page).getByLabel("Key", { exact: true }).fill("half");
  const type = (field, text) => field.evaluate((element, text) => {
    // what Playwright sends is no longer half
    element.value = text.replace("HALF", "\ud83d");
    element.dispatchEvent(new Event("input"));
  }, text);
  await type(value(page), '"HALF"');
  await dialog(page).getByText("half of a character").waitFor();
  await dialog(page).getByRole("button", { name: "Create" }).click();
  await dialog(page).getByRole("alert").getByText("half of a character").waitFor();
  await value(page).fill("1");
  await type(dialog(page).getByLabel("Key", { exact: true }), "halfHALF");
  await dialog(page).getByRole("button", { name: "Create" }).click();
  await dialog(page).getByRole("alert").getByText("only half of one").waitFor();
  assert.equal((await api("GET", "stores/odd/record?key=half")).status, 404);
  await page.keyboard.press("Escape");
  await dialog(page).getByRole("button", { name: "Discard" }).click();

  // what a text field can't hold comes back as it was; what was not touched is not changed
  const contents = [
    ["mixed", '{\r\n"a": 1,\n"b": 2,\r"c": 3}', "There are line ends"],
    ["returns", "[1,\r2]"],
    ["crlf", "[1,\r\n2]"],
    ["sign", '"↵"\r'],
    ["text", "a\r\nb\n↵ \u200b\u202e\0"],
    ["mark", "\ufeff[1]"],
    ["escapes", '["\\ud83d", "\\u0000", "\\u200b"]'],
    ["last", "[1]\n\n"],
  ];
  for (const [key, text] of contents) await done("POST", "stores/odd/many/put", { records: [{ key, value_base64: base64(text) }] });
  const stored = async (key) => (await done("GET", `stores/odd/records/${key}`)).body;
  await page.getByRole("button", { name: "Refresh" }).click();
  for (const [key, text] of contents) {
    await page.getByRole("button", { name: key, exact: true }).click();
    await dialog(page).locator(".meta").waitFor();
    const shown = await value(page).inputValue();
    await value(page).press("Control+End");
    await page.keyboard.type(" ");
    await save(page).click();
    await dialog(page).waitFor({ state: "detached" });
    const bytes = Buffer.from(await (await fetch(new URL(`api/v1/stores/odd/records/${key}`, page.url()))).arrayBuffer());
    assert.equal(bytes.toString(), `${text} `, `${key}: ${shown}`);
  }
  await page.getByRole("button", { name: "mixed", exact: true }).click();
  await dialog(page).getByText("↵ stands for a carriage return").waitFor();
  assert.equal(await value(page).inputValue(), '{↵\n"a": 1,\n"b": 2,↵"c": 3} ');
  await dialog(page).getByText("Valid JSON", { exact: true }).waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "crlf", exact: true }).click();
  await dialog(page).getByText("The lines end with CR LF").waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "text", exact: true }).click();
  await dialog(page).getByText("There are 3 characters that can’t be seen; the first is U+200B in line 3, column 3.").waitFor();
  await page.keyboard.press("Escape");

  // what a field of one line leaves out of a text that is pasted, it says
  await page.getByRole("button", { name: "New record" }).click();
  await dialog(page).getByLabel("Key", { exact: true }).evaluate((field) => {
    const clipboardData = new DataTransfer();
    clipboardData.setData("text/plain", "a\nb");
    field.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true }));
  });
  await toast(page, "The line breaks were left out");
  await page.keyboard.press("Escape");

  // a deadline that no calendar has
  await done("PUT", "stores/odd/record?key=far&ttl_ms=9000000000000000000", "1");
  await page.getByRole("button", { name: "Refresh" }).click();
  await row(page, "far").getByText("years").waitFor();
  await page.getByRole("button", { name: "far", exact: true }).click();
  await dialog(page).locator(".meta").waitFor();
  await becomes("In 285M years (after the year 275760)", () => dialog(page).locator("#expiry option").first().textContent());
  await page.keyboard.press("Escape");

  // stores whose names can't stand in an address, or look like another's; what is in one is its own
  for (const name of [".", "..", "constructor", "__proto__", "toString", "a b", "a\u00a0b", "a\u200bb", "a/b?c#d%", "undefined"]) {
    await done("POST", "stores", { name });
    await page.goto(new URL("#/", page.url()).href);
    await page.reload();
    const shown = name.replace("\u00a0", "⟨U+00A0⟩").replace("\u200b", "⟨U+200B⟩");
    await page.getByRole("link", { name: shown, exact: true }).click();
    await becomes(`Stores / ${shown}`, () => page.locator("h1").textContent());
    await page.reload();
    await page.getByRole("heading", { name: "No records yet" }).waitFor();
    await page.getByRole("button", { name: "New record" }).first().click();
    await dialog(page).getByLabel("Key", { exact: true }).fill("k");
    await value(page).fill(JSON.stringify(name));
    await dialog(page).getByRole("button", { name: "Create" }).click();
    await becomes(["k"], () => shownKeys(page));
    await choose(page, shown, "Settings");
    await dialog(page).getByLabel("Records at most").fill("10");
    for (const workflow of [".", "..", "w/x"]) {
      await dialog(page).getByLabel("Workflow to link").fill(workflow);
      await page.keyboard.press("Enter");
      await dialog(page).getByRole("button", { name: `Unlink ${workflow}`, exact: true }).click();
      await dialog(page).getByText("none", { exact: true }).waitFor();
    }
    await dialog(page).getByRole("button", { name: "Save" }).click();
    await page.getByRole("meter", { name: "Records" }).waitFor();
    await choose(page, shown, "Drop");
    const { number } = JSON.parse((await done("GET", "stores")).body).stores.find((store) => store.name === name);
    assert.equal(JSON.parse((await done("GET", `stores/${number}/record?key=k`)).body), name);
    await dialog(page).getByLabel(/^Type/).fill(/[\u00a0\u200b]/.test(name) ? String(number) : name);
    await dialog(page).getByRole("button", { name: "Drop store" }).click();
    await toast(page, `${shown} was dropped.`);
  }

  // addresses that name no page, or no store
  for (const address of ["store", "store/", "store/odd/more", "activity/more", "toString", "hasOwnProperty", "%", "store/%"]) {
    await page.goto(new URL("#/", page.url()).href);
    await row(page, "odd").waitFor();
    await page.goto(new URL(`#/${address}`, page.url()).href);
    await page.getByRole("heading", { name: "There is nothing here" }).waitFor();
  }
  await page.goto(new URL("#/store/toString", page.url()).href);
  await page.getByRole("heading", { name: "There is no store toString" }).waitFor();
});
