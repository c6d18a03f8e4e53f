/** Looks at a file as a load would read it, without a warehouse: nothing is stored, and no database is asked. */
import { stat } from "node:fs/promises";
import { basename } from "node:path";
import { toDate } from "../../db/dates.ts";
import type { ReasonSummary, Suspicion } from "../../db/reason_summary.ts";
import type { Settings } from "../../db/schema.ts";
import type { Dialect } from "../drop/dialect.ts";
import type { Encoding } from "../drop/form.ts";
import type { RowsEvent } from "../drop/lines.ts";
import { readDrop } from "../drop/read.ts";
import type { CopyLayout } from "../drop/row.ts";
import { type LineRules, rulesAt } from "../drop/rules.ts";
import { readTimestamp, type Timestamp } from "../drop/value/timestamp.ts";
import { createZoneCalendar, type ZoneCalendar } from "../drop/zone_calendar.ts";
import {
  isTooMany,
  limitRejects,
  QUARANTINE_BYTES,
  replacesVenueDays,
  sizeOfReject,
} from "../load/quarantine.ts";
import { readBy } from "../load/read_by.ts";
import { addReject, type Reasons, startReasons, summariseReasonsAbout } from "../load/reasons.ts";
import type { ReadBy, Refusal } from "../load/report.ts";
import { findSuspicions } from "../load/suspicion.ts";
import type { FileSource } from "../sources/source.ts";
import { type NamedColumns, nameColumns } from "./columns.ts";
import { type CopiedRow, readCopiedRows } from "./copied_rows.ts";
import { type DayTotal, type DayTotals, startDayTotals } from "./day_totals.ts";
import { decodeHead, type Head, readHead } from "./head.ts";
import { findLikelyEncoding, type LikelyEncoding } from "./likely_encoding.ts";
import { findSyncDate, type SyncDate } from "./sync_date.ts";

/** So many rows are shown. */
const FIRST_ROWS = 5;
/** Enough to find the header in. */
const HEAD_BYTES = 64 * 1024;
/** In place of a sync date where none is known: no line is too late. */
const NO_SYNC_DATE = "9999-12-30";

export interface InspectOptions {
  readonly path: string;
  /** What says how the file is read; undefined: it is one of the drop format. */
  readonly source?: FileSource | undefined;
  /** `YYYY-MM-DD`, or `mtime` for the date of the file's last change. */
  readonly syncedOn?: string | undefined;
  /** The warehouse that the file is for. */
  readonly settings: Pick<Settings, "timeZone" | "earliest" | "dayStarts">;
  readonly decimalComma?: boolean | undefined;
  /** How many days after the sync date are taken, too, where the source does not say. */
  readonly syncSlack?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: InspectProgress) => void) | undefined;
}

export interface InspectProgress {
  readonly bytes: number;
  readonly totalBytes: number;
  /** Lines read so far. */
  readonly rows: number;
}

/** A row as it would be loaded. */
export interface FirstRow extends CopiedRow {
  readonly created_on: string;
}

export interface Inspection {
  /** Why the file would be refused as a whole; null where it would be taken. */
  readonly refusal: Refusal | null;
  readonly container: {
    readonly gzip: boolean;
    /** How it is read. */
    readonly encoding: Encoding;
    /** Whether a byte order mark says so. */
    readonly marked: boolean;
    /** Where some of it is not in that encoding. */
    readonly likely: LikelyEncoding | null;
  };
  /** Null where it is not known. */
  readonly dialect: Pick<Dialect, "delimiter" | "header"> | null;
  readonly columns: NamedColumns | null;
  readonly syncDate: SyncDate | null;
  /** What reads it; null: it is read as the drop format. */
  readonly source: ReadBy | null;
  /** Whether a load would take out all other invoices of its venues and dates. */
  readonly replacesVenueDays: boolean;
  /**
   * `read`: those that are taken and those that are rejected; beside them those that the source skips. `voided`: of
   * those that are taken, how many say that their invoice is void.
   */
  readonly rows: {
    readonly read: number;
    readonly taken: number;
    readonly voided: number;
    readonly rejected: number;
    readonly skipped: number;
  };
  /** Of the lines that are taken, in euros. */
  readonly total: string;
  readonly firstRows: readonly FirstRow[];
  readonly reasons: readonly ReasonSummary[];
  /** Why the rejects of a file that would be taken may be more than single bad lines. */
  readonly suspicious: readonly Suspicion[];
  /** All of them, the oldest first. */
  readonly days: readonly DayTotal[];
}

/**
 * Reads a file to its end, in memory that does not grow with it but for its creation dates.
 *
 * @throws RollbookError `file_unreadable`, `aborted`
 */
export async function inspectFile(options: InspectOptions): Promise<Inspection> {
  const { path, source, settings, signal } = options;
  const calendar = createZoneCalendar(settings);
  const found = await findSyncDate({ ...options, calendar });
  const syncDate = "code" in found ? null : found;
  const rules = rulesFor(options, calendar, syncDate?.date);
  const head = await readHead({ path, bytes: HEAD_BYTES, signal });
  const reading = await readWhole(options, rules, calendar);
  const { dialect, taken, voided, rejected, skipped, days } = reading;
  const rows = { read: taken + rejected, taken, voided, rejected, skipped };
  const refusal = reading.refusal ?? ("code" in found ? found : findTooMany(options, rows));
  const reasons = await summariseReasonsAbout(reading.reasons, {
    rules,
    settings,
    source,
    syncedOn: syncDate?.date ?? NO_SYNC_DATE,
    findCreatedOn: async (times) => times.map((time) => toDate(calendar.dayOf(time))),
  });
  const money = { taken: days.money(), rejected: reading.reasons.money };
  const container = await describeContainer(options, head, { reading, refusal });
  return {
    refusal,
    container,
    dialect: dialect && { delimiter: dialect.delimiter, header: dialect.header },
    columns: dialect && nameColumns(dialect, decodeHead(head, container.encoding), source?.form),
    syncDate,
    source: readBy(source),
    replacesVenueDays: replacesVenueDays({ source }),
    rows,
    total: days.total(),
    firstRows: reading.firstRows,
    reasons,
    suspicious: refusal === null ? findSuspicions(reasons, money) : [],
    days: days.list(),
  };
}

/** Where some of the text is not in its encoding, the file is read once more to see which it looks like. */
async function describeContainer(
  options: InspectOptions,
  head: Head,
  { reading, refusal }: { readonly reading: Reading; readonly refusal: Refusal | null },
): Promise<Inspection["container"]> {
  const encoding = head.marked ?? options.source?.form.encoding ?? "utf-8";
  const isMisread =
    reading.reasons.byReason.has("bad_encoding") ||
    refusal?.code === "bad_encoding" ||
    (encoding === "utf-8" && head.bytes.includes(0));
  const likely = isMisread ? await findLikelyEncoding(options) : null;
  return {
    gzip: head.gzip,
    encoding,
    marked: head.marked !== undefined,
    likely: likely?.encoding === encoding ? null : likely,
  };
}

/** As a load has them; but no partition or period is closed, because there is none. */
function rulesFor(
  { settings, source, syncSlack = 0, decimalComma = false }: InspectOptions,
  calendar: ZoneCalendar,
  syncedOn = NO_SYNC_DATE,
): LineRules {
  const slack = syncedOn === NO_SYNC_DATE ? 0 : (source?.syncSlack ?? syncSlack);
  const bounds = { ...settings, syncedOn, syncSlack: slack, closed: [], closedPeriods: null, decimalComma };
  return rulesAt(bounds, calendar.thresholdOf);
}

/** What reading came to. */
interface Reading {
  dialect: Dialect | null;
  layout: CopyLayout;
  taken: number;
  voided: number;
  rejected: number;
  skipped: number;
  /** What the rejects would take in quarantine, in bytes. */
  rejectBytes: number;
  readonly firstRows: FirstRow[];
  readonly reasons: Reasons;
  readonly days: DayTotals;
  refusal: Refusal | null;
}

async function readWhole(
  { path, source, settings, signal, onProgress }: InspectOptions,
  rules: LineRules,
  calendar: ZoneCalendar,
): Promise<Reading> {
  const reading: Reading = {
    dialect: null,
    layout: { delimiter: ",", columns: [] },
    ...{ taken: 0, voided: 0, rejected: 0, skipped: 0, rejectBytes: 0 },
    firstRows: [],
    reasons: startReasons(),
    days: startDayTotals(),
    refusal: null,
  };
  const { size: totalBytes } = await stat(path);
  let bytes = 0;
  const onBytes = (read: number) => {
    bytes = read;
  };
  const dayOf = (text: string) => calendar.dayOf(timeOf(text, settings));
  for await (const event of readDrop({ path, rules, form: source?.form, signal, onBytes })) {
    if (event.kind === "dialect") {
      reading.dialect = event.dialect;
      reading.layout = event.copy;
    } else if (event.kind === "refused") {
      if (event.code === "bad_header" || event.code === "bad_container") reading.dialect = null;
      reading.refusal = { code: event.code, message: event.message };
    } else if (event.kind === "rows") {
      takeRows(reading, event, dayOf);
      onProgress?.({ bytes, totalBytes, rows: reading.taken + reading.rejected });
      if (reading.rejectBytes > QUARANTINE_BYTES) {
        reading.refusal = refuseFull(path, reading);
        break;
      }
    }
  }
  return reading;
}

function timeOf(text: string, { dayStarts }: InspectOptions["settings"]): Timestamp {
  const time = readTimestamp(text, dayStarts);
  if (time === undefined) throw new Error(`a row has the time ${text}`);
  return time;
}

function takeRows(reading: Reading, event: RowsEvent, dayOf: (text: string) => number): void {
  for (const row of readCopiedRows(event.copy, reading.layout)) {
    if (row.total === "") continue;
    const day = dayOf(row.datetime_created);
    reading.days.add(day, row.total);
    if (reading.firstRows.length < FIRST_ROWS) reading.firstRows.push({ ...row, created_on: toDate(day) });
  }
  for (const reject of event.rejects) {
    addReject(reading.reasons, reject);
    reading.rejectBytes += sizeOfReject(reject);
  }
  reading.taken += event.rows;
  reading.voided += event.voids.length;
  reading.rejected += event.rejects.length;
  reading.skipped += event.skipped;
}

/** As a load: its quarantine has an end. */
function refuseFull(path: string, { taken, rejected }: Reading): Refusal {
  const message = `${basename(path)}: reading stopped after ${taken + rejected} lines, because the ${rejected} that are rejected fill the quarantine of a load: mend the file, or divide it`;
  return { code: "too_many_rejects", message };
}

function findTooMany({ source }: InspectOptions, { read, rejected }: Inspection["rows"]): Refusal | null {
  const limit = limitRejects({ source });
  if (!isTooMany(rejected, read, limit)) return null;
  const few = limit.lines > 0 ? ` and more than ${limit.lines}` : "";
  const why =
    source?.form.sumRows === true
      ? "none may be where rows are added up (sum_rows)"
      : replacesVenueDays({ source })
        ? "none may be in a file that replaces venue days (replace_venue_days)"
        : `more than the share of ${limit.share}${few} that is allowed`;
  return { code: "too_many_rejects", message: `${rejected} of ${read} lines are rejected, ${why}` };
}
