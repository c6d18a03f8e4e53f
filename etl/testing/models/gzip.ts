/**
 * Part of the format model: what a gzip file (RFC 1952) holds. The members are told from each other here, by
 * hand; inflating and the check sum are zlib's.
 */
import { constants, crc32, inflateRawSync } from "node:zlib";

export interface Unpacked {
  /** All that comes out before the end, or before the fault. */
  readonly bytes: Buffer;
  /** True of one member or several, complete, with nothing after them. */
  readonly isWhole: boolean;
}

export function unpack(file: Buffer): Unpacked {
  const pieces: Buffer[] = [];
  let at = 0;
  do {
    const start = headerEnd(file, at);
    const { bytes, length } = start === undefined ? NOTHING : inflate(file.subarray(start));
    pieces.push(bytes);
    if (start === undefined || length === undefined) return { bytes: Buffer.concat(pieces), isWhole: false };
    at = start + length + 8;
    const isSound =
      at <= file.length &&
      file.readUInt32LE(at - 8) === crc32(bytes) &&
      file.readUInt32LE(at - 4) === bytes.length % 2 ** 32;
    if (!isSound) return { bytes: Buffer.concat(pieces), isWhole: false };
  } while (at < file.length);
  return { bytes: Buffer.concat(pieces), isWhole: true };
}

/** Where the header of the member at `from` ends; undefined when it is none, or cut. */
function headerEnd(file: Buffer, from: number): number | undefined {
  const [one, two, method, flags = 0] = file.subarray(from, from + 10);
  if (one !== 0x1f || two !== 0x8b || method !== 8 || flags & 0xe0) return undefined;
  let at = from + 10;
  if (flags & 4) {
    if (at + 2 > file.length) return undefined;
    at += 2 + file.readUInt16LE(at);
  }
  for (const text of [8, 16]) {
    if (!(flags & text)) continue;
    const end = file.indexOf(0, at);
    if (end < 0) return undefined;
    at = end + 1;
  }
  if (flags & 2) {
    if (at + 2 > file.length || file.readUInt16LE(at) !== (crc32(file.subarray(from, at)) & 0xffff)) {
      return undefined;
    }
    at += 2;
  }
  return at > file.length ? undefined : at;
}

interface Inflated {
  readonly bytes: Buffer;
  /** Bytes that the compressed stream takes; undefined when it is damaged or cut. */
  readonly length: number | undefined;
}

const NOTHING: Inflated = { bytes: Buffer.alloc(0), length: undefined };

function inflate(stream: Buffer): Inflated {
  try {
    // With `info` it returns more than its type says.
    const inflated: unknown = inflateRawSync(stream, { info: true });
    const { buffer, engine } = inflated as { buffer: Buffer; engine: { bytesWritten: number } };
    return { bytes: buffer, length: engine.bytesWritten };
  } catch {
    return { bytes: inflateBeginning(stream), length: undefined };
  }
}

/** What comes out before the fault: that of the longest beginning of the stream that has none. */
function inflateBeginning(stream: Buffer): Buffer {
  const tryOut = (length: number) => {
    try {
      return inflateRawSync(stream.subarray(0, length), { finishFlush: constants.Z_SYNC_FLUSH });
    } catch {
      return undefined;
    }
  };
  let bytes = tryOut(stream.length);
  if (bytes !== undefined) return bytes;
  let [sound, faulty] = [0, stream.length];
  while (faulty - sound > 1) {
    const middle = (sound + faulty) >> 1;
    const found = tryOut(middle);
    if (found === undefined) faulty = middle;
    else [sound, bytes] = [middle, found];
  }
  return bytes ?? Buffer.alloc(0);
}
