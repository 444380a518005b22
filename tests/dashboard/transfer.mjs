// Export to a file, import from one.

import { readFile } from "node:fs/promises";
import { assert, becomes, dialog, done, inBrowser, shownKeys, toast } from "./browser.mjs";

async function importFile(page, content, keep = "") {
  await page.getByRole("button", { name: "Import" }).click();
  await dialog(page).getByLabel("File").setInputFiles({ name: "records.jsonl", mimeType: "application/x-ndjson", buffer: Buffer.from(content) });
  await dialog(page).getByLabel("already").selectOption(keep);
  await dialog(page).getByRole("button", { name: "Import" }).click();
}

async function exported(page, what) {
  await page.getByRole("button", { name: "Export" }).click();
  if (what !== undefined) await dialog(page).getByLabel("What").selectOption(what);
  const download = page.waitForEvent("download");
  await dialog(page).getByRole("button", { name: "Export" }).click();
  const file = await download;
  return { name: file.suggestedFilename(), text: await readFile(await file.path(), "utf8") };
}

await inBrowser(async (open) => {
  await done("POST", "stores", { name: "my odd/store", values: "any" });
  const store = "stores/my%20odd%2Fstore";
  const values = { a: "{ \"n\":\n 1.50 }", "b?": "\"ü\"", c: "12345678901234567890" };
  for (const [key, value] of Object.entries(values)) await done("PUT", `${store}/records/${encodeURIComponent(key)}`, value);
  await done("POST", `${store}/many/put`, { records: [{ key: { base64: "/w==" }, value_base64: "AP8=" }], ttl: 100_000 });
  const deadline = (text) => text.match(/"expires_at":(\d+)/)[1];

  const page = await open("#/store/my%20odd%2Fstore");
  const file = await exported(page);
  assert.equal(file.name, "my_odd_store.jsonl");
  assert.equal(file.text.split("\n").length, 5);
  await toast(page, "4 records of my odd/store were exported.");

  // it comes back byte for byte, with its deadlines
  await done("POST", `${store}/clear`, {});
  await page.getByRole("button", { name: "Refresh" }).click();
  await importFile(page, file.text);
  await toast(page, "4 records imported");
  await becomes(4, async () => (await shownKeys(page)).length);
  for (const [key, value] of Object.entries(values)) assert.equal((await done("GET", `${store}/records/${encodeURIComponent(key)}`)).body, value);
  const again = (await done("GET", `${store}/export`)).body;
  assert.equal(deadline(again), deadline(file.text));

  // only what begins with the prefix
  await page.getByLabel("Text to look for").fill("b");
  await becomes(["b?"], () => shownKeys(page));
  assert.equal((await exported(page)).text, "{\"key\":\"b?\",\"value\":\"ü\"}\n");
  assert.equal((await exported(page, "")).text.split("\n").length, 5);

  // records that are there can be kept; lines that are refused are told with their number
  await page.goto(new URL("#/store/5", page.url()).href);
  await done("PUT", "stores/5/records/there", "1");
  const lines = ['{"key":"there","value":2}', '{"key":"new","value":3}', '{"key":', '{"key":"text","value_text":"<p>"}', '{"key":"late","value":1,"expires_at":5}'];
  await importFile(page, lines.join("\n"), "true");
  await dialog(page).getByRole("alert").getByText("2 lines could not be imported").waitFor();
  await dialog(page).getByText("1 record imported, 1 kept as they were, 1 had expired, 2 lines refused").waitFor();
  const refused = await dialog(page).locator(".refusals li").allTextContents();
  assert.match(refused[0], /^Line 3: /);
  assert.match(refused[1], /^Line 4: .*JSON/);
  await dialog(page).getByRole("button", { name: "Close" }).last().click();
  assert.equal((await done("GET", "stores/5/records/there")).body, "1");
  await becomes(["new", "there"], () => shownKeys(page));
  await importFile(page, lines[0]);
  await toast(page, "5: 1 record imported.");
  assert.equal((await done("GET", "stores/5/records/there")).body, "2");

  // a file of several pieces, with a line that is longer than a piece; numbers of lines go through it all
  const padding = "x".repeat(1000);
  const many = Array.from({ length: 3000 }, (_, at) => JSON.stringify({ key: `m${at}`, value: padding }));
  many[1500] = JSON.stringify({ key: "long", value: "y".repeat(2_500_000) });
  many[2999] = "broken";
  await importFile(page, many.join("\n"));
  await dialog(page).getByText("Line 3,000: ").waitFor();
  assert.equal(JSON.parse((await done("GET", "stores/5")).body).records, 2 + 2999);
  assert.equal((await done("GET", "stores/5/records/long")).body.length, 2_500_002);

  // without a file there is nothing to do
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "Import" }).click();
  await dialog(page).getByRole("button", { name: "Import" }).click();
  await dialog(page).getByRole("alert").getByText("Choose a file first.").waitFor();
});
