// What the server is doing: charts, slow log, clients; colours; a server that is gone.

import { assert, becomes, connection, dialog, done, inBrowser, row, toast } from "./browser.mjs";

await inBrowser(async (open) => {
  const page = await open();
  const go = (name) => page.getByRole("navigation", { name: "Sections" }).getByRole("link", { name }).click();

  // charts get their lines from what happens
  await go("Activity");
  const line = (chart, series) => page.getByRole("figure").filter({ has: page.getByRole("heading", { name: chart }) }).locator(`path.s${series}`);
  await page.getByRole("heading", { name: "Memory" }).waitFor();
  await becomes(true, async () => {
    await done("PUT", "stores/0/records/a", "1");
    await done("GET", "stores/0/records/a");
    return /L/.test(await line("Response time", 0).getAttribute("d"));
  });
  // who writes waits for the disk: what is told is what a client measures, and so not less than a sync takes
  const waited = await page.getByRole("figure").filter({ has: page.getByRole("heading", { name: "Response time" }) }).locator(".figure").first().textContent();
  assert.match(waited, /µs|ms|s$/);
  await page.getByText("the wait for the disk").waitFor();
  for (const chart of ["Commands per second", "Memory", "Bytes per second"]) await becomes(true, async () => /L/.test(await line(chart, 0).getAttribute("d")));
  assert.match(await page.locator(".facts").innerText(), /Running for[\s\S]*Clients[\s\S]*On disk/);
  await page.getByRole("img", { name: "Memory" }).hover();
  await page.getByText(/\d s ago/).waitFor();

  // the slow log; nothing is slow but what is meant to be, however busy the machine
  const client = await connection();
  await client.send("CLIENT SETNAME <i>slow</i>");
  await client.send("CONFIG SET slowlog-log-slower-than 3600000000");
  await client.send("SLOWLOG RESET");
  await go("Slow log");
  await page.getByRole("heading", { name: "Nothing was slow" }).waitFor();
  await client.send("CONFIG SET slowlog-log-slower-than 0");
  await client.send("SET <b>k</b> 1");
  await client.send("CONFIG SET slowlog-log-slower-than 3600000000");
  await page.getByRole("button", { name: "Refresh" }).click();
  await row(page, "SET <b>k</b> 1").getByText("<i>slow</i>").waitFor();
  await page.getByRole("button", { name: "Clear …" }).click();
  await dialog(page).getByRole("button", { name: "Clear", exact: true }).click();
  await toast(page, "The slow log is empty.");
  await page.getByRole("heading", { name: "Nothing was slow" }).waitFor();

  // nothing that the dashboard does by itself is slow, whatever is; what its user has it do may be
  await client.send("CONFIG SET slowlog-log-slower-than 0");
  await client.send("SLOWLOG RESET");
  for (const [name, heading] of [["Stores", "Stores"], ["Activity", "Memory"], ["Clients", "Clients"], ["Slow log", "Slow log"]]) {
    await go(name);
    await page.getByRole("heading", { name: heading, exact: true }).waitFor();
    await page.locator("main .loading").waitFor({ state: "detached" });
  }
  await page.goto(new URL("#/store/0", page.url()).href);
  await page.getByRole("button", { name: "a", exact: true }).waitFor();
  await page.reload();
  await page.getByRole("button", { name: "a", exact: true }).waitFor();
  const slow = async () => JSON.parse((await done("GET", "slowlog", undefined, { "Larder-Watching": "true" })).body).entries.map(({ command }) => command[0]);
  assert.deepEqual(new Set(await slow()), new Set(["SLOWLOG"]));
  await page.getByLabel("Look for", { exact: true }).selectOption("contains");
  await page.getByLabel("Text to look for").fill("nowhere");
  await page.getByRole("heading", { name: "Nothing found" }).waitFor();
  await becomes(true, async () => (await slow()).includes("STORE"));
  await client.send("CONFIG SET slowlog-log-slower-than 3600000000");
  await client.send("SLOWLOG RESET");

  // connections, with the name of their store
  await done("POST", "stores", { name: "orders" });
  await client.send("SELECT orders");
  await go("Clients");
  const cells = row(page, "<i>slow</i>").getByRole("cell");
  await becomes(["<i>slow</i>", "default", "orders", "select"], async () => {
    const texts = await cells.allTextContents();
    return [texts[0], texts[2], texts[3], texts[4]];
  });
  await client.close();
  await page.getByRole("button", { name: "Refresh" }).click();
  await page.getByRole("heading", { name: "Nobody is connected" }).waitFor();

  // colours: as the system, light, dark; what was chosen stays
  const paper = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await paper();
  await page.emulateMedia({ colorScheme: "dark" });
  const dark = await paper();
  assert.notEqual(light, dark);
  await page.getByRole("button", { name: "Colours: as the system" }).click();
  assert.equal(await paper(), light);
  await page.reload();
  await page.getByRole("button", { name: "Colours: light" }).click();
  await page.emulateMedia({ colorScheme: "light" });
  assert.equal(await paper(), dark);
  await page.getByRole("button", { name: "Colours: dark" }).click();
  assert.equal(await paper(), light);

  // a server that doesn't answer, and does again
  await page.context().setOffline(true);
  await go("Stores");
  await page.getByRole("alert").getByText("The server does not answer").waitFor();
  await page.context().setOffline(false);
  await page.getByRole("button", { name: "Try again" }).click();
  await row(page, "orders").waitFor();

  // addresses that are none, that of what every object has among them
  for (const name of ["nonsense", "constructor", "__proto__"]) {
    await page.goto(new URL("#/", page.url()).href);
    await row(page, "orders").waitFor();
    await page.goto(new URL(`#/${name}`, page.url()).href);
    await page.getByRole("heading", { name: "There is nothing here" }).waitFor();
  }
});
