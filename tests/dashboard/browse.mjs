// Finding and understanding data: groups of keys, a record beside the list, the tree of a value, searches, what is done to all that
// were found, live changes, and many stores.

import { assert, becomes, dialog, done, inBrowser, row, shownKeys, toast } from "./browser.mjs";

const hash = (page) => page.evaluate(() => decodeURIComponent(location.hash));
const stored = async (key) => (await done("GET", `stores/shop/record?key=${encodeURIComponent(key)}`)).body;
const records = async () => JSON.parse((await done("GET", "stores/shop")).body).records;
const put = (records, more = {}) => done("POST", "stores/shop/many/put", { records, ...more });

await inBrowser(async (open) => {
  await done("POST", "stores", { name: "shop" });
  const user = (at) => ({ key: `user:${String(at).padStart(4, "0")}`, value: { number: at } });
  for (let at = 0; at < 2000; at += 1000) await put(Array.from({ length: 1000 }, (_, next) => user(at + next)));
  await put([
    { key: "order:2026:1", value: { id: 1, note: "first" } },
    { key: "order:2026:2", value: { note: "SECOND" } },
    { key: "order:2027:1", value: { note: "third", total: 12.5 } },
    { key: "version", value: 7 },
  ]);
  const page = await open("#/store/shop", { asTree: true });
  const group = (name) => page.getByRole("treeitem").filter({ hasText: name }).first();

  // groups have how many keys they have; each level is asked for when it is opened
  await becomes(["All records2,004", "order:3", "user:2,000", "version"], () => page.locator(".branches > [role=treeitem]").allTextContents());
  await group("order:").locator(".toggle").click();
  await becomes(["2026:2", "2027:1"], () => page.locator(".branches [role=group] > [role=treeitem]").allTextContents());
  await group("order:").locator(".line").first().click();
  await becomes(["order:2026:1", "order:2026:2", "order:2027:1"], () => shownKeys(page));
  assert.equal(await hash(page), "#/store/shop?prefix=order:");
  // by keyboard, with a level and back
  await page.locator("[role=treeitem][aria-selected=true]").focus();
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  await becomes(["order:2026:1", "order:2026:2"], () => shownKeys(page));
  await page.keyboard.press("ArrowRight");
  await page.getByRole("treeitem", { name: "1", exact: true }).first().waitFor();
  await page.getByLabel("Separator of the tree").selectOption("/");
  await becomes("no", async () => ((await page.locator(".branches > [role=treeitem]").count()) > 4 ? "no" : "few"));
  await page.getByLabel("Separator of the tree").selectOption(":");
  await becomes(4, () => page.locator(".branches > [role=treeitem]").count());

  // a record stands beside the list, which can still be used; its address can be sent to somebody
  await page.getByRole("button", { name: "order:2026:1", exact: true }).click();
  const record = page.getByRole("dialog", { name: "order:2026:1" });
  await record.locator(".meta").waitFor();
  assert.equal(await hash(page), "#/store/shop?prefix=order:2026:&key=order:2026:1");
  await page.reload();
  await record.locator(".meta").waitFor();
  await becomes(["order:2026:1", "order:2026:2"], () => shownKeys(page));
  await page.getByRole("button", { name: "order:2026:1", exact: true }).focus();
  await page.keyboard.press("ArrowDown");
  await page.getByRole("dialog", { name: "order:2026:2" }).locator(".meta").waitFor();
  await page.keyboard.press("ArrowUp");
  await record.locator(".meta").waitFor();

  // the value is laid out, and one place in it is changed; the rest stays byte for byte
  const line = (text) => record.locator(".row-line").filter({ hasText: text });
  await done("PUT", "stores/shop/record?key=order:2026:1", '{ "id":12345678901234567890,\n"list":[1,  {"x y":"a"}], "note":"first" }');
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "order:2026:1", exact: true }).click();
  await line('"id": 12345678901234567890').waitFor();
  await line('"x y"').locator(".text").click();
  assert.equal(await record.locator(".path").textContent(), '$.list[1]["x y"]');
  await record.getByRole("button", { name: "Edit …" }).click();
  const field = page.getByRole("dialog", { name: '$.list[1]["x y"]' });
  await field.getByRole("textbox", { name: "New value" }).fill("no JSON");
  await field.getByRole("button", { name: "Save" }).click();
  await field.getByRole("alert").getByText("is no JSON value").waitFor();
  await field.getByRole("textbox", { name: "New value" }).fill("98765432109876543210");
  await field.getByRole("button", { name: "Save" }).click();
  await line('"x y": 98765432109876543210').waitFor();
  assert.equal(await stored("order:2026:1"), '{ "id":12345678901234567890,\n"list":[1,  {"x y":98765432109876543210}], "note":"first" }');
  // only over what was seen
  await line('"note"').locator(".text").click();
  await done("PUT", "stores/shop/record?key=order:2026:1", '{"note":"theirs"}');
  await record.getByRole("button", { name: "Remove …" }).click();
  await dialog(page).getByRole("button", { name: "Remove", exact: true }).click();
  await dialog(page).getByRole("alert").getByText("Somebody else changed this record").waitFor();
  assert.equal(await stored("order:2026:1"), '{"note":"theirs"}');
  await page.keyboard.press("Escape");
  await page.keyboard.press("Escape");

  // lines fold, are found, and the text is one click away
  await done("PUT", "stores/shop/record?key=big", JSON.stringify({ rows: Array.from({ length: 3000 }, (_, id) => ({ id, name: `row ${id}` })) }));
  await page.goto(new URL("#/store/shop?key=big", page.url()).href);
  const big = page.getByRole("dialog", { name: "big" });
  await big.locator(".meta").waitFor();
  await big.getByText("3,000 items").waitFor();
  assert.ok((await big.locator(".row-line").count()) < 200);
  await big.getByLabel("Find in the value").fill("row 2999");
  await big.locator(".row-line.found").getByText('"row 2999"').waitFor();
  await big.getByText("1 lines").waitFor();
  await big.getByRole("button", { name: "Text", exact: true }).click();
  assert.match(await big.getByRole("textbox", { name: "Value" }).inputValue(), /^{"rows":\[{"id":0,/);
  await page.reload();
  await big.getByRole("textbox", { name: "Value" }).waitFor();
  await page.keyboard.press("Escape");
  await becomes("#/store/shop", () => hash(page));

  // ways to look for records
  const way = (name) => page.getByLabel("Look for", { exact: true }).selectOption(name);
  await page.keyboard.press("/");
  const find = page.getByLabel("Text to look for");
  assert.ok(await find.evaluate((input) => input === document.activeElement));
  for (const [name, text, keys] of [
    ["key_matches", "order:*:1", ["order:2026:1", "order:2027:1"]],
    ["key_regex", "^order:\\d+:2$", ["order:2026:2"]],
    ["contains", "SECOND", ["order:2026:2"]],
    ["icontains", "second", ["order:2026:2"]],
    ["equals", " 7.0 ", ["version"]],
    ["jsonpath", "$[?(@ == 12.5)]", ["order:2027:1"]],
  ]) {
    await way(name);
    await find.fill(text);
    await becomes(keys, () => shownKeys(page));
    assert.ok((await hash(page)).includes(`${name}=`), name);
  }
  await find.fill("$[");
  await page.getByRole("alert").getByText("jsonpath").waitFor();
  // a search within a group, which survives a reload
  await way("icontains");
  await find.fill("TH");
  await group("order:").locator(".line").first().click();
  await becomes(["order:2026:1", "order:2027:1"], () => shownKeys(page));
  await page.reload();
  await becomes(["order:2026:1", "order:2027:1"], () => shownKeys(page));
  await page.getByRole("button", { name: "Search everywhere" }).click();
  await becomes("#/store/shop?icontains=TH", () => hash(page));

  // all that were found expire, are exported, are deleted: as many as were counted
  const all = async (entry) => {
    await page.getByLabel("More").click();
    await page.getByRole("button", { name: entry }).click();
  };
  await page.goto(new URL("#/store/shop?prefix=user:1", page.url()).href);
  await becomes(100, async () => (await shownKeys(page)).length);
  await all("Set an expiry …");
  await dialog(page).getByText("1,000 records will get this expiry.").waitFor();
  await dialog(page).getByRole("button", { name: "Set it" }).click();
  await toast(page, "1,000 records will expire.");
  assert.equal(JSON.parse((await done("GET", "stores/shop")).body).expiring, 1000);
  await all("Export these …");
  await dialog(page).getByText("1,000 records will be saved").waitFor();
  const download = page.waitForEvent("download");
  await dialog(page).getByRole("button", { name: "Export", exact: true }).click();
  assert.equal((await download).suggestedFilename(), "shop.jsonl");
  await all("Delete these …");
  const remove = dialog(page).getByRole("button", { name: "Delete them" });
  await dialog(page).getByText("1,000 records will be deleted").waitFor();
  assert.ok(await remove.isDisabled());
  await dialog(page).getByLabel("Type 1000 to confirm").fill("999");
  assert.ok(await remove.isDisabled());
  const before = await records();
  await done("PUT", "stores/shop/record?key=user:1new", "1");
  await dialog(page).getByLabel("Type 1000 to confirm").fill("1000");
  await remove.click();
  await toast(page, "1,000 records deleted.");
  await becomes(["user:1new"], () => shownKeys(page));
  assert.equal(await records(), before - 1000 + 1);

  // a list and a record that follow what happens
  await page.getByRole("button", { name: "Live" }).click();
  await page.locator(".live[aria-pressed=true]:not(.broken)").waitFor();
  await done("PUT", "stores/shop/record?key=user:1newer", '"one"');
  await becomes(["user:1new", "user:1newer"], () => shownKeys(page));
  await page.getByRole("button", { name: "user:1newer", exact: true }).click();
  const live = page.getByRole("dialog", { name: "user:1newer" }).getByRole("textbox", { name: "Value" });
  await becomes('"one"', () => live.inputValue());
  await done("PUT", "stores/shop/record?key=user:1newer", '"two"');
  await becomes('"two"', () => live.inputValue());
  // what somebody types is not replaced
  await live.fill('"mine"');
  await done("PUT", "stores/shop/record?key=user:1newer", '"three"');
  await row(page, "user:1newer").getByText('"three"').waitFor();
  assert.equal(await live.inputValue(), '"mine"');
  await page.keyboard.press("Escape");
  await dialog(page).getByRole("button", { name: "Discard" }).click();
  await page.getByRole("button", { name: "Live" }).click();

  // columns are chosen, and stay so
  await page.getByLabel("More").click();
  await page.getByLabel("Size", { exact: true }).uncheck();
  await page.reload();
  await page.getByRole("columnheader", { name: "Value" }).waitFor();
  assert.equal(await page.getByRole("columnheader", { name: "Size" }).count(), 0);

  // many stores: found, ordered, in groups; those of numbers are reached
  for (let at = 0; at < 12; at += 1) await done("POST", "stores", { name: `team-${at}` });
  await page.goto(new URL("#/", page.url()).href);
  const names = () => page.locator(".stores tbody th a").allTextContents();
  await becomes(["shop", ...Array.from({ length: 12 }, (_, at) => `team-${at}`)], names);
  await page.getByRole("button", { name: "Store", exact: true }).click();
  await becomes("shop", async () => (await names()).at(-1));
  await page.getByLabel("Look for a store").fill("team-1");
  await becomes(["team-11", "team-10", "team-1"], names);
  await page.getByLabel("In groups").check();
  await page.getByText("3 stores").waitFor();
  await page.reload();
  await becomes(["team-11", "team-10", "team-1"], names);
  await page.getByLabel("Open a numbered store").selectOption("9");
  await page.getByRole("heading", { name: "No records yet" }).waitFor();
  assert.equal(await hash(page), "#/store/9");

  // bytes that are packed or serialized are read
  await done("POST", "stores", { name: "blobs", values: "any" });
  const blob = (key, bytes) => ({ key, value_base64: Buffer.from(bytes).toString("base64") });
  await done("POST", "stores/blobs/many/put", { records: [blob("msgpack", [0x82, 0xa1, 0x61, 0x01, 0xa1, 0x62, 0xc4, 1, 0xff]), blob("php", Buffer.from('a:1:{s:1:"a";i:1;}'))] });
  for (const [key, name, text] of [["msgpack", "MessagePack", '"a": 1'], ["php", "PHP", '"a": 1']]) {
    await page.goto(new URL(`#/store/blobs?key=${key}`, page.url()).href);
    await page.getByRole("dialog", { name: key }).getByLabel(`Read as ${name}`).getByText(text).waitFor();
  }
});
