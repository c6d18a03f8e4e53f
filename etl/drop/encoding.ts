/** Text in the encoding that a source names, as UTF-8. */
import { isAscii, isUtf8 } from "node:buffer";
import { RollbookError } from "../../db/errors.ts";
import type { Encoding } from "./form.ts";
import type { Unpacked } from "./inflate.ts";
import { type RefusedEvent, refuseEncoding } from "./refuse.ts";

const LF = 0x0a;

/** Encodings of one byte a character. */
type ByteEncoding = Extract<Encoding, "windows-1252" | "iso-8859-15">;

/**
 * Bytes that no text in the encoding has. Source: WHATWG Encoding Standard, index windows-1252, where they stand
 * for control characters; ISO 8859-15 has no more than control characters from 0x80 to 0x9f.
 */
export const UNUSED_BYTES: Readonly<Record<ByteEncoding, readonly number[]>> = {
  "windows-1252": [0x81, 0x8d, 0x8f, 0x90, 0x9d],
  "iso-8859-15": Array.from({ length: 0x20 }, (_, index) => 0x80 + index),
};

/**
 * Decodes text of one byte a character. At a byte that the encoding does not use it ends, and is refused. So is, at
 * its end, text that is UTF-8 and not ASCII alone: by chance that hardly happens, and its names would be wrong.
 */
export async function* decodeBytes(
  source: Unpacked,
  encoding: ByteEncoding,
): AsyncGenerator<Buffer | RefusedEvent, void, undefined> {
  const decode = createDecoder(encoding);
  const isUnused = Uint8Array.from({ length: 256 }, (_, byte) =>
    UNUSED_BYTES[encoding].includes(byte) ? 1 : 0,
  );
  const watch = watchForUtf8();
  let lines = 0;
  for await (const chunk of source) {
    if (!Buffer.isBuffer(chunk)) {
      yield chunk;
      return;
    }
    watch.add(chunk);
    if (isAscii(chunk)) yield chunk;
    else {
      let at = 0;
      while (at < chunk.length && isUnused[chunk[at] ?? 0] === 0) at++;
      if (at < chunk.length) {
        // What is wrong with the lines before it is told first, however the chunks are cut.
        if (at > 0) yield Buffer.from(decode(chunk.subarray(0, at)));
        yield refuseByte(chunk, at, lines, encoding);
        return;
      }
      yield Buffer.from(decode(chunk));
    }
    lines += countLines(chunk, chunk.length);
  }
  if (watch.isUtf8()) yield refuseEncoding(`the source says ${encoding}, but the file is in UTF-8`);
}

/** Tells whether text, not ASCII alone, is UTF-8. */
function watchForUtf8(): { readonly add: (chunk: Buffer) => void; readonly isUtf8: () => boolean } {
  let held: Buffer = Buffer.alloc(0);
  let found: "ascii" | "utf-8" | "other" = "ascii";
  return {
    add: (chunk) => {
      if (found === "other" || (held.length === 0 && isAscii(chunk))) return;
      const { text, open } = cutCharacters(held, chunk);
      held = open;
      if (!isUtf8(text)) found = "other";
      else if (!isAscii(text)) found = "utf-8";
    },
    isUtf8: () => found === "utf-8" && held.length === 0,
  };
}

/** Passes text on as long as it is UTF-8. `encoding`: what it was decoded from. */
export async function* checkUtf8(
  source: Unpacked,
  encoding: Encoding,
): AsyncGenerator<Buffer | RefusedEvent, void, undefined> {
  let held: Buffer = Buffer.alloc(0);
  let lines = 0;
  for await (const item of source) {
    if (!Buffer.isBuffer(item)) {
      yield item;
      return;
    }
    const { text: chunk, open } = cutCharacters(held, item);
    held = open;
    if (!isUtf8(chunk)) {
      const at = firstFault(chunk);
      if (at > 0) yield chunk.subarray(0, at);
      yield refuseByte(chunk, at, lines, encoding);
      return;
    }
    if (chunk.length > 0) yield chunk;
    lines += countLines(chunk, chunk.length);
  }
  if (held.length > 0) yield refuseByte(held, 0, lines, encoding);
}

/** The next bytes after those that are held, without a character at the end that they do not end: that stays open. */
function cutCharacters(held: Buffer, next: Buffer): { readonly text: Buffer; readonly open: Buffer } {
  const bytes = held.length === 0 ? next : Buffer.concat([held, next]);
  const whole = bytes.length - openBytes(bytes);
  return { text: bytes.subarray(0, whole), open: bytes.subarray(whole) };
}

/** How many bytes at the end begin a character that they do not end. */
function openBytes(bytes: Buffer): number {
  for (let back = 1; back <= 3 && back <= bytes.length; back++) {
    const byte = bytes[bytes.length - back] ?? 0;
    if (byte >= 0xc0) return back < (byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2) ? back : 0;
    if (byte < 0x80) return 0;
  }
  return 0;
}

/** Where bytes that are not UTF-8 have their first fault. */
function firstFault(bytes: Buffer): number {
  const text = bytes.toString("utf8");
  let at = 0;
  for (let index = text.indexOf("\ufffd"); index >= 0; index = text.indexOf("\ufffd", index + 1)) {
    at = Buffer.byteLength(text.slice(0, index));
    // The character itself may stand in the file.
    if (!bytes.subarray(at, at + 3).equals(Buffer.from("\ufffd"))) return at;
  }
  return at;
}

function refuseByte(chunk: Buffer, at: number, linesBefore: number, encoding: Encoding): RefusedEvent {
  const line = linesBefore + countLines(chunk, at) + 1;
  const byte = encoding.startsWith("utf-16")
    ? "half a character"
    : `byte 0x${(chunk[at] ?? 0).toString(16).padStart(2, "0")}`;
  return refuseEncoding(`line ${line}: ${byte} is not ${encoding}, which the source says`, line);
}

function countLines(bytes: Buffer, before: number): number {
  let count = 0;
  for (let at = bytes.indexOf(LF); at >= 0 && at < before; at = bytes.indexOf(LF, at + 1)) count++;
  return count;
}

/** A decoder for chunks of text, each of which is whole: a byte is a character. */
function createDecoder(encoding: ByteEncoding): (bytes: Uint8Array) => string {
  const decoder = new TextDecoder(encoding);
  // As a stream: without it some releases of Node.js read windows-1252 as ISO 8859-1 (nodejs/node #56542).
  const decode = (bytes: Uint8Array) => decoder.decode(bytes, { stream: true });
  if (encoding === "windows-1252" && decode(Uint8Array.of(0x80)) !== "€") {
    throw new RollbookError({
      code: "configuration",
      message: `Node.js ${process.version} reads windows-1252 wrongly: use another release of Node.js`,
    });
  }
  return decode;
}
