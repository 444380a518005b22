// Texts that have to be seen exactly: what can't be seen, or looks like something else, is named between ⟨ and ⟩. Pure.

/** What no reader sees, or takes for a blank; and the sign that begins a name. The blank itself is looked at by its place. */
const UNSEEN = /[\p{C}\p{Z}\p{Default_Ignorable_Code_Point}\u2800⟨]/u;
const COMBINING = /\p{M}/u;
const NAMES = new Map([["\t", "tab"], ["\n", "line feed"], ["\r", "carriage return"]]);

/** Half of a character: JavaScript has it in texts, UTF-8 has not, and it would be sent as something else. */
const HALF = /\p{Cs}/u;

const codeOf = (character) => `U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
const nameOf = (character) => NAMES.get(character) ?? codeOf(character);

/**
 * A text in pieces `{text, isMark}`: what is seen as it is, and names of what is not. Blanks are named where they would be lost
 * to the eye: at the ends, and more than one in a row. Accents are where the same could be written as one character.
 */
export function piecesOf(text) {
  const pieces = [];
  const add = (piece, isMark) => {
    if (!isMark && pieces.length && !pieces.at(-1).isMark) pieces.at(-1).text += piece;
    else pieces.push({ text: piece, isMark });
  };
  const characters = Array.from(text);
  for (let at = 0; at < characters.length; at += 1) {
    const character = characters[at];
    if (character === " ") {
      let end = at + 1;
      while (characters[end] === " ") end += 1;
      const length = end - at;
      if (at > 0 && end < characters.length && length === 1) add(" ", false);
      else add(length === 1 ? "⟨space⟩" : `⟨${length} spaces⟩`, true);
      at = end - 1;
    } else if (UNSEEN.test(character) || (COMBINING.test(character) && isLoose(characters[at - 1], character))) {
      add(`⟨${nameOf(character)}⟩`, true);
    } else {
      add(character, false);
    }
  }
  return pieces;
}

/** Whether a combining character has nothing to stand on, or would look the same as one character with what it stands on. */
function isLoose(before, character) {
  return before === undefined || before === " " || UNSEEN.test(before) || (before + character).normalize("NFC") !== before + character;
}

/** A key of the API, text or `{base64}`, in such pieces. */
export function piecesOfKey(key) {
  if (typeof key === "string") return key === "" ? [{ text: "⟨empty key⟩", isMark: true }] : piecesOf(key);
  return Array.from(atob(key.base64), (byte) => {
    const isMark = byte < " " || byte > "~" || byte === "\\";
    return { text: isMark ? `\\x${byte.charCodeAt(0).toString(16).padStart(2, "0")}` : byte, isMark };
  });
}

const together = (pieces) => pieces.map(({ text }) => text).join("");

export const exactText = (text) => together(piecesOf(text));
export const keyText = (key) => together(piecesOfKey(key));

/** Whether everything in a text is seen as it is. */
export const isPlain = (text) => piecesOf(text).every(({ isMark }) => !isMark);

/** Where half of a character is, which can't be sent; -1 if nowhere. */
export const halfAt = (text) => text.search(HALF);

/**
 * How many characters of a longer text can't be seen, and the first of them with its offset; blanks and line ends are what they
 * should be there. Null if there are none.
 */
export function unseenIn(text) {
  const found = text.matchAll(/[\p{Cf}\p{Co}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u00a0\u1680\u2000-\u200a\u202f\u205f\u2800\u3000]/gu);
  let [count, first] = [0, null];
  for (const match of found) {
    count += 1;
    first ??= { name: codeOf(match[0]), offset: match.index };
  }
  return first && { count, ...first };
}
