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
  await dialog(page).getByRole("button", { name: "Set my expiry on theirs" }).click();
  await dialog(page).waitFor({ state: "detached" });
  assert.ok(Number((await done("GET", "stores/0/records/k")).headers.get("larder-ttl-ms")) > 1_000_000);
  assert.equal(await stored(), "2");

  // and only what was seen is deleted
  await page.getByRole("button", { name: "k", exact: true }).click();
  await dialog(page).locator(".meta").waitFor();
  await done("PUT", "stores/0/records/k", "3");
  await dialog(page).getByRole("button", { name: "Delete" }).click();
  await dialog(page).getByRole("button", { name: "Delete", exact: true }).click();
  await dialog(page).getByText("Somebody else changed this record").waitFor();
  assert.equal(await stored(), "3");
  await dialog(page).getByRole("button", { name: "Delete theirs" }).click();
  await toast(page, "k was deleted.");
  assert.equal((await api("GET", "stores/0/records/k")).status, 404);
  await done("PUT", "stores/0/records/k", "3");
  await becomes([], () => shownKeys(page));
  await page.getByRole("button", { name: "Refresh" }).click();

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

  // mine can be saved beside theirs
  await done("PUT", "stores/0/records/k", "1");
  await page.getByRole("button", { name: "Refresh" }).click();
  await edit(page, '"mine"');
  await done("PUT", "stores/0/records/k", '"theirs"');
  await save(page).click();
  await dialog(page).getByRole("button", { name: "Save mine as another record" }).click();
  assert.equal(await value(page).inputValue(), '"mine"');
  await dialog(page).getByLabel("Key", { exact: true }).fill("mine");
  await dialog(page).getByRole("button", { name: "Create", exact: true }).click();
  await toast(page, "mine was created.");
  assert.deepEqual([await stored(), (await done("GET", "stores/0/records/mine")).body], ['"theirs"', '"mine"']);

  // somebody else has created a record at the same key: mine goes over it, or theirs is opened
  for (const [choice, left] of [["Overwrite it with mine", '"mine"'], ["Discard mine, open that one", '"first"']]) {
    await done("PUT", "stores/0/records/new", '"first"');
    await page.getByRole("button", { name: "New record" }).click();
    await dialog(page).getByLabel("Key", { exact: true }).fill("new");
    await value(page).fill('"mine"');
    await dialog(page).getByRole("button", { name: "Create", exact: true }).click();
    await dialog(page).getByText("There is a record at this key already", { exact: true }).waitFor();
    await dialog(page).locator(".conflict pre", { hasText: '"first"' }).waitFor({ state: "attached" });
    await dialog(page).getByRole("button", { name: choice }).click();
    await becomes(left, async () => (await done("GET", "stores/0/records/new")).body);
    if (left === '"first"') {
      await dialog(page).locator(".meta").waitFor();
      assert.equal(await value(page).inputValue(), '"first"');
      await page.keyboard.press("Escape");
    }
    await dialog(page).waitFor({ state: "detached" });
    await done("DELETE", "stores/0/records/new");
  }

  // whatever the key and the values are: text, bytes, or too long to be shown
  const store = "stores/any";
  await done("POST", "stores", { name: "any", values: "any", "max-bytes": "1gb" });
  const key = { base64: "/wA=" };
  const base64 = { text: Buffer.from("a text").toString("base64"), bytes: "/////w==", long: Buffer.from("x".repeat(5 << 20)).toString("base64") };
  const put = (kind) => done("POST", `${store}/many/put`, { records: [{ key, value_base64: base64[kind] }] });
  const now = async () => JSON.parse((await done("POST", `${store}/many/get`, { keys: [key] })).body).records[0];
  await put("text");
  await page.goto(new URL("#/store/any", page.url()).href);
  for (const mine of ["text", "bytes"]) {
    for (const theirs of ["text", "bytes", "long", "deleted"]) {
      await put(mine);
      await page.getByRole("button", { name: "Refresh" }).click();
      await page.getByRole("button", { name: "\\xff\\x00", exact: true }).click();
      await dialog(page).locator(".meta").waitFor();
      const text = mine === "text" ? "what I typed" : "AAAA/w==";
      await value(page).fill(text);
      if (theirs === "deleted") await done("POST", `${store}/many/delete`, { keys: [key] });
      else await put(theirs);
      await save(page).click();
      await dialog(page).locator(".conflict").waitFor();
      assert.doesNotMatch(await dialog(page).locator(".conflict").textContent(), /false|undefined|null|NaN/, `${mine}, ${theirs}`);
      if (theirs === "deleted") {
        await dialog(page).getByRole("button", { name: "Create it again" }).click();
        await dialog(page).getByText("The key is: \\xff\\x00").waitFor();
        await dialog(page).getByRole("button", { name: "Create", exact: true }).click();
      } else {
        await dialog(page).getByRole("button", { name: "Overwrite theirs" }).click();
      }
      await dialog(page).waitFor({ state: "detached" });
      assert.equal((await now()).value_base64, mine === "text" ? Buffer.from(text).toString("base64") : text, `${mine}, ${theirs}`);
    }
  }

  // a store that is dropped: what was typed goes into another one
  await done("PUT", `${store}/records/k`, "1");
  await page.getByRole("button", { name: "Refresh" }).click();
  await edit(page, "[5]");
  await done("DELETE", store);
  await save(page).click();
  await dialog(page).getByText("The store is gone", { exact: true }).waitFor();
  await dialog(page).getByRole("button", { name: "Save mine in another store" }).click();
  await dialog(page).getByLabel("Store").selectOption("0");
  await dialog(page).getByLabel("Key", { exact: true }).fill("saved");
  await dialog(page).getByRole("button", { name: "Create", exact: true }).click();
  await toast(page, "saved was created.");
  assert.equal((await done("GET", "stores/0/records/saved")).body, "[5]");
  await done("POST", "stores", { name: "gone" });
  await page.goto(new URL("#/store/gone", page.url()).href);
  await page.getByRole("button", { name: "New record" }).first().click();
  await dialog(page).getByLabel("Key", { exact: true }).fill("saved too");
  await value(page).fill("[6]");
  await done("DELETE", "stores/gone");
  await dialog(page).getByRole("button", { name: "Create", exact: true }).click();
  await dialog(page).getByRole("alert").getByText("This store is gone").waitFor();
  await dialog(page).getByLabel("Store").selectOption("0");
  await dialog(page).getByRole("button", { name: "Create", exact: true }).click();
  await toast(page, "saved too was created.");
});
