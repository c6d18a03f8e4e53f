/** One load: a drop taken into the warehouse in one transaction, or not at all. DESIGN: docs/design.md, "A load". */
import { basename } from "node:path";
import { and, eq, inArray, sql } from "drizzle-orm";
import pRetry from "p-retry";
import { type Database, LOCK, lockUntilEnd, type Transaction, withTransaction } from "../db/client.ts";
import {
  errorState,
  isConnectionLost,
  isRetryable,
  RollbookError,
  rootCause,
  SQLSTATE,
} from "../db/errors.ts";
import { addDays, ensurePartitions, holdPartitions, listPartitions, partitionOf } from "../db/partitions.ts";
import { type Load, loads, type Settings } from "../db/schema.ts";
import { readThresholds } from "./calendar.ts";
import { hashDrop, readDropName } from "./drop.ts";
import { addNewVenues, mergeStaging, readStagedDates } from "./merge.ts";
import { type Staged, stageDrop, takeStagingSlot } from "./stage.ts";
import type { LineRules } from "./validate.ts";

/** Steps of a load, in their order. `committed` is reported when the drop is in for good. */
export const LOAD_STEPS = ["hash", "claim", "stage", "prepare", "merge", "commit", "committed"] as const;
export type LoadStep = (typeof LOAD_STEPS)[number];

export interface LoadProgress {
  readonly step: LoadStep;
  /** Bytes of the file read in this step, of `totalBytes`. */
  readonly bytes: number;
  readonly totalBytes: number;
  /** Lines read so far. */
  readonly rows: number;
}

/** What became of the lines: `read` is the sum of the other five when the load is loaded. */
export interface LineCounts {
  readonly read: number;
  readonly inserted: number;
  readonly corrected: number;
  readonly unchanged: number;
  readonly superseded: number;
  readonly rejected: number;
}

export type LoadOutcome = "loaded" | "already_loaded" | "rejected" | "failed";

export interface LoadReport {
  /** The path as it was given. */
  readonly file: string;
  readonly outcome: LoadOutcome;
  /** Its number in the ledger; null when not even that could be written. */
  readonly loadId: number | null;
  readonly syncedOn: string | null;
  readonly rows: LineCounts;
  /** Partitions in which the count or total of a group changed, oldest first. */
  readonly partitions: readonly string[];
  /** Partitions whose rollup this drop made pending, now or when it was loaded: those to refresh. */
  readonly touched: readonly string[];
  readonly durationMs: number;
  /** Milliseconds per step. */
  readonly timings: Readonly<Partial<Record<LoadStep, number>>>;
  readonly error?: { readonly code: string; readonly message: string };
}

export interface LoadOptions {
  /** A load takes two connections of its pool at a time. */
  readonly database: Database;
  readonly settings: Settings;
  readonly path: string;
  /** Overrides the sync date in the file's name; `YYYY-MM-DD`. */
  readonly syncedOn?: string | undefined;
  /** Greatest share of rejects among the lines read, 0 to 1; default 0.01. */
  readonly maxRejects?: number | undefined;
  /** Totals may have a decimal comma; default false. */
  readonly decimalComma?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: LoadProgress) => void) | undefined;
  /** Told of each new attempt, with the reason. */
  readonly onRetry?: ((attempt: number, error: unknown) => void) | undefined;
}

export const DEFAULT_MAX_REJECTS = 0.01;
/** A load sorts its lines and groups them; below this it does so on disk. Bytes, per sort. */
const LEAST_WORK_MEM = 128 * 1024 * 1024;
const RETRIES = 4;
const NO_LINES: LineCounts = { read: 0, inserted: 0, corrected: 0, unchanged: 0, superseded: 0, rejected: 0 };

type Refusal = { readonly code: string; readonly message: string };
type Attempt = Omit<LoadReport, "file" | "durationMs" | "timings">;

/** What the attempts at one load leave for the next ones. */
interface Course {
  readonly clock: Clock;
  content?: { readonly sha256: Buffer; readonly bytes: number };
  /** Numbers of the loads whose commit was sent: its answer may have been lost on the way. */
  readonly sent: number[];
}

/**
 * Loads one drop. Deadlocks, serialization failures and lost connections roll the load back and it is tried again as a whole. A drop
 * that is refused is an outcome, not an error, and so is a failure that the ledger could record.
 *
 * @throws RollbookError `aborted` when `signal` aborts: the load is rolled back
 */
export async function loadDrop(options: LoadOptions): Promise<LoadReport> {
  const { signal } = options;
  const started = performance.now();
  const course: Course = { clock: startClock(options), sent: [] };
  const durationMs = () => Math.round(performance.now() - started);
  const report = (attempt: Attempt): LoadReport => ({
    file: options.path,
    ...attempt,
    durationMs: durationMs(),
    timings: course.clock.timings(),
  });
  try {
    return report(
      await pRetry(() => attemptLoad(options, course), {
        retries: RETRIES,
        minTimeout: 100,
        factor: 3,
        randomize: true,
        ...(signal && { signal }),
        shouldRetry: ({ error }) => isRetryable(error) && signal?.aborted !== true,
        onFailedAttempt: ({ attemptNumber, error, retriesLeft }) => {
          if (retriesLeft > 0 && isRetryable(error)) options.onRetry?.(attemptNumber, error);
        },
      }),
    );
  } catch (error) {
    if (signal?.aborted) {
      if (error instanceof RollbookError && error.code === "aborted") throw error;
      throw new RollbookError({ code: "aborted", message: "interrupted: rolled back", cause: signal.reason });
    }
    return report(await recordFailure(options, course, { error, durationMs: durationMs() }));
  }
}

async function attemptLoad(options: LoadOptions, course: Course): Promise<Attempt> {
  const { clock } = course;
  const name = readDropName({ fileName: basename(options.path), syncedOn: options.syncedOn });
  clock.enter("hash");
  const content = await hashDrop({
    path: options.path,
    signal: options.signal,
    onBytes: (bytes) => clock.progress({ bytes }),
  });
  course.content = content;
  clock.totalBytes = content.bytes;
  if (name.kind === "refused")
    return withTransaction(options, (tx) => recordRefusal(tx, options, content, name));
  const attempt = await withTransaction(options, async (tx) => {
    const sent = await findSent(tx, course, name.syncedOn);
    if (sent !== undefined) return sent;
    const done = await loadOnce(tx, options, course, { ...content, ...name });
    if (done.loadId !== null && done.outcome !== "already_loaded") course.sent.push(done.loadId);
    return done;
  });
  clock.enter("committed");
  return attempt;
}

/**
 * The load that an attempt before this one committed without hearing of it, if there is one. After a crash of the server a number that
 * was not committed may be given again, so it must be the same drop, too.
 */
async function findSent(tx: Transaction, course: Course, syncedOn: string): Promise<Attempt | undefined> {
  if (course.sent.length === 0 || course.content === undefined) return undefined;
  const [load] = await tx.db
    .select()
    .from(loads)
    .where(
      and(
        inArray(loads.loadId, course.sent),
        eq(loads.sha256, course.content.sha256),
        eq(loads.syncedOn, syncedOn),
        inArray(loads.status, ["loaded", "rejected"]),
      ),
    );
  return load && reportFromLedger(load);
}

function reportFromLedger(load: Load): Attempt {
  const { loadId, syncedOn, read, inserted, corrected, unchanged, superseded, rejected, partitions } = load;
  return {
    outcome: load.status === "loaded" ? "loaded" : "rejected",
    loadId,
    syncedOn,
    rows: { read, inserted, corrected, unchanged, superseded, rejected },
    partitions,
    touched: partitions,
    ...(load.errorCode !== null && { error: { code: load.errorCode, message: load.errorMessage ?? "" } }),
  };
}

interface Drop {
  readonly sha256: Buffer;
  readonly bytes: number;
  readonly gzip: boolean;
  readonly syncedOn: string;
}

async function loadOnce(tx: Transaction, options: LoadOptions, course: Course, drop: Drop): Promise<Attempt> {
  const { clock } = course;
  clock.enter("claim");
  const claim = await claimLoad(tx, options, drop);
  if (claim.kind === "already_loaded") {
    // The server may have been at the commit still, when the attempt began.
    const sent = await findSent(tx, course, drop.syncedOn);
    if (sent !== undefined) return sent;
    return {
      outcome: "already_loaded",
      loadId: claim.loadId,
      syncedOn: drop.syncedOn,
      rows: NO_LINES,
      partitions: [],
      touched: claim.partitions,
    };
  }
  const { loadId } = claim;
  clock.enter("stage");
  await tx.db.execute(sql`
    select set_config('TimeZone', ${options.settings.timeZone}, true),
           set_config('work_mem', greatest(pg_size_bytes(current_setting('work_mem')), ${LEAST_WORK_MEM}::bigint) / 1024 || 'kB', true)`);
  const staging = await takeStagingSlot(tx, options.signal);
  const rules = await readRules(tx, options, drop.syncedOn);
  const staged = await stageDrop({
    tx,
    table: staging,
    loadId,
    path: options.path,
    gzip: drop.gzip,
    rules,
    signal: options.signal,
    onProgress: (done) => clock.progress(done),
  });
  await refuseChangedFile(staged, drop, options);
  const refusal = staged.refusal ?? tooManyRejects(staged, options);
  if (refusal !== null) {
    return refuseStaged(tx, { loadId, staging, staged, refusal, syncedOn: drop.syncedOn });
  }

  clock.enter("prepare");
  await prepare(tx, options, staging);
  clock.enter("merge");
  const merged = await mergeStaging({ tx, staging, rows: staged.rows, loadId, syncedOn: drop.syncedOn });
  await tx.db.execute(sql.raw(`truncate ${staging}`));
  const rows: LineCounts = {
    read: staged.rows + staged.rejected,
    inserted: merged.inserted,
    corrected: merged.corrected,
    unchanged: merged.unchanged,
    superseded: staged.rows - merged.inserted - merged.corrected - merged.unchanged,
    rejected: staged.rejected,
  };
  clock.enter("commit");
  await enterLedger(tx, loadId, { ...rows, partitions: [...merged.partitions], timings: clock.timings() });
  const { partitions } = merged;
  return { outcome: "loaded", loadId, syncedOn: drop.syncedOn, rows, partitions, touched: partitions };
}

type Claim =
  | { readonly kind: "claimed"; readonly loadId: number }
  | { readonly kind: "already_loaded"; readonly loadId: number; readonly partitions: readonly string[] };

/**
 * Takes the drop for this transaction. The unique index on loaded drops decides: of two processes with the same drop the second waits here
 * until the first commits (already loaded) or rolls back (the second loads it).
 */
async function claimLoad(tx: Transaction, options: LoadOptions, drop: Drop): Promise<Claim> {
  const sameDrop = and(
    eq(loads.sha256, drop.sha256),
    eq(loads.syncedOn, drop.syncedOn),
    eq(loads.status, "loaded"),
  );
  for (;;) {
    const [present] = await tx.db
      .select({ loadId: loads.loadId, partitions: loads.partitions })
      .from(loads)
      .where(sameDrop);
    if (present !== undefined) return { kind: "already_loaded", ...present };
    const claimed = await tx.db.execute<{ load_id: number }>(sql`
      insert into warehouse.loads (file_name, sha256, bytes, synced_on, status)
      values (${basename(options.path)}, ${drop.sha256}, ${drop.bytes}, ${drop.syncedOn}, 'loaded')
      on conflict (sha256, synced_on) where status = 'loaded' do nothing
      returning load_id`);
    const [row] = claimed.rows;
    if (row !== undefined) return { kind: "claimed", loadId: row.load_id };
  }
}

/** What the lines are measured by: bounds, and the ranges whose partitions are closed. */
async function readRules(tx: Transaction, options: LoadOptions, syncedOn: string): Promise<LineRules> {
  const { timeZone, earliest } = options.settings;
  const afterSync = addDays(syncedOn, 1);
  const closed = closedRanges(await listPartitions(tx));
  const dates = [...new Set([earliest, afterSync, ...closed.flat()])];
  const thresholds = await readThresholds({ session: tx, timeZone, dates });
  const at = (date: string) => {
    const threshold = thresholds.get(date);
    if (threshold === undefined) throw new Error(`no threshold for ${date}`);
    return threshold;
  };
  return {
    earliest: at(earliest),
    afterSync: at(afterSync),
    closed: closed.map(([from, to]) => ({ from: at(from), to: at(to) })),
    decimalComma: options.decimalComma ?? false,
  };
}

/** Ranges of dates whose partitions are detached or dropped, adjoining ones as one. */
function closedRanges(
  partitions: readonly { readonly lower: string; readonly upper: string; readonly state: string }[],
): readonly (readonly [string, string])[] {
  const ranges: [string, string][] = [];
  for (const { lower, upper, state } of partitions) {
    if (state !== "detached" && state !== "dropped") continue;
    const last = ranges.at(-1);
    if (last !== undefined && last[1] === lower) last[1] = upper;
    else ranges.push([lower, upper]);
  }
  return ranges;
}

function tooManyRejects(staged: Staged, options: LoadOptions): Refusal | null {
  const share = options.maxRejects ?? DEFAULT_MAX_REJECTS;
  const read = staged.rows + staged.rejected;
  // In whole billionths, because 0.29 * 100 is less than 29.
  const allowed = BigInt(Math.round(share * 1e9)) * BigInt(read);
  if (BigInt(staged.rejected) * 1_000_000_000n <= allowed) return null;
  return {
    code: "too_many_rejects",
    message: `${staged.rejected} of ${read} lines were rejected, more than the share of ${share} that is allowed. See them with: rollbook rejects; then mend the file, or allow more with --max-rejects.`,
  };
}

/** Before all else that may be wrong with a drop: of half a file nothing can be said. */
async function refuseChangedFile(staged: Staged, drop: Drop, options: LoadOptions): Promise<void> {
  const { path, signal } = options;
  const sha256 = staged.sha256 ?? (await hashDrop({ path, signal })).sha256;
  if (sha256.equals(drop.sha256)) return;
  throw new RollbookError({
    code: "file_changed",
    message: `${path} changed while it was read. Let it be written completely, best under another name and then renamed, and load it again.`,
  });
}

/** Venues and partitions that the staged lines need; then no partition of theirs can be closed until this load ends. */
async function prepare(tx: Transaction, options: LoadOptions, staging: string): Promise<void> {
  const { database, settings, signal } = options;
  await addNewVenues({ tx, staging, database, signal });
  const dates = await readStagedDates(tx, staging);
  const names = new Set(dates.map((date) => partitionOf(settings.granularity, date).partition));
  let held = await holdPartitions(tx, [...names]);
  if (held.length < names.size) {
    await ensurePartitions({ database, granularity: settings.granularity, dates, signal });
    held = await holdPartitions(tx, [...names]);
  }
  if (held.length === names.size && held.every((p) => p.state === "open" || p.state === "stale")) return;
  // A partition was closed after its lines were staged: the next attempt rejects them.
  throw Object.assign(new Error("a partition was closed meanwhile"), { code: "partitions_changed" });
}

/** Nothing of a refused drop is kept but its ledger entry and its quarantine. */
async function refuseStaged(
  tx: Transaction,
  refused: {
    readonly loadId: number;
    readonly staging: string;
    readonly staged: Staged;
    readonly refusal: Refusal;
    readonly syncedOn: string;
  },
): Promise<Attempt> {
  const { loadId, staging, staged, refusal, syncedOn } = refused;
  await tx.db.execute(sql.raw(`truncate ${staging}`));
  const rows = { ...NO_LINES, read: staged.rows + staged.rejected, rejected: staged.rejected };
  await tx.db
    .update(loads)
    .set({
      status: "rejected",
      ...rows,
      finishedAt: sql`clock_timestamp()`,
      errorCode: refusal.code,
      errorMessage: refusal.message,
    })
    .where(eq(loads.loadId, loadId));
  return { outcome: "rejected", loadId, syncedOn, rows, partitions: [], touched: [], error: refusal };
}

/** The ledger entry of a drop whose name alone says that it cannot be loaded. */
async function recordRefusal(
  tx: Transaction,
  options: LoadOptions,
  content: { readonly sha256: Buffer; readonly bytes: number },
  refusal: Refusal,
): Promise<Attempt> {
  const { code, message } = refusal;
  const [row] = await tx.db
    .insert(loads)
    .values({
      fileName: basename(options.path),
      ...content,
      status: "rejected",
      startedAt: sql`clock_timestamp()`,
      finishedAt: sql`clock_timestamp()`,
      errorCode: code,
      errorMessage: message,
    })
    .returning({ loadId: loads.loadId });
  return {
    outcome: "rejected",
    loadId: row?.loadId ?? null,
    syncedOn: null,
    rows: NO_LINES,
    partitions: [],
    touched: [],
    error: { code, message },
  };
}

/**
 * The last statement before COMMIT. The lock makes the order of `known_at` the order of the commits; it is its own statement, so that
 * the next one sees what the one before committed.
 */
export async function enterLedger(
  tx: Transaction,
  loadId: number,
  entry: Partial<typeof loads.$inferInsert>,
): Promise<void> {
  await lockUntilEnd(tx, LOCK.knownAt);
  await tx.db
    .update(loads)
    .set({
      ...entry,
      finishedAt: sql`clock_timestamp()`,
      knownAt: sql`greatest(clock_timestamp(), (select max(known_at) from warehouse.loads) + interval '1 microsecond')`,
    })
    .where(eq(loads.loadId, loadId));
}

/** Names the failure, and enters it in the ledger where the database can still be reached. */
async function recordFailure(
  options: LoadOptions,
  course: Course,
  failure: { readonly error: unknown; readonly durationMs: number },
): Promise<Attempt> {
  const error = describeFailure(failure.error, options.path, course);
  const fileName = basename(options.path);
  const name = readDropName({ fileName, syncedOn: options.syncedOn });
  const syncedOn = name.kind === "named" ? name.syncedOn : null;
  const failed = { outcome: "failed", syncedOn, rows: NO_LINES, partitions: [], touched: [], error } as const;
  return withTransaction({ database: options.database }, async (tx): Promise<Attempt> => {
    const sent = syncedOn === null ? undefined : await findSent(tx, course, syncedOn);
    if (sent !== undefined) return sent;
    const [row] = await tx.db
      .insert(loads)
      .values({
        fileName,
        ...course.content,
        syncedOn,
        status: "failed",
        startedAt: sql`clock_timestamp() - ${failure.durationMs} * interval '1 millisecond'`,
        finishedAt: sql`clock_timestamp()`,
        errorCode: error.code,
        errorMessage: error.message,
      })
      .returning({ loadId: loads.loadId });
    return { ...failed, loadId: row?.loadId ?? null };
    // The failure itself is reported either way; where the database is away there is no ledger to write to.
  }).catch(() => ({ ...failed, loadId: null }));
}

function describeFailure(error: unknown, path: string, course: Course): Refusal {
  const lost = isConnectionLost(error);
  if (lost && course.sent.length > 0) {
    return {
      code: "connection",
      message: `${path}: the connection was lost at the commit, so it is not known whether the drop is in (${sayCause(error)}). Load it again: if it is in, nothing changes.`,
    };
  }
  if (error instanceof RollbookError) return { code: error.code, message: error.message };
  const said = sayCause(error);
  const state = errorState(error);
  switch (state) {
    case SQLSTATE.diskFull:
      return {
        code: "disk_full",
        message: `${path}: the database has no space left on its disk (${said}). The load was rolled back. Make room and load it again.`,
      };
    case SQLSTATE.insufficientPrivilege:
      return { code: "permission", message: `${path}: ${said}. The load was rolled back.` };
    case "partitions_changed":
      return {
        code: state,
        message: `${path}: partitions were detached, attached or dropped all the while. The load was rolled back; load it again.`,
      };
  }
  return {
    code: lost || state === SQLSTATE.tooManyConnections ? "connection" : "database",
    message: `${path}: ${said}${state === undefined ? "" : ` (${state})`}. The load was rolled back; load it again.`,
  };
}

function sayCause(error: unknown): string {
  const cause = rootCause(error);
  return cause instanceof Error ? cause.message : String(cause);
}

interface Clock {
  totalBytes: number;
  readonly enter: (step: LoadStep) => void;
  readonly progress: (done: { readonly bytes?: number; readonly rows?: number }) => void;
  readonly timings: () => Readonly<Partial<Record<LoadStep, number>>>;
}

/** Measures the steps and tells the caller of each. */
function startClock(options: LoadOptions): Clock {
  const timings: Partial<Record<LoadStep, number>> = {};
  let current: LoadStep | undefined;
  let since = performance.now();
  let rows = 0;
  const clock: Clock = {
    totalBytes: 0,
    enter(step) {
      const now = performance.now();
      if (current !== undefined) timings[current] = Math.round(now - since);
      current = step;
      since = now;
      clock.progress({ bytes: 0 });
    },
    progress(done) {
      if (current === undefined) return;
      rows = done.rows ?? rows;
      options.onProgress?.({ step: current, bytes: done.bytes ?? 0, totalBytes: clock.totalBytes, rows });
    },
    timings() {
      const now = performance.now();
      return { ...timings, ...(current !== undefined && { [current]: Math.round(now - since) }) };
    },
  };
  return clock;
}
