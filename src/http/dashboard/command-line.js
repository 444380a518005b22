// What a line of the console is about: which command, what could complete it, whether it may be kept. Pure.

/** The words of a line as far as they are needed here: those of a command's name have no quotes. */
const wordsOf = (line) => line.trimStart().split(/\s+/);

/** The command of a line, of a map of documentation by name (`config|get`); undefined if there is none. */
export function commandOf(line, commands) {
  const [first = "", second = ""] = wordsOf(line.toLowerCase());
  return commands.get(`${first}|${second}`) ?? commands.get(first);
}

/** A name as one types it: `CONFIG GET`. */
export const typed = (name) => name.replace("|", " ").toUpperCase();

/**
 * The commands that the line up to the caret could become, at most so many; none behind the name of a command. Those that begin
 * with it come first, then those that have it inside.
 */
export function completions(line, commands, most = 8) {
  const begun = line.trimStart().replace(/\s+/g, " ").toLowerCase();
  if (begun === "") return [];
  const all = [...commands.values()].map(({ name }) => name.replace("|", " "));
  if (all.some((name) => begun.startsWith(`${name} `) && !all.some((longer) => longer.startsWith(begun)))) return [];
  const first = all.filter((name) => name.startsWith(begun));
  const later = begun.length < 2 || begun.includes(" ") ? [] : all.filter((name) => !name.startsWith(begun) && name.includes(begun));
  const found = [...first.sort(), ...later.sort()].slice(0, most);
  return found.length === 1 && found[0] === begun ? [] : found.map((name) => name.toUpperCase());
}

/** Whether a line may be kept: one that may have a secret in it may not, and one without a known command may have any. */
export const mayKeep = (line, commands) => commandOf(line, commands)?.hides === false;

/** A history with one more line, which moves to the end if it was in it; the oldest of too many are dropped. */
export function remembered(lines, line, most = 200) {
  return [...lines.filter((other) => other !== line), line].slice(-most);
}

/** The store that a line selects by itself, if it does. */
export function selects(line) {
  const [name, store, ...more] = wordsOf(line.trim());
  return name.toLowerCase() === "select" && store && more.length === 0 ? store : null;
}
