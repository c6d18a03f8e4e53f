/** The folders of an inbox for the drops that are done, and the names that they get there: `NAME.load-7.csv`. */
export const ARCHIVE = "archive";
export const REJECTED = "rejected";

/**
 * The ending of a file's name; `.csv.gz` and `.txt.gz` are one. A long one is none: it must be possible to
 * shorten the name.
 */
export function endingOf(name: string): string {
  return /(?:(?:\.[a-z][^.]{0,15})?\.gz|(?:\.csv)?\.[^.]{0,16})?$/iu.exec(name)?.[0] ?? "";
}

const NUMBERED = /\.load-(\d{1,9})(?:\.\d+)?((?:(?:\.[a-z][^.]{0,15})?\.gz|(?:\.csv)?\.[^.]{0,16})?)$/iu;

/** The number of a load in the name of an archived file; null where there is none. */
export function loadNumberIn(name: string): number | null {
  const [, digits] = NUMBERED.exec(name) ?? [];
  return digits === undefined ? null : Number(digits);
}

/** The name that an archived file had in the inbox, if its own was not shortened. */
export function withoutLoadNumber(name: string): string {
  return name.replace(NUMBERED, "$2");
}
