/** Splits a record into cells. The rules: docs/design.md, "The drop format". */
import { CsvError, parse } from "csv-parse/sync";

/** The delimiters, in the order in which they are tried. */
export const DELIMITERS = [",", ";", "\t", "|"] as const;
export type Delimiter = (typeof DELIMITERS)[number];

/**
 * Splits a record into its cells, quotes taken off; undefined when its quotes are broken.
 *
 * A field that begins with a quote must be closed, with nothing after it. Any other field may hold no quote
 * (RFC 4180, and csv-parse without its relaxations). In a record with quotes, U+0000 may come out as U+0001: both
 * are refused in a record, and neither is part of a name.
 *
 * @param limit cells beyond this number may be left out of the result
 */
export function splitRecord(text: string, delimiter: Delimiter, limit?: number): string[] | undefined {
  if (!text.includes('"')) return text.split(delimiter, limit);
  const cells = text.split(delimiter);
  return unquoteAll(cells) ? cells : parseQuoted(text, delimiter);
}

/** Whether a record has so many cells, or one more at its end that is empty. */
export function hasWidth(cells: readonly string[], width: number): boolean {
  return cells.length === width || (cells.length === width + 1 && cells[width] === "");
}

/**
 * Takes off the quotes in place, when each cell either has none or is one quoted field without quotes inside.
 * False means that the line needs the parser. This is ten times as fast as the parser, and nearly all quoted
 * drops are like this.
 */
function unquoteAll(cells: string[]): boolean {
  for (const [index, cell] of cells.entries()) {
    const quote = cell.indexOf('"');
    if (quote < 0) continue;
    const last = cell.length - 1;
    if (quote !== 0 || cell.indexOf('"', 1) !== last) return false;
    cells[index] = cell.slice(1, last);
  }
  return true;
}

/**
 * Parses one record by csv-parse, which throws at the first broken quote. To collect its errors would take
 * quadratic time.
 */
function parseQuoted(text: string, delimiter: Delimiter): string[] | undefined {
  try {
    // csv-parse takes a null character after a closing quote for the end of the text.
    const records: string[][] = parse(text.replaceAll("\0", "\u0001"), {
      delimiter,
      record_delimiter: "\n",
      relax_column_count: true,
    });
    return records[0];
  } catch (error) {
    if (error instanceof CsvError) return undefined;
    throw error;
  }
}
