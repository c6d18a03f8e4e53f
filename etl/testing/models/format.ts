/**
 * The format model: what a whole drop says, once it is unpacked. It finds lines, dialect and header; line.ts
 * decides each line. Shares nothing with the product.
 */
import { type Column, type Decision, decideLine, type Layout, splitCells, trim, type World } from "./line.ts";

export interface ReadLine {
  /** As an editor numbers it, from 1. */
  readonly number: number;
  /** Where it begins in the file. */
  readonly from: number;
  /** Its bytes, without the terminator. */
  readonly bytes: Uint8Array;
  readonly decision: Decision;
}

/** What a drop comes to: its records up to a line at which it is refused, if it is. */
export interface ReadDrop {
  readonly layout: Layout;
  readonly lines: readonly ReadLine[];
  readonly refusal: { readonly code: "bad_header" | "line_too_long"; readonly line: number } | undefined;
}

const MOST_LINE_BYTES = 1_048_576;
const NAMES: readonly Column[] = ["venue_id", "invoice_id", "datetime_created", "total"];
const WITHOUT_HEADER = { venue_id: 0, invoice_id: 1, datetime_created: 2, total: 3 };

/** `isWhole`: false of bytes that were cut off, whose last line has no end and so is none. */
export function readDrop(bytes: Uint8Array, world: World, isWhole = true): ReadDrop {
  let layout: Layout | undefined;
  const lines: ReadLine[] = [];
  const none = { delimiter: ",", cells: 4, positions: WITHOUT_HEADER } as const;
  for (const { number, from, content } of splitLines(bytes, isWhole)) {
    if (content.length === 0) continue;
    if (content.length > MOST_LINE_BYTES) {
      return { layout: layout ?? none, lines, refusal: { code: "line_too_long", line: number } };
    }
    if (layout === undefined) {
      const first = readFirstLine(content);
      if (first === "bad_header") {
        return { layout: none, lines, refusal: { code: "bad_header", line: number } };
      }
      layout = first.layout;
      if (first.isHeader) continue;
    }
    lines.push({ number, from, bytes: content, decision: decideLine(content, layout, world) });
  }
  return { layout: layout ?? none, lines, refusal: undefined };
}

/**
 * The lines, empty ones too. Each ends with LF or CRLF, the last with the end of the file. A byte order mark
 * at the very beginning belongs to none.
 */
function* splitLines(bytes: Uint8Array, isWhole: boolean) {
  let from = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? 3 : 0;
  let number = 1;
  for (let at = from; at < bytes.length; at++) {
    if (bytes[at] !== 0x0a) continue;
    const to = at > from && bytes[at - 1] === 0x0d ? at - 1 : at;
    yield { number, from, content: bytes.subarray(from, to) };
    from = at + 1;
    number++;
  }
  const rest = bytes.subarray(from);
  // Too long is too long, wherever it would have ended.
  if (isWhole || rest.length > MOST_LINE_BYTES + 5) yield { number, from, content: rest };
}

/** The dialect that the first line shows. Names are ASCII, so each byte counts as a character. */
function readFirstLine(line: Uint8Array): { layout: Layout; isHeader: boolean } | "bad_header" {
  const text = Array.from(line, (byte) => String.fromCharCode(byte)).join("");
  const namesBy = (delimiter: string) => splitCells(text, delimiter)?.map((cell) => lowerCase(trim(cell)));
  const delimiters = [",", ";", "\t"] as const;
  const fitting = delimiters.find((delimiter) => {
    const names = namesBy(delimiter);
    return names !== undefined && (names.length === 4 || NAMES.every((name) => names.includes(name)));
  });
  const delimiter = fitting ?? ",";
  const names = namesBy(delimiter) ?? [];
  if (!names.some((name) => (NAMES as readonly string[]).includes(name))) {
    return { layout: { delimiter, cells: 4, positions: WITHOUT_HEADER }, isHeader: false };
  }
  const positions = { ...WITHOUT_HEADER };
  for (const name of NAMES) {
    const found = names.flatMap((other, index) => (other === name ? [index] : []));
    if (found.length !== 1) return "bad_header";
    positions[name] = found[0] ?? 0;
  }
  return { layout: { delimiter, cells: names.length, positions }, isHeader: true };
}

/** Of ASCII letters. */
function lowerCase(text: string): string {
  return text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}
