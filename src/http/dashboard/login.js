// Signing in, as a user of the server's ACL.

import { get, keepSignedIn, signIn, signOut } from "./api.js";
import { dialog } from "./dialog.js";
import { field, fill, h } from "./dom.js";
import { exactText } from "./exact.js";

function fields(user) {
  const name = h("input", { name: "user", autocomplete: "username", placeholder: "default", autocapitalize: "none", spellcheck: "false", props: { value: user } });
  const password = h("input", { name: "password", type: "password", autocomplete: "current-password" });
  return { name, password, elements: [field("User", name, "Leave empty if the server has only a password."), field("Password", password)] };
}

/** The session of who signs in so, once the server has taken the credentials. */
async function tryToSignIn({ name, password }) {
  signIn(name.value, password.value);
  try {
    const session = await get("session", { isSignIn: true });
    keepSignedIn();
    return session;
  } catch (error) {
    signOut();
    password.select();
    if (error.status === 401) error.detail = "User or password is wrong.";
    throw error;
  }
}

/** Shows the form instead of a page; `done` is called with the session. */
export function login(main, done) {
  signOut();
  const credentials = fields("");
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const submit = h("button", { type: "submit", class: "primary" }, "Sign in");
  const form = h(
    "form",
    { class: "login", on: { submit: onSubmit } },
    h("img", { src: "ui/icon.svg", alt: "", width: "44", height: "44" }),
    h("h1", {}, "Larder"),
    credentials.elements,
    problem,
    submit,
  );

  async function onSubmit(event) {
    event.preventDefault();
    submit.disabled = true;
    problem.hidden = true;
    try {
      done(await tryToSignIn(credentials));
    } catch (error) {
      problem.textContent = error.detail ?? String(error);
      problem.hidden = false;
      submit.disabled = false;
    }
  }

  fill(main, form);
  credentials.name.focus();
}

/**
 * Has somebody sign in whose credentials are not valid any more, over what they have before them. `done` is called with the
 * session, or with null if the dialog was closed otherwise; `leave` when they would rather not.
 */
export function loginAgain(user, { done, leave }) {
  signOut();
  let session = null;
  const credentials = fields(user === "default" ? "" : user);
  const parts = dialog({
    title: "Sign in again",
    body: [h("p", {}, "These credentials are not valid any more. ", `You were signed in as ${exactText(user)}. What you have typed is still there.`), credentials.elements],
    action: "Sign in",
    cancel: "Sign out",
    cancelled: leave,
    keep: () => false,
    submit: async () => (session = await tryToSignIn(credentials)),
  });
  parts.onClosed.push(() => done(session));
  credentials.password.focus();
}
