/** Part of the format model: where the columns are that a source names. */
import { type Delimiter, splitCells, trim } from "./line.ts";
import type { Line } from "./lines.ts";

/** Its text in the header, or its number from 1. */
export type ColumnRef = string | number;

const DELIMITERS: readonly Delimiter[] = [",", ";", "\t", "|"];

export interface Plan {
  readonly delimiter: Delimiter;
  /** How many cells a record has. */
  readonly width: number;
  /** Index of the header among the lines. */
  readonly header: number | undefined;
  /** Index of the first line that can be a record, or is the header. */
  readonly first: number;
  /** Where a column stands. */
  readonly placeOf: (ref: ColumnRef) => number;
}

/** `refs`: all columns that are named. Returns undefined where there is no line to begin with. */
export function findColumns(
  lines: readonly Line[],
  form: { readonly delimiter?: Delimiter | undefined; readonly skip: number; readonly header: boolean },
  refs: readonly ColumnRef[],
): Plan | { readonly badHeader: number } | undefined {
  const { named, first: begin } = findSeparator(lines, form.skip);
  const first = lines.findIndex(({ content }, at) => at >= begin && content.length > 0);
  const line = lines[first];
  if (line === undefined) return undefined;
  const text = Buffer.from(line.content).toString("utf8");
  const known = form.delimiter ?? named;
  for (const delimiter of known === undefined ? DELIMITERS : [known]) {
    const cells = splitCells(text, delimiter);
    const names = form.header ? cells?.map(normalise) : undefined;
    const width = cells?.length ?? 0;
    const places = new Map(refs.map((ref) => [ref, placeOf(ref, width, names)]));
    if (![...places.values()].includes(undefined)) {
      const header = form.header ? first : undefined;
      return { delimiter, width, header, first, placeOf: (ref) => places.get(ref) ?? 0 };
    }
  }
  return { badHeader: line.number };
}

/** A line `sep=X`, the first that is not empty after those that are skipped, is no record and no header. */
function findSeparator(lines: readonly Line[], skip: number) {
  const at = lines.findIndex(({ content }, index) => index >= skip && content.length > 0);
  const text = Buffer.from(lines[at]?.content ?? []).toString("latin1");
  const mark = /^sep=([,;\t|])$/i.exec(text)?.[1];
  const named = DELIMITERS.find((each) => each === mark);
  return { named, first: named === undefined ? skip : at + 1 };
}

function normalise(name: string): string {
  return trim(name).toLowerCase();
}

/** Undefined: it is not there, or there twice. */
function placeOf(ref: ColumnRef, width: number, names: readonly string[] | undefined): number | undefined {
  if (typeof ref === "number") return ref <= width ? ref - 1 : undefined;
  const found = (names ?? []).flatMap((name, at) => (name === normalise(ref) ? [at] : []));
  return found.length === 1 ? found[0] : undefined;
}
