/**
 * The format model: what a whole drop says. It finds container, lines, dialect, header and records; line.ts
 * decides each record. Shares nothing with the product.
 */
import { findContainer, isGzip, toUtf8 } from "./container.ts";
import { type Dialect, readDialect, WITHOUT_HEADER } from "./dialect.ts";
import { unpack } from "./gzip.ts";
import { type Decision, decideRecord, type Layout, type World } from "./line.ts";
import { isSame, type Line, recordLength, splitLines } from "./lines.ts";

/** A record that is taken or refused. */
export interface ReadLine {
  /** That of its first line, as an editor shows it, from 1. */
  readonly number: number;
  /** Where it begins in the text of the drop. */
  readonly from: number;
  /** Its bytes, without its end. */
  readonly bytes: Uint8Array;
  readonly decision: Decision;
}

/** What a drop comes to: its records up to a line at which it is refused, if it is. */
export interface ReadDrop {
  readonly layout: Layout;
  /** UTF-8 without a byte order mark. */
  readonly text: Buffer;
  readonly lines: readonly ReadLine[];
  readonly refusal: Refusal | undefined;
}

export interface Refusal {
  readonly code: "bad_container" | "bad_header" | "line_too_long";
  /** undefined where no one line is at fault. */
  readonly line: number | undefined;
}

/** The bytes of a file, and whether it is named `.gz`. `isWhole`: false of gzip that is not. */
export function readFile(
  file: Buffer,
  isNamedGz: boolean,
  world: World,
): ReadDrop & { readonly isWhole: boolean } {
  const wasGzip = isGzip(file, isNamedGz);
  const { bytes, isWhole } = wasGzip ? unpack(file) : { bytes: file, isWhole: true };
  return { ...readDrop(bytes, world, { wasGzip, isWhole }), isWhole };
}

/** `bytes`: after gzip. Of some that were cut off the last line has no end and so is none. */
export function readDrop(
  bytes: Uint8Array,
  world: World,
  { wasGzip = false, isWhole = true } = {},
): ReadDrop {
  const text = toUtf8(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length));
  const refuse = (code: Refusal["code"], line?: number): ReadDrop => ({
    layout: WITHOUT_HEADER,
    text,
    lines: [],
    refusal: { code, line },
  });
  if (findContainer(text, wasGzip) !== undefined) return refuse("bad_container");
  const { lines, tooLong } = splitLines(text, isWhole);
  const dialect = readDialect(lines, tooLong !== undefined);
  if (dialect === "line_too_long") return refuse("line_too_long", tooLong);
  if ("badHeader" in dialect) return refuse("bad_header", dialect.badHeader);
  const { layout } = dialect;
  const read = Array.from(readRecords(lines, dialect, text), (record) => {
    const decision = decideRecord(record.bytes, layout, world);
    return decision === undefined ? [] : [{ ...record, decision }];
  }).flat();
  const refusal = tooLong === undefined ? undefined : ({ code: "line_too_long", line: tooLong } as const);
  return { layout, text, lines: read, refusal };
}

/** What stands before the header and what stands after it: no record reaches over it. */
export function* readRecords(
  lines: readonly Line[],
  {
    header,
    first,
    layout,
  }: Pick<Dialect, "header" | "first"> & { readonly layout: Pick<Layout, "delimiter"> },
  text: Buffer,
) {
  const parts =
    header === undefined
      ? [[first, lines.length]]
      : [
          [first, header],
          [header + 1, lines.length],
        ];
  for (const [begin = 0, end = 0] of parts) {
    for (let at = begin; at < end; ) {
      const line = lines[at];
      if (line === undefined) break;
      if (line.content.length === 0 || (header !== undefined && isSame(line, lines[header]))) {
        at++;
        continue;
      }
      const length = recordLength(lines, at, end, layout.delimiter);
      const { number, from } = line;
      yield { number, from, bytes: text.subarray(from, lines[at + length - 1]?.to) };
      at += length;
    }
  }
}
