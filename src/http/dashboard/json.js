// JSON as text: checked, coloured and laid out without being read into values, so that 1.50 and 12345678901234567890 stay what
// they are. Pure.

const SPACE = /[ \t\n\r]*/y;
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const STRING_START = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*/y;
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const LITERAL = /true|false|null/y;
const WORD = /[A-Za-z0-9_.+-]+/y;

const match = (pattern, text, at) => {
  pattern.lastIndex = at;
  return pattern.exec(text)?.[0] ?? "";
};

/**
 * The tokens of a JSON text as `{kind, start, end}`, kinds being key, string, number, literal and mark; and, where it is none,
 * `error` with `offset`, `line`, `column` and `message`.
 */
export function scan(text) {
  const tokens = [];
  const open = [];
  let at = 0;
  // what may come: value, key (or the end of an object), colon, comma (or an end), nothing
  let wants = "value";
  let mayEnd = false;

  const push = (kind, length) => {
    tokens.push({ kind, start: at, end: at + length });
    at += length;
  };
  const fail = (message, offset = at) => ({ tokens, error: { message, ...position(text, offset) } });
  const close = () => {
    open.pop();
    wants = open.length ? "comma" : "nothing";
  };

  for (;;) {
    at += match(SPACE, text, at).length;
    if (at >= text.length) break;
    const character = text[at];
    if (wants === "nothing") return fail("there is more behind the value");
    if (wants === "comma") {
      const end = open.at(-1) === "{" ? "}" : "]";
      if (character === end) {
        push("mark", 1);
        close();
      } else if (character === ",") {
        push("mark", 1);
        wants = open.at(-1) === "{" ? "key" : "value";
        mayEnd = false;
      } else return fail(`a comma or ${end} must stand here`);
    } else if (wants === "colon") {
      if (character !== ":") return fail("a colon must stand behind a name");
      push("mark", 1);
      wants = "value";
      mayEnd = false;
    } else if (mayEnd && character === (wants === "key" ? "}" : "]")) {
      push("mark", 1);
      close();
    } else if (character === '"') {
      const string = match(STRING, text, at);
      if (!string) {
        const stop = at + match(STRING_START, text, at).length;
        if (stop >= text.length) return fail("a string has no end");
        return fail(text[stop] === "\\" ? "a backslash is followed by what is no escape" : "a string must not have control characters", stop);
      }
      push(wants === "key" ? "key" : "string", string.length);
      wants = wants === "key" ? "colon" : open.length ? "comma" : "nothing";
    } else if (wants === "key") {
      return fail(mayEnd ? "a name in double quotes or } must stand here" : "a name in double quotes must stand here");
    } else if (character === "{" || character === "[") {
      push("mark", 1);
      open.push(character);
      wants = character === "{" ? "key" : "value";
      mayEnd = true;
    } else {
      const word = match(WORD, text, at);
      const literal = match(LITERAL, text, at);
      const number = match(NUMBER, text, at);
      const token = literal || number;
      if (!token || token.length !== word.length) return fail(word ? `${word} is no JSON value` : "a value must stand here");
      push(literal ? "literal" : "number", token.length);
      wants = open.length ? "comma" : "nothing";
    }
  }
  if (wants === "nothing") return { tokens, error: null };
  return fail(tokens.length ? "it ends too early" : "there is no value", text.length);
}

/** Where an offset is, counted from 1. */
export function position(text, offset) {
  const before = text.slice(0, offset);
  const line = before.split("\n").length;
  return { offset, line, column: offset - before.lastIndexOf("\n") };
}

/** The same tokens, one to a line, with two blanks for each level. Text that is no JSON comes back as it is. */
export function formatted(text) {
  const { tokens, error } = scan(text);
  if (error) return text;
  let out = "";
  let level = 0;
  const line = () => `\n${"  ".repeat(level)}`;
  tokens.forEach(({ start, end }, index) => {
    const token = text.slice(start, end);
    const before = index > 0 ? text[tokens[index - 1].start] : "";
    const isEnd = token === "}" || token === "]";
    if (isEnd) level -= 1;
    const opened = before === "{" || before === "[";
    if ((isEnd && !opened) || (!isEnd && opened) || before === ",") out += line();
    out += token === ":" ? ": " : token;
    if (token === "{" || token === "[") level += 1;
  });
  return out;
}

/** The same tokens without blanks between them. */
export function compacted(text) {
  const { tokens, error } = scan(text);
  return error ? text : tokens.map(({ start, end }) => text.slice(start, end)).join("");
}
