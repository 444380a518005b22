// A backup on the disk of the server.

import { dialog } from "./dialog.js";
import { field, fill, h, toast } from "./dom.js";
import { bytes, count, duration } from "./format.js";
import { run } from "./run.js";

export function backupDialog() {
  const path = h("input", { type: "text", class: "code", autocomplete: "off", spellcheck: "false", autofocus: true, placeholder: `/var/backups/larder-${new Date().toISOString().slice(0, 10)}` });
  const how = h("div", { role: "status" });
  const asked = dialog({
    title: "Back up all stores",
    body: [h("p", {}, "A verified copy of everything, as of one instant, on the server’s machine. The server goes on meanwhile."), field("Directory", path, "An absolute path to a directory that is missing or empty. A server can start on it."), how],
    action: "Back up",
    submit: async () => {
      const began = Date.now();
      const tell = () => fill(how, h("progress", { "aria-label": "Backup" }), h("p", { class: "muted" }, `Copying and checking, for ${duration(Date.now() - began)} …`));
      tell();
      const timer = setInterval(tell, 1000);
      try {
        const { records, stores, file_bytes: size } = await run("BACKUP", path.value.trim());
        clearInterval(timer);
        toast(`The backup has ${count(records)} records of ${count(stores)} stores in ${bytes(size)}.`);
      } catch (error) {
        clearInterval(timer);
        // a request has a limit, a backup has none
        fill(how, error.status === 504 && h("p", {}, "The backup goes on. The server’s log tells when it is done; the file larder in the directory is written last."));
        throw error;
      }
    },
  });
  return asked;
}
