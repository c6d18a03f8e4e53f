/** The sync date of a file, and where it comes from. */
import { stat } from "node:fs/promises";
import { basename } from "node:path";
import { toDate } from "../../db/dates.ts";
import { FILE_DATE, readDropName } from "../drop/name.ts";
import type { ZoneCalendar } from "../drop/zone_calendar.ts";
import type { Refusal } from "../load/report.ts";
import type { FileSource } from "../sources/source.ts";

export interface SyncDate {
  /** `YYYY-MM-DD`. */
  readonly date: string;
  /** Who says it: the command, the source, or else the file's name. */
  readonly from: "command" | "source" | "name";
  /** Whether they say that it is the date of the file's last change. */
  readonly ofFile: boolean;
}

/** Finds it as a load does: what the command says comes before what the source says. */
export async function findSyncDate(options: {
  readonly path: string;
  /** `YYYY-MM-DD` or {@link FILE_DATE}. */
  readonly syncedOn?: string | undefined;
  readonly source?: FileSource | undefined;
  readonly calendar: ZoneCalendar;
}): Promise<SyncDate | Refusal> {
  const { path, source, calendar } = options;
  const said = options.syncedOn ?? source?.syncedOn;
  const ofFile = said === FILE_DATE;
  const syncedOn = ofFile ? toDate(calendar.wallDayOf((await stat(path)).mtime)) : said;
  const name = readDropName({ fileName: basename(path), syncedOn, anyEnding: source !== undefined });
  if (name.kind === "refused") return name;
  const from = options.syncedOn !== undefined ? "command" : said !== undefined ? "source" : "name";
  return { date: name.syncedOn, from, ofFile };
}
