/** Part of the format model: the lines of a text, and how many of them make one record. */

export interface Line {
  /** As an editor shows it, from 1. */
  readonly number: number;
  /** Where it begins in the text, and where it ends, without LF or CRLF. */
  readonly from: number;
  readonly to: number;
  readonly content: Uint8Array;
}

const MOST_LINE_BYTES = 1_048_576;
const MOST_RECORD_BYTES = 65_536;
const MOST_RECORD_LINES = 100;

/**
 * The lines, empty ones too, up to one that is too long; `tooLong`: its number. Each ends with LF or CRLF,
 * the last with the end of the text.
 */
export function splitLines(
  text: Uint8Array,
  isWhole: boolean,
): { readonly lines: readonly Line[]; readonly tooLong: number | undefined } {
  const lines: Line[] = [];
  const add = (from: number, to: number) => {
    lines.push({ number: lines.length + 1, from, to, content: text.subarray(from, to) });
    return to - from <= MOST_LINE_BYTES;
  };
  let from = 0;
  for (let at = 0; at < text.length; at++) {
    if (text[at] !== 0x0a) continue;
    if (!add(from, at > from && text[at - 1] === 0x0d ? at - 1 : at))
      return { lines: lines.slice(0, -1), tooLong: lines.length };
    from = at + 1;
  }
  // Too long is too long, wherever it would have ended.
  if (isWhole || text.length - from > MOST_LINE_BYTES + 5) {
    if (!add(from, text.length)) return { lines: lines.slice(0, -1), tooLong: lines.length };
  }
  return { lines, tooLong: undefined };
}

/**
 * How many lines the record takes that begins at line `at`; before `end` it must be over. One that is broken
 * takes its first line alone.
 */
export function recordLength(lines: readonly Line[], at: number, end: number, delimiter: string): number {
  const start = lines[at]?.from ?? 0;
  let place: Place = "begin";
  for (let next = at; next < Math.min(end, at + MOST_RECORD_LINES); next++) {
    const line = lines[next];
    if (line === undefined) break;
    if (next > at && line.to - start > MOST_RECORD_BYTES) break;
    place = walk(line.content, place, delimiter.charCodeAt(0));
    if (place === "broken") break;
    if (place !== "inside") return next - at + 1;
  }
  return 1;
}

/** Where in a field a text stands: inside quotes, or after the closing one. */
type Place = "begin" | "plain" | "inside" | "after" | "broken";

const QUOTE = 0x22;

function walk(bytes: Uint8Array, from: Place, delimiter: number): Place {
  let place = from;
  for (let at = 0; at < bytes.length && place !== "broken"; at++) {
    const byte = bytes[at];
    if (place === "inside") place = byte === QUOTE ? "after" : "inside";
    else if (byte === QUOTE) place = place === "plain" ? "broken" : "inside";
    else if (byte === delimiter) place = "begin";
    else place = place === "after" ? "broken" : "plain";
  }
  return place;
}

/** The same bytes as the header, a byte order mark before them allowed. */
export function isSame(line: Line, header: Line | undefined): boolean {
  if (header === undefined) return false;
  const content = Buffer.from(line.content);
  return content.equals(header.content) || content.equals(Buffer.concat([MARK, header.content]));
}

const MARK = Buffer.from("\ufeff");
