/**
 * Reads the rejected lines of a loaded drop again, by today's rules, and takes in what can be read now. What
 * comes in ranks as what it is: a statement of the drop, with its sync date and the number of its load. So it
 * changes nothing that a newer drop, or a later line of this one, has stated. The retry has an entry of its own
 * in the ledger, with its deltas, so that the reports know from when on the lines counted.
 */
import { desc, eq, or, sql } from "drizzle-orm";
import { type Database, type Transaction, withTransaction } from "../../db/client.ts";
import { streamRows } from "../../db/cursor.ts";
import { RollbookError } from "../../db/errors.ts";
import { LOCK, lockUntilEnd } from "../../db/locks.ts";
import { PLAN_AS_WRITTEN } from "../../db/plans.ts";
import type { ReasonSummary } from "../../db/reason_summary.ts";
import { withRetries } from "../../db/retry.ts";
import { dismissals, type Load, loads, openRejects, rejects, type Settings } from "../../db/schema.ts";
import { openingIn } from "../../db/settings.ts";
import type { RestatedPeriod } from "../closings/period.ts";
import { checkRestated } from "../closings/restated_by_load.ts";
import { givenVenue } from "../drop/form.ts";
import { readRules } from "../drop/rules.ts";
import { mayBeCovered } from "./absence.ts";
import { refuseChangedFile } from "./changed.ts";
import { CHUNK_LINES } from "./direct/chunk.ts";
import { beginEntry, enterLedger } from "./ledger.ts";
import { addStagedVenues, mergeRetried, readStagedDates } from "./merge.ts";
import { openPartitions } from "./prepare.ts";
import { QUARANTINE_BYTES } from "./quarantine.ts";
import { columnsOfSource } from "./read_by.ts";
import { type LineCounts, NO_LINES } from "./report.ts";
import { createSelection } from "./selection.ts";
import { emptyStaging, stageDrop, takeStagingSlot } from "./stage.ts";
import { type LoadProgress, type Stopwatch, startStopwatch } from "./steps.ts";
import type { LoadTask } from "./task.ts";

export interface RetryOptions {
  readonly database: Database;
  readonly settings: Settings;
  /** The load whose open lines are read again, or an earlier retry of it. */
  readonly loadId: number;
  /** Finds the file of the drop, and what says today how it is read; its bytes are compared with the ledger. */
  readonly findFile: (drop: Load) => Promise<Pick<LoadTask, "path" | "follow" | "source">>;
  /** As for a load. */
  readonly decimalComma?: boolean | undefined;
  readonly syncSlack?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: LoadProgress) => void) | undefined;
}

export interface RetryReport {
  /**
   * `taken_in`: some came in, or are left out by the source; `nothing_taken`: today's rules refuse all of them
   * as well; nothing has changed.
   */
  readonly outcome: "taken_in" | "nothing_taken" | "nothing_open";
  /** Number of the retry in the ledger; null when nothing was taken in. */
  readonly loadId: number | null;
  /** The load whose lines they are. */
  readonly retryOf: number;
  readonly fileName: string;
  /** Of the lines that were open. */
  readonly rows: LineCounts;
  /** What stays open, by reason. */
  readonly reasons: readonly ReasonSummary[];
  /** Partitions in which the count or total of a group changed: those to refresh. */
  readonly partitions: readonly string[];
  /** What it changed in periods that are closed. Left out where that is nothing. */
  readonly restated?: readonly RestatedPeriod[];
}

/**
 * Takes in what can be read now of the open lines of a load, in one transaction.
 *
 * @throws RollbookError `not_found` when there is no such load, `usage` when it was not loaded
 */
export async function retryRejects(options: RetryOptions): Promise<RetryReport> {
  const { settings, signal } = options;
  const opening = [...openingIn(settings), ...PLAN_AS_WRITTEN];
  return withRetries({ signal }, () => {
    const stopwatch = startStopwatch(options.onProgress);
    return withTransaction({ ...options, opening }, (tx) => retryOnce(tx, options, stopwatch));
  });
}

async function retryOnce(tx: Transaction, options: RetryOptions, stopwatch: Stopwatch): Promise<RetryReport> {
  const family = await lockFamily(tx, options.loadId);
  const { root, newest } = family;
  const nothing = { loadId: null, retryOf: root.loadId, fileName: root.fileName, partitions: [] };
  const open = await tx.db
    .select({ reason: openRejects.reason })
    .from(openRejects)
    .where(eq(openRejects.loadId, newest));
  if (open.length === 0) return { ...nothing, outcome: "nothing_open", rows: NO_LINES, reasons: [] };
  const file = await options.findFile(root);
  refuseSums(root, file.source);
  refuseAnotherVenue(root, file.source);
  const task = await makeTask(tx, options, { root, file, stopwatch });
  await tx.db.execute(sql`savepoint retry`);
  const loadId = await enterRetry(tx, root, file.source);
  const result = await takeIn({ ...task, loadId }, root, family);
  const { rows, reasons, partitions } = result;
  if (rows.read === rows.rejected && rows.skipped === 0) {
    await tx.db.execute(sql`rollback to savepoint retry`);
    return { ...nothing, outcome: "nothing_taken", rows, reasons };
  }
  const restated = await checkRestated(tx, { loadId, partitions, rules: task.rules });
  await enterLedger(tx, loadId, {
    ...rows,
    reasons,
    partitions: [...partitions],
    timings: stopwatch.timings(),
  });
  const more = restated.length > 0 && { restated };
  return { ...nothing, outcome: "taken_in", loadId, rows, reasons, partitions, ...more };
}

/** A load and what was decided about its rejects. */
interface Family {
  /** The load of the drop. */
  readonly root: Load;
  /** Its newest retry, or itself: all lines that are open are among its rejects. */
  readonly newest: number;
}

/**
 * Finds a load by its own number or that of a retry. Until the transaction ends nobody else decides about its
 * rejects.
 *
 * @throws RollbookError `not_found`, `usage`
 */
export async function lockFamily(tx: Transaction, loadId: number): Promise<Family> {
  const root = await findRoot(tx, loadId);
  await lockUntilEnd(tx, LOCK.decideRejects, root.loadId);
  const [newest] = await tx.db
    .select({ loadId: loads.loadId })
    .from(loads)
    .where(or(eq(loads.loadId, root.loadId), eq(loads.retryOf, root.loadId)))
    .orderBy(desc(loads.loadId))
    .limit(1);
  return { root, newest: newest?.loadId ?? root.loadId };
}

async function findRoot(tx: Transaction, loadId: number): Promise<Load> {
  const [load] = await tx.db.select().from(loads).where(eq(loads.loadId, loadId));
  if (load === undefined) {
    throw new RollbookError({
      code: "not_found",
      message: `there is no load ${loadId}. List what is open with: rollbook rejects`,
    });
  }
  if (load.retryOf !== null) return findRoot(tx, load.retryOf);
  if (load.status === "loaded") return load;
  if (load.undoOf !== null || load.status === "repair") {
    throw new RollbookError({
      code: "usage",
      message: `${loadId} is the entry of ${load.undoOf === null ? "a repair" : "an undo"}, which refused no lines. List what is open with: rollbook rejects`,
    });
  }
  throw new RollbookError({
    code: "usage",
    message: `load ${loadId} is ${load.status}, so nothing of its file counts, and none of its lines is open. Load the file again.`,
  });
}

async function makeTask(
  tx: Transaction,
  options: RetryOptions,
  {
    root,
    file,
    stopwatch,
  }: {
    readonly root: Load;
    readonly file: Pick<LoadTask, "path" | "follow" | "source">;
    readonly stopwatch: Stopwatch;
  },
): Promise<Omit<LoadTask, "loadId">> {
  const { sha256, bytes, syncedOn } = root;
  if (sha256 === null || bytes === null || syncedOn === null)
    throw new Error("a loaded drop has all of them");
  stopwatch.totalBytes = bytes;
  return {
    ...options,
    tx,
    ...file,
    gzip: /\.gz$/i.test(file.path),
    bytes,
    sha256,
    syncedOn,
    form: file.source?.form,
    rules: await readRules(tx, {
      ...options,
      syncSlack: file.source?.syncSlack ?? options.syncSlack,
      syncedOn,
    }),
    // The whole drop may have been read before it said so.
    replacesVenueDays: false,
    rejectLimit: { share: 1, lines: 0 },
    refuseSuspicious: false,
    quarantineBytes: QUARANTINE_BYTES,
    chunkLines: CHUNK_LINES,
    stopwatch,
  };
}

/** Of rows that are added up some may be in already, and each of those would have to be known by itself. */
function refuseSums({ loadId, fileName }: Load, source: LoadTask["source"]): void {
  if (source?.form.sumRows !== true) return;
  throw new RollbookError({
    code: "usage",
    message: `${fileName}: source ${source.name} adds up rows (sum_rows), so lines that were refused cannot come in by themselves. Let the sender send them again in a newer file, and dismiss these: rollbook rejects dismiss --load ${loadId}`,
  });
}

/** The lines of one drop would stand under two venues. */
function refuseAnotherVenue({ loadId, fileName, venueId }: Load, source: LoadTask["source"]): void {
  const venue = givenVenue(source?.form);
  if (venue === venueId) return;
  const say = (id: string | null) => (id === null ? "no venue" : `the venue ${id}`);
  throw new RollbookError({
    code: "usage",
    message: `${fileName}: its source gave ${say(venueId)} when load ${loadId} read it, and gives ${say(venue)} now. Name the file in the folder of its venue, or let the source give what it gave`,
  });
}

async function enterRetry(tx: Transaction, root: Load, source: LoadTask["source"]): Promise<number> {
  const { fileName, sha256, bytes, syncedOn, loadId: retryOf } = root;
  const startedAt = sql`clock_timestamp()`;
  const drop = { fileName, sha256, bytes, syncedOn, ...columnsOfSource(source) };
  return beginEntry(tx, { ...drop, status: "retry", retryOf, startedAt });
}

interface TakenIn {
  readonly rows: LineCounts;
  readonly reasons: readonly ReasonSummary[];
  readonly partitions: readonly string[];
}

/** Stages the whole drop, because a later line of it wins, and takes in the lines that were open. */
async function takeIn(task: LoadTask, root: Load, { newest }: Family): Promise<TakenIn> {
  const { tx, loadId, syncedOn, stopwatch } = task;
  const open = await listOpenLines(tx, newest);
  const selection = createSelection(open, await listDismissedLines(tx, root.loadId));
  stopwatch.enter("stage");
  const slot = await takeStagingSlot(tx, task.signal);
  const { sha256, refusal, rejected, voided, reasons } = await stageDrop({ ...task, selection }, slot);
  await refuseChangedFile(sha256, task);
  if (refusal !== null) throw new RollbookError({ code: "usage", message: refusal.message });
  const read = selection.positions.length + rejected;
  // What its source leaves out today is decided.
  const refused = { ...NO_LINES, read, rejected, skipped: open.length - read };
  if (selection.positions.length === 0) {
    await emptyStaging(tx, slot);
    return { rows: refused, reasons, partitions: [] };
  }
  stopwatch.enter("prepare");
  await addStagedVenues(tx, slot, task);
  const dates = await readStagedDates(tx, slot, task.settings);
  const absentUntil = await openPartitions(tx, { ...task, alone: voided > 0 }, dates);
  stopwatch.enter("merge");
  const merged = await mergeRetried({
    tx,
    settings: task.settings,
    slot,
    loadId,
    syncedOn,
    statedBy: root.loadId,
    selection,
    absence: { replacesVenueDays: false, voided, maybeCovered: mayBeCovered(absentUntil, task) },
  });
  await emptyStaging(tx, slot);
  stopwatch.enter("commit");
  const { inserted, corrected, unchanged, absent, partitions } = merged;
  const superseded = selection.positions.length - voided - inserted - corrected - unchanged;
  const rows = { ...refused, inserted, corrected, unchanged, superseded, voided, absent };
  return { rows, reasons, partitions };
}

/** The lines of a load that nobody has decided on, ascending. */
async function listOpenLines(tx: Transaction, loadId: number): Promise<readonly number[]> {
  return collectLines(
    tx,
    sql`
      select r.line
      from ${rejects} r
      where r.load_id = ${loadId}
        and not exists (
          select from ${dismissals} d where d.load_id = r.load_id and d.reason = r.reason
        )
      order by r.line`,
  );
}

/** The lines of a drop that were dismissed, in its load or in a retry, ascending. */
async function listDismissedLines(tx: Transaction, root: number): Promise<readonly number[]> {
  return collectLines(
    tx,
    sql`
      select r.line
      from ${loads} l
      join ${dismissals} d on d.load_id = l.load_id
      join ${rejects} r on r.load_id = d.load_id and r.reason = d.reason
      where l.load_id = ${root} or l.retry_of = ${root}
      order by r.line`,
  );
}

async function collectLines(tx: Transaction, query: ReturnType<typeof sql>): Promise<readonly number[]> {
  const lines: number[] = [];
  for await (const { line } of streamRows<{ line: string }>(tx, query)) lines.push(Number(line));
  return lines;
}
