// The users of the access control list, and their rules.

import { dialog } from "./dialog.js";
import { button, exact, failure, field, fill, h, loading, toast } from "./dom.js";
import { exactText } from "./exact.js";
import { plural } from "./format.js";
import { pageHead, table } from "./parts.js";
import { ifMay, may } from "./rights.js";
import { run } from "./run.js";
import { userOf, wordsOf } from "./user-rules.js";

export function usersView(main, { session }) {
  const body = h("div", {}, loading());
  const add = ifMay("acl|setuser", button("Add a user …", () => editDialog(null, session, load), { class: "primary", icon: "plus" }));
  main.append(pageHead("Users", ifMay("acl|save", button("Save to the file …", saveDialog)), add), body);

  async function load() {
    try {
      const users = (await run("ACL", "LIST")).map(userOf);
      fill(body, h("p", { class: "hint intro" }, "Who may sign in, and what they may do. Changes take effect at once, also for those who are connected."), list(users));
    } catch (error) {
      if (error.status !== 401) fill(body, failure(error, load));
    }
  }

  const list = (users) =>
    table({
      kind: "accounts",
      caption: plural(users.length, "user"),
      items: users,
      columns: [
        { name: "Name", head: true, show: ({ name }) => [exact(name), name === session.user && h("span", { class: "muted" }, " (you)")] },
        { name: "Sign-in", show: ({ isOn, isOpen, hashes }) => (!isOn ? h("span", { class: "muted" }, "off") : isOpen ? h("span", { class: "warn" }, "without a password") : hashes.length ? plural(hashes.length, "password") : h("span", { class: "muted" }, "no password yet")) },
        { name: "Rules", kind: "code rules", show: ({ rules }) => exact(rules.join(" ")) },
        {
          name: "",
          kind: "end",
          show: (user) => h("div", { class: "row" }, ifMay("acl|setuser", button("Change …", () => editDialog(user, session, load), { "aria-label": `Change ${exactText(user.name)}` })), user.name !== "default" && ifMay("acl|deluser", button("", () => removeDialog(user, session, load), { class: "quiet", icon: "bin", "aria-label": `Remove ${exactText(user.name)}`, title: "Remove" }))),
        },
      ],
    });

  load();
}

const RULES = [
  ["~orders:*", "keys that begin with orders:; ~* is all keys, %R~ and %W~ are for reading and writing alone"],
  ["+@read", "a category of commands; +get or +config|get is one command, -@dangerous takes some away, +@all is everything"],
  ["&news:*", "channels of publish/subscribe"],
];

function editDialog(user, session, done) {
  const name = h("input", { type: "text", autocomplete: "off", spellcheck: "false", autofocus: !user });
  const isOn = h("input", { type: "checkbox", checked: !user || user.isOn });
  const password = h("input", { type: "password", autocomplete: "new-password" });
  const rules = h("textarea", { rows: "4", spellcheck: "false", class: "code", autofocus: Boolean(user), props: { value: user ? user.rules.join(" ") : "~* +@read" } });
  const isSelf = user?.name === session.user;
  dialog({
    title: user ? `Change ${exactText(user.name)}` : "Add a user",
    body: [
      isSelf && h("p", { class: "warn" }, "This is the user that you are signed in as. You could lock yourself out."),
      !user && field("Name", name),
      field(user ? "New password" : "Password", password, user ? (user.isOpen ? "The user needs none now. With one here, it does." : "Leave it empty to keep what there is. A new one replaces all others.") : "It is kept as a hash and can’t be shown again."),
      field("Rules", rules, [h("dl", { class: "rules" }, RULES.map(([rule, why]) => [h("dt", { class: "code" }, rule), h("dd", {}, why)]))]),
      h("label", { class: "check" }, isOn, " May sign in"),
    ],
    action: user ? "Save" : "Add",
    submit: async () => {
      const named = user?.name ?? name.value.trim();
      if (named === "") throw new Error("A user has a name.");
      if (!user && (await run("ACL", "USERS")).includes(named)) throw new Error(`There is a user ${named} already.`);
      await run("ACL", "SETUSER", named, ...wordsOf({ isOn: isOn.checked, password: password.value, rules: rules.value, user }));
      toast(`${exactText(named)} is ${user ? "changed" : "added"}.`);
      done();
    },
  });
}

function removeDialog({ name }, session, done) {
  dialog({
    title: `Remove ${exactText(name)}?`,
    body: [h("p", {}, "Its connections end at once."), name === session.user && h("p", { class: "warn" }, "This is the user that you are signed in as.")],
    action: "Remove",
    danger: true,
    submit: async () => {
      await run("ACL", "DELUSER", name);
      toast(`${exactText(name)} is removed.`);
      done();
    },
  });
}

function saveDialog() {
  dialog({
    title: "Save the users",
    body: [h("p", {}, "Users are as they are here until the server stops. This writes them to the file of users (aclfile) or, if there is none, to the settings file, so that the next start has them, too.")],
    action: "Save",
    submit: async () => {
      try {
        await run("ACL", "SAVE");
      } catch (error) {
        // without an aclfile, the settings file has the users
        if (!may("config|rewrite") || !/ACL file/.test(error.detail)) throw error;
        await run("CONFIG", "REWRITE");
      }
      toast("The users are saved.");
    },
  });
}
