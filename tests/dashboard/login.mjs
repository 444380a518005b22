// A server with a password, and with users who may not do everything.

import { api, assert, becomes, dialog, inBrowser, row, shownKeys } from "./browser.mjs";

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

  // a user who may only read one store: what is not permitted says so
  await user.fill("reader");
  await password.fill("pä:ss");
  await signIn.click();
  await becomes(["a"], () => shownKeys(page));
  await page.getByText("reader", { exact: true }).waitFor();
  await page.getByRole("button", { name: "New record" }).click();
  await dialog(page).getByLabel("Key").fill("b");
  await dialog(page).getByRole("textbox", { name: "Value" }).fill("1");
  await dialog(page).getByRole("button", { name: "Create" }).click();
  await dialog(page).getByRole("alert").getByText("no permissions").waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("link", { name: "Activity" }).click();
  await page.getByRole("button", { name: "Sign in as another user" }).click();
  await user.fill("reader");
  await password.fill("pä:ss");
  await signIn.click();
  await page.getByRole("heading", { name: "Not permitted" }).waitFor();
  await page.getByRole("link", { name: "Stores" }).first().click();
  await row(page, "0").waitFor();

  // a password that is changed meanwhile ends it
  console.log("forget the reader");
  await new Promise((resolve) => process.stdin.once("data", resolve));
  process.stdin.unref();
  await page.getByRole("link", { name: "Clients" }).click();
  await page.getByText("These credentials are not valid any more.").waitFor();
});
