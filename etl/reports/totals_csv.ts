/** Totals as CSV, also for spreadsheet programs. */
import { stringify } from "csv-stringify/sync";

/** The start of a cell that some spreadsheet program takes for a formula, also after blanks and what has no width. */
const FORMULA = /^[\s\p{Cf}]*[=+\-@'＝＋－＠]|^\t/u;

/**
 * A venue id that no spreadsheet program runs. The ones that begin with an apostrophe get another: who takes one away has the id. Always in quotes:
 * else a semicolon in it would begin a new cell where that is the delimiter. Source: OWASP, "CSV Injection".
 */
function guardFormula(venueId: string): string {
  return FORMULA.test(venueId) ? `'${venueId}` : venueId;
}

const cast = {
  string: (value: string, { column }: { readonly column?: string | number }) =>
    column === "venue_id" ? { value: guardFormula(value), quoted: true } : value,
};

/**
 * The lines of some totals, without a header, each with its LF.
 *
 * @param options.columns names of the members, in their order
 * @param options.guarded whether venue ids are guarded that a spreadsheet program would run, and all of them quoted
 */
export function totalsCsv(
  rows: readonly object[],
  options: { readonly columns: readonly string[]; readonly guarded: boolean },
): string {
  const { columns, guarded } = options;
  return stringify([...rows], { columns: [...columns], record_delimiter: "\n", ...(guarded && { cast }) });
}
