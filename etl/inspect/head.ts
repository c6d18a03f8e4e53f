/** The beginning of a file, unpacked, and what it is packed in. */
import { readMark } from "../drop/container.ts";
import { isGzip, readFileBytes } from "../drop/file.ts";
import type { Encoding } from "../drop/form.ts";
import { inflate } from "../drop/inflate.ts";

/** What is not asked for is left out: the file is not read to its end. */
export interface Head {
  readonly gzip: boolean;
  /** What a byte order mark says. */
  readonly marked: Encoding | undefined;
  /** As they are in the file, or in the gzip file; with the mark. */
  readonly bytes: Buffer;
  /** Whether that is all of it. */
  readonly whole: boolean;
}

/** The longest byte order mark. */
const MARK_BYTES = 3;

/**
 * Reads so many bytes of a file, inflated, or all that there are.
 *
 * @throws RollbookError `file_unreadable`, `aborted`
 */
export async function readHead(options: {
  readonly path: string;
  readonly bytes: number;
  readonly signal?: AbortSignal | undefined;
}): Promise<Head> {
  const first = await take(readFileBytes(options), MARK_BYTES);
  const gzip = isGzip(first.bytes);
  const raw = readFileBytes(options);
  const { bytes, whole } = await take(gzip ? inflate(raw) : raw, options.bytes);
  return { gzip, marked: readMark(bytes), bytes, whole };
}

async function take(
  source: AsyncIterable<Buffer | { readonly kind: "refused" }>,
  most: number,
): Promise<{ readonly bytes: Buffer; readonly whole: boolean }> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of source) {
    if (!Buffer.isBuffer(chunk)) break;
    chunks.push(chunk);
    size += chunk.length;
    if (size > most) return { bytes: Buffer.concat(chunks).subarray(0, most), whole: false };
  }
  return { bytes: Buffer.concat(chunks), whole: true };
}

/** Its text, without the mark. What cannot be decoded becomes U+FFFD. */
export function decodeHead({ bytes }: Head, encoding: Encoding): string {
  const decoder = new TextDecoder(encoding === "utf-16" ? "utf-16le" : encoding);
  // As a stream: without it some releases of Node.js read windows-1252 as ISO 8859-1 (nodejs/node #56542).
  return decoder.decode(bytes, { stream: true });
}
