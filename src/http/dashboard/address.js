// Where one is: the part of the address behind #. Nobody leaves it by accident while a dialog holds something that is not saved.

import { closeAll, isAnythingHeld, mayLoseAll } from "./dialog.js";

/** What is shown, and which entry of this tab's history it is. */
let here = { hash: location.hash, at: history.state?.at ?? 0 };

const remember = () => history.replaceState({ at: here.at }, "", location.href);

/** The same page under another address, such as that of a search. */
export function replaceAddress(hash) {
  here.hash = hash;
  history.replaceState({ at: here.at }, "", hash);
}

/** Gives a function that says whether the same page is shown as now. */
export function pageNow() {
  const { at } = here;
  return () => here.at === at;
}

/** Calls `show` when there is another page to be shown. */
export function watchAddress(show) {
  let isHolding = false;
  remember();

  function arrive() {
    if (location.hash === here.hash) return;
    const at = history.state?.at ?? here.at + 1;
    if (isAnythingHeld()) {
      hold(at);
      return;
    }
    closeAll();
    here = { hash: location.hash, at };
    remember();
    show();
  }

  /** Goes back to where one was, and asks; then goes on, if that is wanted. */
  async function hold(at) {
    const wanted = location.hash;
    const steps = at - here.at;
    if (steps) history.go(-steps);
    else history.replaceState({ at }, "", here.hash || "#/");
    if (isHolding) return;
    isHolding = true;
    const mayLeave = await mayLoseAll();
    isHolding = false;
    if (!mayLeave) return;
    closeAll();
    if (steps) history.go(steps);
    else location.hash = wanted;
  }

  addEventListener("hashchange", arrive);
  // entries of the history that differ only in their place
  addEventListener("popstate", () => {
    if (location.hash === here.hash) here.at = history.state?.at ?? here.at;
  });
  addEventListener("beforeunload", (event) => {
    if (isAnythingHeld()) event.preventDefault();
  });
}
