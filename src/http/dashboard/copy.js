// Records that are copied: under another key, into another store, or moved there. The value is the same byte for byte, and it
// expires when the first one does.

import { ask, recordPath, watch } from "./api.js";
import { dialog } from "./dialog.js";
import { exactKey, field, h, toast } from "./dom.js";
import { exactText, keyText } from "./exact.js";

/** Puts what is at a key of one store at a key of another; `isOver` replaces what is there. Returns the version that was copied. */
export async function copyRecord(from, key, to, target, isOver = false) {
  const response = await ask("GET", recordPath(from, key));
  const ttl = response.headers.get("Larder-Ttl-Ms");
  const parameters = { ...(!isOver && { nx: "true" }), ...(ttl !== null && { ttl_ms: Math.max(1, Number(ttl)) }) };
  const type = response.headers.get("Content-Type") ?? "application/octet-stream";
  const put = await ask("PUT", recordPath(to, target, "", parameters), { body: await response.arrayBuffer(), type });
  // the store may have an expiry for all that are written
  if (ttl === null && to.default_ttl_ms) await ask("PUT", recordPath(to, target, "/ttl"), { json: { ttl_ms: null }, headers: { "If-Match": put.headers.get("ETag") } });
  return response.headers.get("ETag");
}

/** Asks where a record is to be copied or moved to. `done(isMoved)` is called afterwards. */
export async function copyDialog({ store, key, done }) {
  const { stores } = await watch("stores");
  const all = stores.some(({ number }) => number === store.number) ? stores : [store, ...stores];
  const choice = h("select", {}, all.map((one) => h("option", { value: one.number }, exactText(one.name))));
  choice.value = String(store.number);
  const isText = typeof key === "string";
  const name = h("input", { class: "code", autocomplete: "off", autocapitalize: "none", spellcheck: "false", autofocus: true, props: { value: isText ? key : "" } });
  const isMove = h("input", { type: "checkbox" });
  dialog({
    title: ["Copy ", h("span", { class: "code" }, exactKey(key))],
    body: [
      field("Store", choice),
      field("Key", name, isText ? "Another key, or another store, or both." : "Empty: the same key, which is no text."),
      h("label", { class: "check" }, isMove, "Delete it here afterwards, so that it is renamed or moved"),
    ],
    action: "Copy",
    submit: async () => {
      const to = all[choice.selectedIndex];
      const target = !isText && name.value === "" ? key : name.value;
      let tag;
      try {
        tag = await copyRecord(store, key, to, target);
      } catch (error) {
        if (error.code === "RECORDEXISTS") error.detail = "There is a record at this key already. Choose another key.";
        throw error;
      }
      if (isMove.checked) {
        try {
          await ask("DELETE", recordPath(store, key), { headers: { "If-Match": tag } });
        } catch (error) {
          error.detail = `It was copied, but not deleted here: ${error.detail}`;
          done(false);
          throw error;
        }
      }
      toast(`${keyText(key)} was ${isMove.checked ? "moved" : "copied"} to ${keyText(target)} in ${exactText(to.name)}.`);
      done(isMove.checked);
    },
  });
  name.select();
}
