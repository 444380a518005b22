// A user as ACL LIST describes it, and the words that make one. Pure.

/** Those that a form has fields for. */
const isHash = (word) => /^#[0-9a-f]{64}$/.test(word);
const OWN = new Set(["on", "off", "nopass", "sanitize-payload", "skip-sanitize-payload"]);

/** `user NAME on #hash ~* +@all` as an object. */
export function userOf(line) {
  const [, name, ...words] = line.split(" ");
  return {
    name,
    isOn: words.includes("on"),
    isOpen: words.includes("nopass"),
    hashes: words.filter(isHash),
    rules: words.filter((word) => !isHash(word) && !OWN.has(word)),
  };
}

/** The words of ACL SETUSER that make a user so, whatever it was before. */
export function wordsOf({ isOn, password, rules, user }) {
  const passwords = password !== "" ? [`>${password}`] : user?.isOpen ? ["nopass"] : (user?.hashes ?? []);
  return ["reset", isOn ? "on" : "off", ...passwords, ...rules.split(/\s+/).filter((rule) => rule !== "")];
}
