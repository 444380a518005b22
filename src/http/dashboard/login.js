// Signing in, as a user of the server's ACL.

import { get, isSignedIn, keepSignedIn, signIn, signOut } from "./api.js";
import { field, h } from "./dom.js";

/** Shows the form; `done` is called with the session once the server has taken the credentials. */
export function login(main, done) {
  const again = isSignedIn();
  signOut();
  const user = h("input", { name: "user", autocomplete: "username", placeholder: "default", autocapitalize: "none", spellcheck: "false" });
  const password = h("input", { name: "password", type: "password", autocomplete: "current-password" });
  const problem = h("p", { class: "problem", role: "alert", hidden: !again }, again ? "These credentials are not valid any more." : "");
  const submit = h("button", { type: "submit", class: "primary" }, "Sign in");
  const form = h(
    "form",
    { class: "login", on: { submit: onSubmit } },
    h("img", { src: "ui/icon.svg", alt: "", width: "44", height: "44" }),
    h("h1", {}, "Larder"),
    field("User", user, "Leave empty if the server has only a password."),
    field("Password", password),
    problem,
    submit,
  );

  async function onSubmit(event) {
    event.preventDefault();
    submit.disabled = true;
    problem.hidden = true;
    signIn(user.value, password.value);
    try {
      const session = await get("session");
      keepSignedIn();
      done(session);
    } catch (error) {
      signOut();
      problem.textContent = error.status === 401 ? "User or password is wrong." : error.detail;
      problem.hidden = false;
      submit.disabled = false;
      password.select();
    }
  }

  main.replaceChildren(form);
  user.focus();
}
