/** Which encoding a text without a byte order mark looks like. */
import { isAscii } from "node:buffer";
import { UNUSED_BYTES } from "../drop/encoding.ts";
import { isGzip, readFileBytes } from "../drop/file.ts";
import type { Encoding } from "../drop/form.ts";
import { inflate } from "../drop/inflate.ts";

export interface LikelyEncoding {
  /** Undefined: none of those that a source can name. */
  readonly encoding: Encoding | undefined;
  /** In words, without a full stop. */
  readonly because: string;
}

/** Where the two differ from 0xa0 on. Source: ISO 8859-15 against ISO 8859-1. */
const DIFFERING = [0xa4, 0xa6, 0xa8, 0xb4, 0xb8, 0xbc, 0xbd, 0xbe];
const EURO = 0xa4;

/**
 * Reads a file to its end, and looks at its bytes.
 *
 * @throws RollbookError `file_unreadable`, `aborted`
 */
export async function findLikelyEncoding(options: {
  readonly path: string;
  readonly signal?: AbortSignal | undefined;
}): Promise<LikelyEncoding> {
  const counts = new Float64Array(256);
  const nulls = { even: 0, odd: 0 };
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let isUtf8 = true;
  let offset = 0;
  for await (const chunk of unpacked(options)) {
    const hasNull = chunk.includes(0);
    for (const [index, byte] of isAscii(chunk) && !hasNull ? [] : chunk.entries()) {
      counts[byte] = (counts[byte] ?? 0) + 1;
      if (byte === 0) nulls[(offset + index) % 2 === 0 ? "even" : "odd"]++;
    }
    offset += chunk.length;
    isUtf8 = isUtf8 && decodes(decoder, chunk);
  }
  const utf16 = judgeNulls(nulls, offset);
  if (utf16 !== undefined) return utf16;
  if (isUtf8) return { encoding: "utf-8", because: "all of it is UTF-8" };
  return judgeBytes([...counts.keys()].filter((byte) => byte >= 0x80 && (counts[byte] ?? 0) > 0));
}

async function* unpacked(options: {
  readonly path: string;
  readonly signal?: AbortSignal | undefined;
}): AsyncGenerator<Buffer, void, undefined> {
  let gzip: boolean | undefined;
  for await (const chunk of readFileBytes(options)) {
    gzip = isGzip(chunk);
    break;
  }
  const raw = readFileBytes(options);
  for await (const chunk of gzip === true ? inflate(raw) : raw) if (Buffer.isBuffer(chunk)) yield chunk;
}

function decodes(decoder: InstanceType<typeof TextDecoder>, chunk: Buffer): boolean {
  try {
    decoder.decode(chunk, { stream: true });
    return true;
  } catch {
    return false;
  }
}

/** ASCII in UTF-16 has a zero in each pair of bytes. */
function judgeNulls(
  { even, odd }: { readonly even: number; readonly odd: number },
  bytes: number,
): LikelyEncoding | undefined {
  if (even + odd < bytes / 4) return undefined;
  return even > odd
    ? {
        encoding: "utf-16be",
        because: "the first byte of most pairs is zero, and there is no byte order mark",
      }
    : {
        encoding: "utf-16le",
        because: "the second byte of most pairs is zero, and there is no byte order mark",
      };
}

function judgeBytes(bytes: readonly number[]): LikelyEncoding {
  const name = (byte: number) => `0x${byte.toString(16)}`;
  const c1 = bytes.filter((byte) => UNUSED_BYTES["iso-8859-15"].includes(byte));
  const unused = bytes.filter((byte) => UNUSED_BYTES["windows-1252"].includes(byte));
  if (unused.length > 0) {
    return {
      encoding: undefined,
      because: `it holds bytes such as ${name(unused[0] ?? 0)}, which neither windows-1252 nor ISO-8859-15 uses`,
    };
  }
  if (c1.length > 0) {
    return {
      encoding: "windows-1252",
      because: `it holds ${name(c1[0] ?? 0)}, which ISO-8859-15 does not use`,
    };
  }
  if (bytes.includes(EURO)) {
    return {
      encoding: "iso-8859-15",
      because: `it holds ${name(EURO)}, which is € there and ¤ in windows-1252`,
    };
  }
  const differing = bytes.filter((byte) => DIFFERING.includes(byte));
  const because =
    differing.length > 0
      ? `ISO-8859-15 fits, too, where ${differing.map(name).join(", ")} stand for other characters`
      : "all characters of it are the same in ISO-8859-15";
  return { encoding: "windows-1252", because };
}
