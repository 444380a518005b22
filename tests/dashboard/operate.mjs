// Users, settings, connections, the last hour, where the space went.

import { assert, becomes, connection, dialog, done, inBrowser, row, toast } from "./browser.mjs";

await inBrowser(async (open) => {
  const page = await open("#/accounts");
  const client = await connection();

  // users are added, changed and removed
  await row(page, "default").getByText("(you)").waitFor();
  await page.getByRole("button", { name: "Add a user …" }).click();
  await dialog(page).getByLabel("Name").fill("bob");
  await dialog(page).getByLabel("Password").fill("sesame");
  await dialog(page).getByLabel("Rules").fill("~a:* +get");
  await dialog(page).getByRole("button", { name: "Add" }).click();
  await toast(page, "is added");
  await row(page, "bob").getByText("1 password").waitFor();
  await row(page, "bob").getByRole("button", { name: "Change bob" }).click();
  await dialog(page).getByLabel("Rules").fill("~a:* +nothing");
  await dialog(page).getByRole("button", { name: "Save" }).click();
  await dialog(page).getByRole("alert").waitFor();
  await dialog(page).getByLabel("Rules").fill("~b:* +@read");
  await dialog(page).getByRole("button", { name: "Save" }).click();
  await row(page, "bob").getByText("~b:*").waitFor();
  assert.match(await client.send("AUTH bob sesame"), /\+OK/);
  assert.match(await client.send("GET a:1"), /NOPERM/);
  await page.getByRole("button", { name: "Remove bob" }).click();
  await dialog(page).getByRole("button", { name: "Remove" }).click();
  await row(page, "bob").waitFor({ state: "detached" });

  // a setting is found, read about and changed
  const go = (name) => page.getByRole("navigation", { name: "Sections" }).getByRole("link", { name }).click();
  await go("Settings");
  await page.getByLabel("Find a setting").fill("slowlog-log");
  await page.getByText("1 setting").waitFor();
  await page.getByRole("button", { name: "Change slowlog-log-slower-than" }).click();
  await dialog(page).getByRole("textbox").fill("much");
  await dialog(page).getByRole("button", { name: "Change" }).click();
  await dialog(page).getByRole("alert").waitFor();
  await dialog(page).getByRole("textbox").fill("777");
  await dialog(page).getByRole("button", { name: "Change" }).click();
  await page.locator(".server-settings .value").getByText("777").waitFor();

  // a connection is ended
  const other = await connection();
  await other.send("CLIENT SETNAME victim");
  await go("Clients");
  await row(page, "victim").getByRole("button", { name: "End victim" }).click();
  await dialog(page).getByRole("button", { name: "End it" }).click();
  await toast(page, "The connection is ended.");
  await row(page, "victim").waitFor({ state: "detached" });

  // the last hour, day and week, and where the space went
  await done("PUT", "stores/0/records/a", "1");
  await page.goto(new URL("#/activity?last=day", page.url()).href);
  await page.getByRole("button", { name: "Day" }).and(page.locator("[aria-pressed=true]")).waitFor();
  await page.getByRole("button", { name: "Hour" }).click();
  const hour = page.getByRole("figure").filter({ has: page.getByRole("heading", { name: "Commands per second" }) }).locator("path.s0");
  await becomes(true, async () => /L/.test((await hour.getAttribute("d")) ?? ""));
  await page.getByText("Where the space on the disk went").waitFor();
  await page.locator(".shares").getByText("Journal").waitFor();
});
