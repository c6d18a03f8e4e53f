/** What a drop's file name says: its sync date. */
import { basename } from "node:path";
import { dayNumber } from "./value/timestamp.ts";

/** In place of a sync date: the date of the file's last change. */
export const FILE_DATE = "mtime";

export type DropName =
  | { readonly kind: "named" /** `YYYY-MM-DD`. */; readonly syncedOn: string }
  | { readonly kind: "refused"; readonly code: "not_csv" | "no_sync_date"; readonly message: string };

/**
 * Reads the sync date from a file's name. Of two dates, which are those of a range, the later counts. The
 * rules: docs/design.md, "The drop format".
 *
 * @param options.fileName with or without its folders, which are ignored
 * @param options.syncedOn a valid `YYYY-MM-DD`, in place of the date in the name
 */
export function readDropName(options: {
  readonly fileName: string;
  readonly syncedOn?: string | undefined;
  /** Takes a name with any ending: a source reads the file. Default false. */
  readonly anyEnding?: boolean | undefined;
}): DropName {
  const name = basename(options.fileName);
  if (options.anyEnding !== true && !/\.csv(\.gz)?$/i.test(name)) {
    const message = `${name}: not a drop: its name must end in .csv or .csv.gz`;
    return { kind: "refused", code: "not_csv", message };
  }
  const dates = options.syncedOn === undefined ? datesIn(name) : [options.syncedOn];
  const syncedOn = dates.at(-1);
  if (syncedOn === undefined || dates.length > 2) {
    return {
      kind: "refused",
      code: "no_sync_date",
      message: explainDates(name, dates, options.anyEnding === true),
    };
  }
  return { kind: "named", syncedOn };
}

/** @param hasSource whether a source reads the file: it could say where the date is */
function explainDates(name: string, dates: readonly string[], hasSource: boolean): string {
  const fault =
    dates.length === 0
      ? "its name holds no sync date"
      : `its name holds ${dates.length} dates, ${dates.join(", ")}`;
  return `${name}: ${fault}: name the sync date once, or the two dates of a range, as YYYY-MM-DD, YYYY_MM_DD, DD.MM.YYYY or YYYYMMDD, or give it with --synced-on${hasSource ? ", or say in the source where it is (synced_on)" : ""}`;
}

/** A date between other characters than digits, or a run of 8, 12 or 14 digits that begins with one. */
const DATE_AT =
  /(?<!\d)(?:(\d{4})-(\d\d)-(\d\d)|(\d{4})_(\d\d)_(\d\d)|(\d\d)\.(\d\d)\.(\d{4})|(\d{4})(\d\d)(\d\d)(?:\d{4}|\d{6})?)(?!\d)/y;

/** The sync dates in a name, each once, oldest first. Only dates of the years 1900 to 2099 count. */
function datesIn(name: string): string[] {
  const dates = new Set<string>();
  for (let at = 0; at < name.length; at++) {
    DATE_AT.lastIndex = at;
    const match = DATE_AT.exec(name);
    if (match === null) continue;
    const year = match[1] ?? match[4] ?? match[9] ?? match[10] ?? "";
    const month = match[2] ?? match[5] ?? match[8] ?? match[11] ?? "";
    const date = match[3] ?? match[6] ?? match[7] ?? match[12] ?? "";
    if (!isSyncDate(Number(year), Number(month), Number(date))) continue;
    dates.add(`${year}-${month}-${date}`);
    // Its digits belong to no other date.
    at = DATE_AT.lastIndex - 1;
  }
  return [...dates].sort();
}

function isSyncDate(year: number, month: number, date: number): boolean {
  return year >= 1900 && year <= 2099 && dayNumber(year, month, date) !== undefined;
}
