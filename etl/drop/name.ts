/** What a drop's file name says: whether it is compressed, and its sync date. */
import { basename } from "node:path";
import { dayNumber, secondOfDay } from "./value/timestamp.ts";

export type DropName =
  | { readonly kind: "named"; readonly gzip: boolean /** `YYYY-MM-DD`. */; readonly syncedOn: string }
  | { readonly kind: "refused"; readonly code: "not_csv" | "no_sync_date"; readonly message: string };

/**
 * Reads from a file's name whether it is compressed, and the drop's sync date. The rules: docs/design.md,
 * "The drop format".
 *
 * @param options.fileName with or without its folders, which are ignored
 * @param options.syncedOn a valid `YYYY-MM-DD`, in place of the date in the name
 */
export function readDropName(options: {
  readonly fileName: string;
  readonly syncedOn?: string | undefined;
}): DropName {
  const name = basename(options.fileName);
  const suffix = /\.csv(\.gz)?$/i.exec(name);
  if (suffix === null) {
    const message = `${name}: not a drop: its name must end in .csv or .csv.gz`;
    return { kind: "refused", code: "not_csv", message };
  }
  const dates = options.syncedOn === undefined ? datesIn(name) : [options.syncedOn];
  const [syncedOn] = dates;
  if (syncedOn === undefined || dates.length > 1) {
    return { kind: "refused", code: "no_sync_date", message: explainDates(name, dates) };
  }
  return { kind: "named", gzip: suffix[1] !== undefined, syncedOn };
}

function explainDates(name: string, dates: readonly string[]): string {
  const fault =
    dates.length === 0
      ? "its name holds no sync date"
      : `its name holds ${dates.length} dates, ${dates.join(" and ")}`;
  return `${name}: ${fault}: name the sync date once, as YYYY-MM-DD or YYYYMMDD, or give it with --synced-on`;
}

/**
 * `YYYY-MM-DD` between other characters than digits, or a run of 8 digits, or one of 14 that ends in a time
 * of day.
 */
const DATE_IN_NAME = /(?<!\d)(?:(\d{4})-(\d\d)-(\d\d)|(\d{4})(\d\d)(\d\d)(?:(\d\d)(\d\d)(\d\d))?)(?!\d)/g;

/** The sync dates in a name, each once. Only dates of the years 1900 to 2099 count. */
function datesIn(name: string): string[] {
  const dates = new Set<string>();
  for (const match of name.matchAll(DATE_IN_NAME)) {
    const year = match[1] ?? match[4] ?? "";
    const month = match[2] ?? match[5] ?? "";
    const date = match[3] ?? match[6] ?? "";
    const [hours = "0", minutes = "0", seconds = "0"] = match.slice(7);
    const isTime = secondOfDay(Number(hours), Number(minutes), Number(seconds)) !== undefined;
    if (isTime && isSyncDate(Number(year), Number(month), Number(date)))
      dates.add(`${year}-${month}-${date}`);
  }
  return [...dates];
}

function isSyncDate(year: number, month: number, date: number): boolean {
  return year >= 1900 && year <= 2099 && dayNumber(year, month, date) !== undefined;
}
