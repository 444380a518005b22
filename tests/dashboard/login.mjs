// A server with a password, and with users who may not do everything.

import { api, assert, becomes, dialog, discard, inBrowser, row, shownKeys, toast } from "./browser.mjs";

const as = (user, password) => ({ Authorization: `Bearer ${Buffer.from(`${user}:${password}`).toString("base64")}` });
const admin = as("", "sesame");

await inBrowser(async (open) => {
  assert.equal((await api("PUT", "stores/0/records/a", "1", admin)).status, 201);
  const page = await open("#/store/0");
  const user = page.getByLabel("User");
  const password = page.getByLabel("Password");
  const signIn = page.getByRole("button", { name: "Sign in" });

  // wrong, then right; one is where one wanted to go
  await password.fill("nonsense");
  await signIn.click();
  await page.getByRole("alert").getByText("User or password is wrong.").waitFor();
  assert.equal(await page.locator("main table").count(), 0);
  await password.fill("sesame");
  await page.keyboard.press("Enter");
  await becomes(["a"], () => shownKeys(page));
  await page.getByText("default", { exact: true }).waitFor();

  // a reload keeps it, another tab does not have it, and no cookie has
  await page.reload();
  await becomes(["a"], () => shownKeys(page));
  const other = await open("", { context: page.context() });
  await other.getByLabel("Password").waitFor();
  await other.close();
  assert.deepEqual(await page.context().cookies(), []);

  // signed out is signed out
  await page.getByRole("button", { name: "Sign out" }).click();
  await password.waitFor();
  await page.reload();
  await password.waitFor();
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);

  const actAs = async (wish) => {
    console.log(wish);
    await new Promise((resolve) => process.stdin.once("data", resolve));
  };
  const go = (path) => page.goto(new URL(`#/${path}`, page.url()).href);

  // a user who may only read one store: what is not permitted is not offered
  await user.fill("reader");
  await password.fill("pä:ss");
  await signIn.click();
  await becomes(["a"], () => shownKeys(page));
  await page.getByText("reader", { exact: true }).waitFor();
  for (const name of ["New record", "Import", "Delete these …", "New store"]) assert.equal(await page.getByRole("button", { name, includeHidden: true }).count(), 0, name);
  assert.deepEqual(await page.getByRole("navigation", { name: "Sections" }).getByRole("link").allTextContents(), ["Stores", "Compare", "Changes", "Console"]);
  await page.getByRole("button", { name: "a", exact: true }).click();
  await dialog(page).locator(".meta").waitFor();
  for (const name of ["Save", "Delete …"]) assert.equal(await dialog(page).getByRole("button", { name }).count(), 0, name);
  await page.keyboard.press("Escape");
  // what is taken away later is refused, and says so
  await actAs("let the reader write");
  await page.reload();
  await page.getByRole("button", { name: "New record" }).click();
  await actAs("let the reader only read");
  await dialog(page).getByLabel("Key").fill("b");
  await dialog(page).getByRole("textbox", { name: "Value" }).fill("1");
  await dialog(page).getByRole("button", { name: "Create" }).click();
  await dialog(page).getByRole("alert").getByText("no permissions").waitFor();
  await discard(page);
  await go("activity");
  await page.getByRole("button", { name: "Sign in as another user" }).click();
  await user.fill("reader");
  await password.fill("pä:ss");
  await signIn.click();
  await page.getByRole("heading", { name: "Not permitted" }).waitFor();
  await page.getByRole("link", { name: "Stores" }).first().click();
  await row(page, "0").waitFor();

  // a user who is forgotten while they type signs in again over what they have before them, which goes on where it was
  const again = page.getByRole("dialog", { name: "Sign in again" });
  await actAs("let the reader write");
  await page.reload();
  await page.getByRole("link", { name: "0", exact: true }).click();
  await page.getByRole("button", { name: "New record" }).click();
  const draft = page.getByRole("dialog", { name: "New record" });
  await draft.getByLabel("Key").fill("typed");
  await draft.getByRole("textbox", { name: "Value" }).fill('"for long"');
  await actAs("forget the reader");
  await draft.getByRole("button", { name: "Create" }).click();
  await again.getByText("These credentials are not valid any more.").waitFor();
  await again.getByRole("button", { name: "Sign out" }).click();
  await page.getByRole("button", { name: "Wait" }).click();
  assert.equal(await again.getByLabel("User").inputValue(), "reader");
  await again.getByLabel("Password").fill("pä:ss");
  await again.getByRole("button", { name: "Sign in" }).click();
  await again.getByRole("alert").getByText("User or password is wrong.").waitFor();
  await actAs("let the reader write");
  await again.getByLabel("Password").fill("pä:ss");
  await page.keyboard.press("Enter");
  await toast(page, "typed was created.");
  assert.equal((await api("GET", "stores/0/records/typed", undefined, admin)).body, '"for long"');
  await becomes(["a", "typed"], () => shownKeys(page));

  // what one typed, another does not save by signing in
  await page.getByRole("button", { name: "typed", exact: true }).click();
  const record = page.getByRole("dialog", { name: "typed" });
  await record.getByRole("textbox", { name: "Value" }).fill("2");
  await actAs("forget the reader");
  await record.getByRole("button", { name: "Save" }).click();
  await again.getByLabel("User").fill("");
  await again.getByLabel("Password").fill("sesame");
  await again.getByRole("button", { name: "Sign in" }).click();
  await toast(page, "You are signed in as default now. What was typed is not saved yet.");
  assert.equal((await api("GET", "stores/0/records/typed", undefined, admin)).body, '"for long"');
  assert.equal(await record.getByRole("textbox", { name: "Value" }).inputValue(), "2");
  await record.getByRole("button", { name: "Save" }).click();
  await toast(page, "typed was saved.");
  assert.equal((await api("GET", "stores/0/records/typed", undefined, admin)).body, "2");

  // a page that is only looked at asks, too, and shows what it was to show
  await actAs("let the reader write");
  await page.getByRole("button", { name: "Sign out" }).click();
  await user.fill("reader");
  await password.fill("pä:ss");
  await signIn.click();
  await becomes(["a", "typed"], () => shownKeys(page));
  await actAs("forget the reader");
  await go("clients");
  await again.waitFor();
  await actAs("let the reader write");
  await again.getByLabel("Password").fill("pä:ss");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Not permitted" }).waitFor();
  await actAs("forget the reader");
  process.stdin.unref();
  await go("slowlog");
  await again.getByRole("button", { name: "Sign out" }).click();
  await password.waitFor();
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
});
