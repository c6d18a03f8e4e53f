/**
 * Part of the format model: a text as UTF-8, from the encoding that a source names. Whatever is not in that
 * encoding ends it.
 */
import { toUtf8 } from "./container.ts";

export type Encoding = "utf-8" | "windows-1252" | "iso-8859-15" | "utf-16" | "utf-16le" | "utf-16be";

export interface Decoded {
  /** UTF-8, without a byte order mark. */
  readonly text: Buffer;
  /** How many bytes of `text` come before what is not in the encoding; undefined: all is. */
  readonly faultAt: number | undefined;
}

/** Undefined: the text has the mark of another encoding, or lacks the one that it must have. */
export function decodeText(bytes: Buffer, encoding: Encoding | undefined): Decoded | undefined {
  if (encoding === undefined) return { text: toUtf8(bytes), faultAt: undefined };
  const mark = markOf(bytes);
  if (encoding === "utf-16") {
    if (bytes.length === 0) return { text: bytes, faultAt: undefined };
    return mark === "utf-16le" || mark === "utf-16be" ? cut(toUtf8(bytes)) : undefined;
  }
  if (mark !== undefined && mark !== encoding) return undefined;
  if (encoding === "utf-16le" || encoding === "utf-16be") {
    const ownMark = Buffer.from(encoding === "utf-16le" ? [0xff, 0xfe] : [0xfe, 0xff]);
    return cut(toUtf8(mark === undefined ? Buffer.concat([ownMark, bytes]) : bytes));
  }
  if (encoding === "utf-8") return cut(toUtf8(bytes));
  return fromTable(bytes, TABLES[encoding]);
}

function markOf(bytes: Buffer): Encoding | undefined {
  const start = bytes.subarray(0, 3).toString("hex");
  if (start === "efbbbf") return "utf-8";
  if (start.startsWith("fffe")) return "utf-16le";
  return start.startsWith("feff") ? "utf-16be" : undefined;
}

/** In what toUtf8 makes of UTF-16, 0xff is what is no character. */
function cut(text: Buffer): Decoded {
  const fault = faultIn(text);
  return { text, faultAt: fault };
}

/** Where the first sequence begins that is not UTF-8. Source: RFC 3629, section 4. */
function faultIn(text: Buffer): number | undefined {
  for (let at = 0; at < text.length; ) {
    const length = sequenceLength(text, at);
    if (length === 0) return at;
    at += length;
  }
  return undefined;
}

function sequenceLength(text: Buffer, at: number): number {
  const first = text[at] ?? 0;
  if (first < 0x80) return 1;
  if (first < 0xc2 || first > 0xf4) return 0;
  const length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  for (let next = 1; next < length; next++) {
    const byte = text[at + next] ?? 0;
    if (byte < 0x80 || byte > 0xbf) return 0;
  }
  const second = text[at + 1] ?? 0;
  if (first === 0xe0 && second < 0xa0) return 0;
  if (first === 0xed && second > 0x9f) return 0;
  if (first === 0xf0 && second < 0x90) return 0;
  return first === 0xf4 && second > 0x8f ? 0 : length;
}

/** The characters of 0x80 to 0x9f, five of which are none. Source: Microsoft, "Code page 1252". */
const HIGH = "€\0‚ƒ„…†‡ˆ‰Š‹Œ\0Ž\0\0‘’“”•–—˜™š›œ\0žŸ";

const WINDOWS_1252 = Array.from({ length: 256 }, (_, byte) => {
  if (byte < 0x80 || byte > 0x9f) return String.fromCharCode(byte);
  const char = HIGH[byte - 0x80];
  return char === "\0" ? undefined : char;
});

/** Eight characters differ from ISO-8859-1; 0x80 to 0x9f are none. Source: ISO/IEC 8859-15:1999. */
const ISO_8859_15 = Array.from({ length: 256 }, (_, byte): string | undefined => {
  if (byte >= 0x80 && byte <= 0x9f) return undefined;
  const at = [0xa4, 0xa6, 0xa8, 0xb4, 0xb8, 0xbc, 0xbd, 0xbe].indexOf(byte);
  return at < 0 ? String.fromCharCode(byte) : "€ŠšŽžŒœŸ"[at];
});

/** What each byte is; undefined: it is no character. */
export const TABLES = { "windows-1252": WINDOWS_1252, "iso-8859-15": ISO_8859_15 } as const;

function fromTable(bytes: Buffer, table: readonly (string | undefined)[]): Decoded {
  const chars: string[] = [];
  let faultAt: number | undefined;
  for (const byte of bytes) {
    const char = table[byte];
    if (char === undefined) faultAt ??= Buffer.byteLength(chars.join(""));
    chars.push(char ?? "?");
  }
  return { text: Buffer.from(chars.join("")), faultAt };
}
