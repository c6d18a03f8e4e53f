/**
 * Part of the format model: what kind of file a drop is, by its first bytes, and its text as UTF-8. gzip.ts
 * undoes gzip before.
 */

/** What a file is that holds no lines. */
export type Container = "gzip" | "zip" | "PDF" | "HTML" | "CR";

const GZIP = [0x1f, 0x8b];

/** By its first bytes, whatever its name; an empty file by its name. */
export function isGzip(file: Uint8Array, isNamedGz: boolean): boolean {
  return beginsWith(file, GZIP) || (file.length === 0 && isNamedGz);
}

/** UTF-8 without its byte order mark. Whatever is no UTF-16 becomes a byte that no UTF-8 has. */
export function toUtf8(bytes: Buffer): Buffer {
  if (beginsWith(bytes, [0xef, 0xbb, 0xbf])) return bytes.subarray(3);
  if (beginsWith(bytes, [0xff, 0xfe])) return fromUtf16(bytes.subarray(2), false);
  if (beginsWith(bytes, [0xfe, 0xff])) return fromUtf16(bytes.subarray(2), true);
  return bytes;
}

/** Source: RFC 2781, section 2.2. */
function fromUtf16(bytes: Buffer, isBigEndian: boolean): Buffer {
  const out: number[] = [];
  const unitAt = (at: number) => {
    if (at + 1 >= bytes.length) return undefined;
    return isBigEndian ? bytes.readUInt16BE(at) : bytes.readUInt16LE(at);
  };
  for (let at = 0; at < bytes.length; at += 2) {
    const unit = unitAt(at);
    const next = unitAt(at + 2);
    if (unit === undefined || (unit >= 0xdc00 && unit <= 0xdfff)) out.push(0xff);
    else if (unit < 0xd800 || unit > 0xdfff) writeUtf8(unit, out);
    else if (next !== undefined && next >= 0xdc00 && next <= 0xdfff) {
      writeUtf8(0x10000 + (unit - 0xd800) * 0x400 + (next - 0xdc00), out);
      at += 2;
    } else out.push(0xff);
  }
  return Buffer.from(out);
}

/** Source: RFC 3629, section 3. */
function writeUtf8(point: number, out: number[]): void {
  const tail = (shift: number) => 0x80 | ((point >> shift) & 0x3f);
  if (point < 0x80) out.push(point);
  else if (point < 0x800) out.push(0xc0 | (point >> 6), tail(0));
  else if (point < 0x10000) out.push(0xe0 | (point >> 12), tail(6), tail(0));
  else out.push(0xf0 | (point >> 18), tail(12), tail(6), tail(0));
}

const LOOKED_AT = 65_536;

/** `wasGzip`: the file was one; what comes out of it must not be one again. */
export function findContainer(text: Buffer, wasGzip: boolean): Container | undefined {
  if (wasGzip && beginsWith(text, GZIP)) return "gzip";
  // The beginning of a file in the archive, an empty archive, one in several parts.
  if (["PK\x03\x04", "PK\x05\x06", "PK\x07\x08"].some((mark) => beginsWith(text, Buffer.from(mark))))
    return "zip";
  if (beginsWith(text, Buffer.from("%PDF-"))) return "PDF";
  const first = text.subarray(0, LOOKED_AT).toString("latin1");
  if (/^[ \t\r\n]*<(?:!doctype html|html)/i.test(first)) return "HTML";
  if (first.includes("\r") && !first.includes("\n")) return "CR";
  return undefined;
}

function beginsWith(bytes: Uint8Array, mark: ArrayLike<number>): boolean {
  return Array.from(mark).every((byte, index) => bytes[index] === byte);
}
