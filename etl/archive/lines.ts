/** Reads what the file of a load says of one invoice: its lines, as they stand there. */
import { relative } from "node:path";
import { RollbookError } from "../../db/errors.ts";
import type { ReportedLoad, Settings } from "../../db/schema.ts";
import { unpack } from "../drop/container.ts";
import { readFileBytes } from "../drop/file.ts";
import type { Form } from "../drop/form.ts";
import { readDrop } from "../drop/read.ts";
import type { CopyLayout } from "../drop/row.ts";
import { rulesAt } from "../drop/rules.ts";
import { createZoneCalendar } from "../drop/zone_calendar.ts";
import { type ArchivedFile, findArchivedFiles } from "../inbox/find.ts";
import { readCopiedRows } from "../inspect/copied_rows.ts";
import type { Source } from "../sources/source.ts";

/** A larger file is not read: somebody waits for it. */
const MOST_BYTES = 256 * 1024 * 1024;
/** Lines that are read of one file. */
const MOST_LINES = 20;
/** Bytes of a line that are shown. */
const MOST_LINE_BYTES = 2000;
/** More days after the sync date than any load took. */
const ANY_SLACK = 36_500;

export interface FileLines {
  /**
   * `read`; `missing`: no file below the folder has these bytes; `other_source`: the source that read it is not there, or not as it
   * was then; `too_large`; `unreadable`.
   */
  readonly outcome: "read" | "missing" | "other_source" | "too_large" | "unreadable";
  /** Where the file is, below the folder. */
  readonly path: string | null;
  readonly lines: readonly FileLine[];
}

export interface FileLine {
  /** From 1. */
  readonly line: number;
  /** Without its end, and without what is beyond the first bytes. */
  readonly text: string;
}

export type LinesLoad = Pick<
  ReportedLoad,
  "loadId" | "fileName" | "bytes" | "sha256" | "syncedOn" | "source" | "sourceSha256" | "venueId"
>;

/**
 * Finds the file of a load by its bytes, and in it the lines of one invoice. Only files below the folder are looked at, and no link is
 * followed.
 *
 * @throws RollbookError `aborted`
 */
export async function readInvoiceLines(options: {
  readonly folder: string;
  /** Those of today: one that read a file must be what it was then. */
  readonly sources: readonly Source[];
  readonly settings: Pick<Settings, "timeZone" | "earliest" | "dayStarts">;
  readonly load: LinesLoad;
  readonly venue: string;
  readonly invoiceId: string;
  readonly signal?: AbortSignal | undefined;
}): Promise<FileLines> {
  const { folder, load, signal } = options;
  const nothing = { path: null, lines: [] };
  if (load.sha256 === null || load.bytes === null) return { ...nothing, outcome: "missing" };
  if (load.bytes > MOST_BYTES) return { ...nothing, outcome: "too_large" };
  const drop = { ...load, sha256: Buffer.from(load.sha256, "hex") };
  try {
    const file = (await findArchivedFiles({ drops: [drop], folder, signal })).get(load.loadId);
    if (file === undefined) return { ...nothing, outcome: "missing" };
    const path = relative(folder, file.path);
    const form = findForm(load, options.sources);
    if (form === "other") return { path, lines: [], outcome: "other_source" };
    const numbers = await findLines(file, form, options);
    return { path, lines: await readTexts(file, form, numbers, signal), outcome: "read" };
  } catch (error) {
    if (signal?.aborted || !(error instanceof RollbookError)) throw error;
    return { ...nothing, outcome: "unreadable" };
  }
}

function findForm(load: LinesLoad, sources: readonly Source[]): Form | undefined | "other" {
  if (load.source === null) return undefined;
  const source = sources.find(({ name }) => name === load.source);
  if (source?.sha256.toString("hex") !== load.sourceSha256) return "other";
  return load.venueId === null
    ? source?.form
    : source && { ...source.form, venueId: { constant: load.venueId } };
}

type Options = Parameters<typeof readInvoiceLines>[0];

/**
 * The numbers of its lines. Whether comma and point changed places in the totals is not in the ledger, so a file in which there are none
 * is read in the other way, too.
 */
async function findLines(
  file: ArchivedFile,
  form: Form | undefined,
  { settings, load, venue, invoiceId, signal }: Options,
): Promise<readonly number[]> {
  const calendar = createZoneCalendar(settings);
  const bounds = {
    ...settings,
    syncedOn: load.syncedOn ?? settings.earliest,
    syncSlack: ANY_SLACK,
    closed: [],
    closedPeriods: null,
  };
  // A quick look, before a batch is taken apart.
  const id = new RegExp(invoiceId, "i");
  for (const decimalComma of [false, true]) {
    const numbers: number[] = [];
    const rules = rulesAt({ ...bounds, decimalComma }, calendar.thresholdOf);
    let layout: CopyLayout | undefined;
    for await (const event of readDrop({ ...file, rules, form, numbered: true, signal })) {
      if (event.kind === "dialect") layout = event.copy;
      if (event.kind !== "rows" || layout === undefined || !id.test(event.copy.toString("latin1"))) continue;
      let at = 0;
      for (const row of readCopiedRows(event.copy, layout)) {
        const number = event.lines?.[at++];
        if (number === undefined || row.venue_id !== venue || row.invoice_id.toLowerCase() !== invoiceId)
          continue;
        numbers.push(number);
      }
      if (numbers.length >= MOST_LINES) break;
    }
    if (numbers.length > 0) return numbers.slice(0, MOST_LINES);
  }
  return [];
}

const LF = 0x0a;

/** The texts of lines. A record that goes on in the next line is shown to the end of its first. */
async function readTexts(
  file: ArchivedFile,
  form: Form | undefined,
  numbers: readonly number[],
  signal: AbortSignal | undefined,
): Promise<readonly FileLine[]> {
  const wanted = new Map<number, Buffer[]>(numbers.map((number) => [number, []]));
  const last = Math.max(0, ...numbers);
  const raw = readFileBytes({ ...file, signal });
  let line = 1;
  for await (const chunk of await unpack({ raw, namedGzip: file.gzip, encoding: form?.encoding })) {
    if (!Buffer.isBuffer(chunk) || line > last) break;
    for (let from = 0; from < chunk.length && line <= last; ) {
      const lf = chunk.indexOf(LF, from);
      const to = lf < 0 ? chunk.length : lf;
      wanted.get(line)?.push(chunk.subarray(from, Math.min(to, from + MOST_LINE_BYTES)));
      if (lf >= 0) line += 1;
      from = to + 1;
    }
  }
  return [...wanted].map(([number, pieces]) => ({
    line: number,
    text: Buffer.concat(pieces).subarray(0, MOST_LINE_BYTES).toString("utf8").replace(/\r$/, ""),
  }));
}
