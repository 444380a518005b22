// Without a mouse: from an empty server to a record that is changed, and away again.

import { api, assert, becomes, dialog, done, inBrowser, shownKeys, toast } from "./browser.mjs";

/** Presses Tab until this has the focus. */
async function tabTo(page, wanted) {
  await wanted.waitFor();
  for (let presses = 0; presses < 60; presses += 1) {
    if (await wanted.evaluate((element) => element === document.activeElement)) return;
    await page.keyboard.press("Tab");
  }
  assert.fail(`${wanted} is not reached with Tab`);
}

const isFocused = (locator) => locator.evaluate((element) => element === document.activeElement);

await inBrowser(async (open) => {
  const page = await open();
  const { keyboard } = page;
  await page.getByRole("heading", { name: "No stores yet" }).waitFor();

  // the first stop leads past the navigation
  await keyboard.press("Tab");
  assert.ok(await isFocused(page.getByRole("link", { name: "Skip to content" })));
  await keyboard.press("Enter");
  assert.ok(await isFocused(page.locator("main")));

  // a dialog has the focus, keeps it, and gives it back
  const create = page.getByRole("button", { name: "New store" });
  await tabTo(page, create);
  await keyboard.press("Enter");
  await becomes(true, () => isFocused(dialog(page).getByLabel("Name")));
  for (let presses = 0; presses < 12; presses += 1) {
    await keyboard.press("Tab");
    assert.ok(await page.evaluate(() => document.activeElement === document.body || document.activeElement.closest("dialog") !== null));
  }
  await keyboard.press("Escape");
  await becomes(true, () => isFocused(create));
  await keyboard.press("Enter");
  await keyboard.type("orders");
  await keyboard.press("Enter");
  await toast(page, "Store orders was created.");

  // a record
  await tabTo(page, page.getByRole("button", { name: "New record" }).first());
  await keyboard.press("Enter");
  await keyboard.type("order:1");
  await tabTo(page, dialog(page).getByRole("textbox", { name: "Value" }));
  await keyboard.type('{"a":1}');
  await tabTo(page, dialog(page).getByRole("button", { name: "Create" }));
  await keyboard.press("Enter");
  await toast(page, "order:1 was created.");
  assert.equal((await done("GET", "stores/orders/records/order:1")).body, '{"a":1}');

  // it is opened, changed, saved
  await tabTo(page, page.getByRole("button", { name: "order:1", exact: true }));
  await keyboard.press("Enter");
  await dialog(page).locator(".meta").waitFor();
  await tabTo(page, dialog(page).getByRole("textbox", { name: "Value" }));
  await keyboard.press("Control+a");
  await keyboard.type("[2]");
  await tabTo(page, dialog(page).getByRole("button", { name: "Save" }));
  await keyboard.press("Enter");
  await toast(page, "order:1 was saved.");
  assert.equal((await done("GET", "stores/orders/records/order:1")).body, "[2]");

  // looked for, selected, deleted
  await tabTo(page, page.getByLabel("Text to look for"));
  await keyboard.type("order");
  await keyboard.press("Enter");
  await becomes(["order:1"], () => shownKeys(page));
  await tabTo(page, page.getByLabel("Select order:1"));
  await keyboard.press("Space");
  await keyboard.press("Shift+Tab");
  await tabTo(page, page.getByRole("button", { name: "Delete …" }));
  await keyboard.press("Enter");
  await tabTo(page, dialog(page).getByRole("button", { name: "Delete 1 record" }));
  await keyboard.press("Enter");
  await becomes(404, async () => (await api("GET", "stores/orders/records/order:1")).status);

  // a menu opens, closes with Escape, and does what it says
  const menu = page.getByLabel("Actions for orders");
  await dialog(page).waitFor({ state: "detached" });
  await tabTo(page, menu);
  await keyboard.press("Enter");
  await page.getByRole("button", { name: "Rename" }).waitFor();
  await keyboard.press("Escape");
  await page.getByRole("button", { name: "Rename" }).waitFor({ state: "hidden" });
  assert.ok(await isFocused(menu));
  await keyboard.press("Enter");
  await tabTo(page, page.getByRole("button", { name: "Drop" }));
  await keyboard.press("Enter");
  const drop = dialog(page).getByRole("button", { name: "Drop store" });
  await becomes(true, () => drop.isEnabled());
  await tabTo(page, drop);
  await keyboard.press("Enter");
  await page.getByRole("heading", { name: "No stores yet" }).waitFor();
});
