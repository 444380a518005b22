// What bytes may be: gzip, MessagePack, Python's pickle, PHP's serialize, read into an outline for people. Nothing of it is ever
// executed, and every length is checked against what there is. Pure, but for gzip, which the browser unpacks.

/** Deeper nesting, more items and longer results are not shown. */
const DEPTH_MAX = 64;
const ITEMS_MAX = 20_000;
const UNPACKED_MAX = 4 << 20;

const utf8 = (bytes) => {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return null;
  }
};
const hex = (bytes) => Array.from(bytes.subarray(0, 64), (byte) => byte.toString(16).padStart(2, "0")).join(" ") + (bytes.length > 64 ? " …" : "");
const quoted = (bytes) => {
  const text = utf8(bytes);
  return text === null ? `‹${hex(bytes)}›` : JSON.stringify(text);
};

/** The bytes from a place on, read one after the other. */
class Source {
  constructor(bytes) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.at = 0;
    this.items = 0;
  }

  take(length) {
    if (length < 0 || length > this.bytes.length - this.at) throw new Error("it ends too early");
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }

  number(method, size, isLittle = false) {
    const { at } = this;
    this.take(size);
    return this.view[method](at, isLittle);
  }

  byte() {
    return this.number("getUint8", 1);
  }

  /** Everything up to a byte, which is skipped. */
  upTo(byte) {
    const end = this.bytes.indexOf(byte, this.at);
    if (end < 0) throw new Error("it ends too early");
    const taken = this.take(end - this.at);
    this.at += 1;
    return taken;
  }

  count() {
    this.items += 1;
    if (this.items > ITEMS_MAX) throw new Error("it has too many items to be shown");
  }
}

const indent = (depth) => "  ".repeat(depth);
const nested = (open, lines, close, depth) => (lines.length ? `${open}\n${lines.map((line) => indent(depth + 1) + line).join(",\n")}\n${indent(depth)}${close}` : open + close);

/** MessagePack as a text in the manner of JSON. */
export function messagePack(bytes) {
  const source = new Source(bytes);
  const shown = msgpackValue(source, 0);
  if (source.at !== bytes.length) throw new Error("there is more behind the value");
  return shown;
}

function msgpackValue(source, depth) {
  if (depth > DEPTH_MAX) throw new Error("it is nested too deeply");
  source.count();
  const kind = source.byte();
  const list = (length) => nested("[", Array.from({ length: checked(source, length) }, () => msgpackValue(source, depth + 1)), "]", depth);
  const map = (length) => nested("{", Array.from({ length: checked(source, 2 * length) / 2 }, () => `${msgpackValue(source, depth + 1)}: ${msgpackValue(source, depth + 1)}`), "}", depth);
  const extension = (length) => `extension ${source.number("getInt8", 1)} ‹${hex(source.take(length))}›`;
  const unsigned = (size) => (size === 1 ? source.byte() : source.number(size === 2 ? "getUint16" : "getUint32", size));
  if (kind <= 0x7f) return String(kind);
  if (kind <= 0x8f) return map(kind & 0x0f);
  if (kind <= 0x9f) return list(kind & 0x0f);
  if (kind <= 0xbf) return quoted(source.take(kind & 0x1f));
  if (kind >= 0xe0) return String(kind - 256);
  if (kind >= 0xc4 && kind <= 0xc6) return `‹${hex(source.take(unsigned(1 << (kind - 0xc4))))}›`;
  if (kind >= 0xc7 && kind <= 0xc9) return extension(unsigned(1 << (kind - 0xc7)));
  if (kind >= 0xd4 && kind <= 0xd8) return extension(1 << (kind - 0xd4));
  if (kind >= 0xd9 && kind <= 0xdb) return quoted(source.take(unsigned(1 << (kind - 0xd9))));
  const others = {
    0xc0: () => "null",
    0xc2: () => "false",
    0xc3: () => "true",
    0xca: () => String(source.number("getFloat32", 4)),
    0xcb: () => String(source.number("getFloat64", 8)),
    0xcc: () => String(source.byte()),
    0xcd: () => String(source.number("getUint16", 2)),
    0xce: () => String(source.number("getUint32", 4)),
    0xcf: () => String(source.number("getBigUint64", 8)),
    0xd0: () => String(source.number("getInt8", 1)),
    0xd1: () => String(source.number("getInt16", 2)),
    0xd2: () => String(source.number("getInt32", 4)),
    0xd3: () => String(source.number("getBigInt64", 8)),
    0xdc: () => list(unsigned(2)),
    0xdd: () => list(unsigned(4)),
    0xde: () => map(unsigned(2)),
    0xdf: () => map(unsigned(4)),
  };
  if (!others[kind]) throw new Error("this is not MessagePack");
  return others[kind]();
}

/** A number of items, each of which takes at least a byte. */
function checked(source, length) {
  if (length > source.bytes.length - source.at) throw new Error("it ends too early");
  return length;
}

/** What PHP's serialize() makes, as a text in the manner of JSON. */
export function phpSerialized(bytes) {
  const source = new Source(bytes);
  const shown = phpValue(source, 0);
  if (source.at !== bytes.length) throw new Error("there is more behind the value");
  return shown;
}

function phpValue(source, depth) {
  if (depth > DEPTH_MAX) throw new Error("it is nested too deeply");
  source.count();
  const letter = String.fromCharCode(source.byte());
  if (letter === "N") return expect(source, ";", "null");
  expect(source, ":");
  const text = (end) => utf8(source.upTo(end.charCodeAt(0))) ?? "";
  const whole = (end) => {
    const digits = text(end);
    if (!/^\d{1,9}$/.test(digits)) throw new Error("a length is no number");
    return Number(digits);
  };
  const string = (quote = '"', close = '"') => {
    const length = whole(":");
    expect(source, quote);
    const content = source.take(length);
    return expect(source, close, content);
  };
  const pairs = () => {
    const length = checked(source, whole(":"));
    expect(source, "{");
    const lines = Array.from({ length }, () => `${phpValue(source, depth + 1)}: ${phpValue(source, depth + 1)}`);
    return expect(source, "}", nested("{", lines, "}", depth));
  };
  const others = {
    b: () => (text(";") === "1" ? "true" : "false"),
    i: () => text(";"),
    d: () => text(";"),
    r: () => `reference to value ${text(";")}`,
    R: () => `reference to value ${text(";")}`,
    s: () => expect(source, ";", quoted(string())),
    E: () => expect(source, ";", `case ${quoted(string())}`),
    a: pairs,
    O: () => {
      const name = quoted(string());
      expect(source, ":");
      return `object ${name} ${pairs()}`;
    },
    C: () => {
      const name = quoted(string());
      expect(source, ":");
      return `object ${name} ${quoted(string("{", "}"))}`;
    },
  };
  if (!Object.hasOwn(others, letter)) throw new Error("this is not what PHP serializes");
  return others[letter]();
}

function expect(source, sign, value) {
  if (source.byte() !== sign.charCodeAt(0)) throw new Error(`a ${sign} must stand here`);
  return value;
}

/** Opcodes of pickle: name, and what follows: bytes of a number, `4s` a text behind its length of four bytes, `n` a line. */
const PICKLE = new Map(
  `( MARK|. STOP|0 POP|1 POP_MARK|2 DUP|F FLOAT n|I INT n|J BININT i4|K BININT1 u1|L LONG n|M BININT2 u2|N NONE|P PERSID n|Q BINPERSID|R REDUCE|S STRING n|T BINSTRING 4s|U SHORT_BINSTRING 1s|V UNICODE n|X BINUNICODE 4s|a APPEND|b BUILD|c GLOBAL nn|d DICT|} EMPTY_DICT|e APPENDS|g GET n|h BINGET u1|i INST nn|j LONG_BINGET u4|l LIST|] EMPTY_LIST|o OBJ|p PUT n|q BINPUT u1|r LONG_BINPUT u4|s SETITEM|t TUPLE|) EMPTY_TUPLE|u SETITEMS|G BINFLOAT f8|\x80 PROTO u1|\x81 NEWOBJ|\x82 EXT1 u1|\x83 EXT2 u2|\x84 EXT4 i4|\x85 TUPLE1|\x86 TUPLE2|\x87 TUPLE3|\x88 NEWTRUE|\x89 NEWFALSE|\x8a LONG1 1b|\x8b LONG4 4b|B BINBYTES 4b|C SHORT_BINBYTES 1b|\x8c SHORT_BINUNICODE 1s|\x8d BINUNICODE8 8s|\x8e BINBYTES8 8b|\x8f EMPTY_SET|\x90 ADDITEMS|\x91 FROZENSET|\x92 NEWOBJ_EX|\x93 STACK_GLOBAL|\x94 MEMOIZE|\x95 FRAME u8|\x96 BYTEARRAY8 8b|\x97 NEXT_BUFFER|\x98 READONLY_BUFFER`
    .split("|")
    .map((row) => [row.charCodeAt(0), row.slice(2).split(" ")]),
);

/** A pickle as a listing of its opcodes. It is a program, and is not run. */
export function pickleListing(bytes) {
  const source = new Source(bytes);
  const lines = [];
  for (;;) {
    source.count();
    const { at } = source;
    const [name, operand = ""] = PICKLE.get(source.byte()) ?? [];
    if (!name) throw new Error("this is not a pickle");
    lines.push(`${String(at).padStart(6)}  ${`${name.padEnd(18)}${pickleOperand(source, operand)}`.trimEnd()}`);
    if (name === "STOP") break;
  }
  if (source.at !== bytes.length) throw new Error("there is more behind its end");
  if (lines.length < 2) throw new Error("this is not a pickle");
  return lines.join("\n");
}

function pickleOperand(source, operand) {
  const number = (size) => Number(size === 8 ? source.number("getBigUint64", 8, true) : size === 1 ? source.byte() : source.number(size === 2 ? "getUint16" : "getUint32", size, true));
  if (operand === "") return "";
  if (operand.startsWith("n")) return Array.from(operand, () => quoted(source.upTo(10))).join(" ");
  if (operand === "i4") return String(source.number("getInt32", 4, true));
  if (operand === "f8") return String(source.number("getFloat64", 8));
  if (operand.startsWith("u")) return String(number(Number(operand[1])));
  const content = source.take(number(Number(operand[0])));
  return operand[1] === "s" ? quoted(content) : `‹${hex(content)}›`;
}

/** What gzip or zlib has packed, up to a length. */
export async function unzipped(bytes) {
  const isGzip = bytes[0] === 0x1f && bytes[1] === 0x8b;
  const isZlib = (bytes[0] & 0x0f) === 8 && ((bytes[0] << 8) | bytes[1]) % 31 === 0;
  if (!isGzip && !isZlib) throw new Error("this is not gzip");
  const reader = new Blob([bytes]).stream().pipeThrough(new DecompressionStream(isGzip ? "gzip" : "deflate")).getReader();
  const parts = [];
  let size = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    size += value.length;
    if (size > UNPACKED_MAX) {
      await reader.cancel();
      throw new Error("it is too long to be shown");
    }
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

/** All readings of some bytes that succeed, as `{name, text}`. A single byte means nothing. */
export async function readings(bytes) {
  const found = [];
  const attempt = async (name, read) => {
    try {
      found.push({ name, text: await read() });
    } catch {
      // it is something else
    }
  };
  if (bytes.length < 2) return found;
  await attempt("gzip", async () => {
    const inner = await unzipped(bytes);
    return utf8(inner) ?? `‹${hex(inner)}›`;
  });
  await attempt("Pickle", () => pickleListing(bytes));
  await attempt("PHP", () => phpSerialized(bytes));
  await attempt("MessagePack", () => messagePack(bytes));
  return found;
}
