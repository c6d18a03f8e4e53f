/** UUIDs. The canonical form is PostgreSQL's: lower case, with four hyphens. */

const CANONICAL_UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
/**
 * Hyphens are free after each group of four digits but the last. Source: `string_to_uuid` in PostgreSQL's
 * uuid.c.
 */
const ANY_UUID = /^[0-9a-f]{4}(?:-?[0-9a-f]{4}){7}$/i;
/** Braces and seven hyphens around 32 digits. */
const LONGEST_UUID = 41;
const LENGTH = 36;
const HYPHEN = 0x2d;

/** The canonical form of any UUID that PostgreSQL takes; undefined for what it does not take. */
export function readUuid(text: string): string | undefined {
  if (text.length > LONGEST_UUID) return undefined;
  const bare = text.startsWith("{") && text.endsWith("}") ? text.slice(1, -1) : text;
  if (bare.length === LENGTH) {
    const lower = bare.toLowerCase();
    if (CANONICAL_UUID.test(lower)) return lower;
  }
  if (!ANY_UUID.test(bare)) return undefined;
  const digits = bare.replaceAll("-", "").toLowerCase();
  const [a, b, c, d] = [digits.slice(0, 8), digits.slice(8, 12), digits.slice(12, 16), digits.slice(16, 20)];
  return `${a}-${b}-${c}-${d}-${digits.slice(20)}`;
}

/** 1 for the lower-case hexadecimal digits. */
const HEX = Uint8Array.from({ length: 256 }, (_, byte) =>
  /^[0-9a-f]$/.test(String.fromCharCode(byte)) ? 1 : 0,
);

/** The offset after a canonical UUID; -1 for anything else. */
export function scanUuid(batch: Buffer, at: number): number {
  const end = at + LENGTH;
  if (end >= batch.length) return -1;
  if (batch[at + 8] !== HYPHEN || batch[at + 13] !== HYPHEN) return -1;
  if (batch[at + 18] !== HYPHEN || batch[at + 23] !== HYPHEN) return -1;
  const digits =
    countHex(batch, at, at + 8) +
    countHex(batch, at + 9, at + 13) +
    countHex(batch, at + 14, at + 18) +
    countHex(batch, at + 19, at + 23) +
    countHex(batch, at + 24, end);
  return digits === 32 ? end : -1;
}

function countHex(batch: Buffer, from: number, to: number): number {
  let count = 0;
  for (let at = from; at < to; at++) count += HEX[batch[at] ?? 0] ?? 0;
  return count;
}
