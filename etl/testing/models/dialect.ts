/** Part of the format model: the delimiter and the header of a drop, by its first lines. */
import { type Column, type Delimiter, fits, type Layout, splitCells, trim } from "./line.ts";
import type { Line } from "./lines.ts";

const NAMES: readonly Column[] = ["venue_id", "invoice_id", "datetime_created", "total"];
const DELIMITERS: readonly Delimiter[] = [",", ";", "\t", "|"];
const MOST_LINES = 20;

const POSITIONS = { venue_id: 0, invoice_id: 1, datetime_created: 2, total: 3 };
/** What holds without header, and of a drop without lines. */
export const WITHOUT_HEADER: Layout = { delimiter: ",", cells: 4, positions: POSITIONS };

export interface Dialect {
  readonly layout: Layout;
  /** Index of the header among the lines. */
  readonly header: number | undefined;
  /** Index of the first line that can be a record. */
  readonly first: number;
}

type Refused = { readonly badHeader: number | undefined };

/** `isCut`: a line that is too long follows those given. */
export function readDialect(lines: readonly Line[], isCut: boolean): Dialect | Refused | "line_too_long" {
  const head = lines
    .map(({ number, content }, index) => ({ number, index, text: Buffer.from(content).toString("latin1") }))
    .filter(({ text }) => text !== "")
    .slice(0, MOST_LINES);
  const named = /^sep=([,;\t|])$/i.exec(head[0]?.text ?? "")?.[1];
  const first = named === undefined ? 0 : (head[0]?.index ?? 0) + 1;
  let known = DELIMITERS.find((each) => each === named);
  for (const { number, index, text } of named === undefined ? head : head.slice(1)) {
    const readings = (known === undefined ? DELIMITERS : [known]).map((delimiter) =>
      readCells(text, delimiter),
    );
    const fitting = readings.find(({ isFit }) => isFit);
    // Of a line that no delimiter fits any cells may hold a name.
    const header = (fitting ? [fitting] : readings).find(({ names }) => names.some(isName));
    if (header !== undefined) {
      const positions = findPositions(header.names);
      if (positions === undefined) return { badHeader: number };
      const layout = { delimiter: header.delimiter, cells: header.names.length, positions };
      return { layout, header: index, first };
    }
    known = fitting?.delimiter ?? known;
    // The first line that fits and is not all blank ends the search.
    if (fitting?.names.some((name) => name !== ""))
      return { layout: withoutHeader(known), header: undefined, first };
  }
  if (isCut && head.length < MOST_LINES) return "line_too_long";
  if (known === undefined && head.length > 0) return { badHeader: undefined };
  return { layout: withoutHeader(known), header: undefined, first };
}

function withoutHeader(delimiter: Delimiter = ","): Layout {
  return { ...WITHOUT_HEADER, delimiter };
}

/** A line as a delimiter splits it; `isFit`: into four cells or into all four names. */
function readCells(text: string, delimiter: Delimiter) {
  const cells = splitCells(text, delimiter);
  const names = (cells ?? []).map((cell) => lowerCase(trim(cell)));
  const isFit = cells !== undefined && (fits(cells, 4) || NAMES.every((name) => names.includes(name)));
  return { delimiter, names, isFit };
}

/** Where each of the four stands; undefined unless each is there once. */
function findPositions(names: readonly string[]): Layout["positions"] | undefined {
  const places = { ...POSITIONS };
  for (const name of NAMES) {
    const found = names.flatMap((other, index) => (other === name ? [index] : []));
    if (found.length !== 1) return undefined;
    places[name] = found[0] ?? 0;
  }
  return places;
}

function isName(text: string): boolean {
  return (NAMES as readonly string[]).includes(text);
}

/** Of ASCII letters. */
function lowerCase(text: string): string {
  return text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}
