/**
 * One load: a drop is taken into the warehouse in one transaction, or not at all. See docs/design.md, "A
 * load".
 */
import { stat } from "node:fs/promises";
import { basename } from "node:path";
import { type Database, type Transaction, withSession, withTransaction } from "../../db/client.ts";
import { RollbookError } from "../../db/errors.ts";
import { LOCK, lockUntilEnd } from "../../db/locks.ts";
import { PLAN_AS_WRITTEN } from "../../db/plans.ts";
import { withRetries } from "../../db/retry.ts";
import type { Settings } from "../../db/schema.ts";
import { openingIn } from "../../db/settings.ts";
import { readWallDate } from "../drop/calendar.ts";
import { type FileGuard, hashDrop } from "../drop/file.ts";
import { FILE_DATE, readDropName } from "../drop/name.ts";
import { readRules } from "../drop/rules.ts";
import type { FileSource } from "../sources/source.ts";
import { mergeCarefully } from "./careful.ts";
import { type Claim, claimLoad, type Drop, findSent, type PastAttempts, releaseClaim } from "./claim.ts";
import { CHUNK_LINES } from "./direct/chunk.ts";
import { insertDirectly } from "./direct/direct.ts";
import { recordFailure } from "./failure.ts";
import { enterResult, recordRefusal } from "./ledger.ts";
import { limitRejects, QUARANTINE_BYTES, replacesVenueDays } from "./quarantine.ts";
import { type Attempt, type LoadReport, NO_LINES } from "./report.ts";
import { type LoadProgress, type Stopwatch, startStopwatch } from "./steps.ts";
import type { LoadTask, Replacement, TaskResult } from "./task.ts";

export interface LoadOptions extends FileGuard {
  /** A load takes two connections of its pool at a time. */
  readonly database: Database;
  readonly settings: Settings;
  readonly path: string;
  /**
   * Overrides the sync date in the file's name: `YYYY-MM-DD`, or {@link FILE_DATE} for the date of the file's
   * last change in the warehouse's time zone.
   */
  readonly syncedOn?: string | undefined;
  /** What says how the file is read, and of what date; undefined: it is a file of the drop format. */
  readonly source?: FileSource | undefined;
  /** How many days after the sync date are taken, too, where the source does not say; default 0. */
  readonly syncSlack?: number | undefined;
  /** Greatest share of rejects among the lines read, 0 to 1, where the source does not say; default 0.01. */
  readonly maxRejects?: number | undefined;
  /** So many rejects are allowed whatever their share; default 0. */
  readonly maxRejectedLines?: number | undefined;
  /** Refuses the drop when its rejects look like more than single bad lines; default false. */
  readonly refuseSuspicious?: boolean | undefined;
  /** In totals comma and point change places; default false. */
  readonly decimalComma?: boolean | undefined;
  /**
   * Loads the drop although the ledger has it, after a loss of data that the ledger does not know of. Default
   * false.
   */
  readonly again?: boolean | undefined;
  /**
   * Whether the file is all there is for the venues and creation dates that it holds, so that every other invoice
   * of these is absent as of this load; also where the source says so. Default false.
   */
  readonly replaceVenueDays?: boolean | undefined;
  /** A load that this one replaces, in the same transaction. */
  readonly replace?: Replacement | undefined;
  /** Leaves out the direct way. Both ways end in the same state. Default false. */
  readonly careful?: boolean | undefined;
  /** Lines that the direct way sorts at a time; default {@link CHUNK_LINES}. */
  readonly chunkLines?: number | undefined;
  /** What the drop may put into quarantine, in bytes; default {@link QUARANTINE_BYTES}. */
  readonly quarantineBytes?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: LoadProgress) => void) | undefined;
  /** Called before each new attempt, with the error of the last one. */
  readonly onRetry?: ((attempt: number, error: unknown) => void) | undefined;
}

/**
 * Loads one drop. After a deadlock, a serialization failure or a lost connection the load is rolled back and
 * tried again as a whole. A drop that is refused is an outcome, not an error, and so is a failure.
 *
 * @throws RollbookError `aborted` when `signal` aborts: the load is rolled back
 */
export async function loadDrop(options: LoadOptions): Promise<LoadReport> {
  const { signal, onRetry } = options;
  const started = performance.now();
  const stopwatch = startStopwatch(options.onProgress);
  const past: PastAttempts = { sent: [], failedDirectly: false };
  const durationMs = () => Math.round(performance.now() - started);
  const report = (attempt: Attempt): LoadReport => ({
    file: options.path,
    ...attempt,
    ...(past.content && { content: { ...past.content, sha256: past.content.sha256.toString("hex") } }),
    durationMs: durationMs(),
    timings: stopwatch.timings(),
  });
  try {
    return report(await withRetries({ signal, onRetry }, () => attemptLoad(options, stopwatch, past)));
  } catch (error) {
    if (signal?.aborted) {
      if (error instanceof RollbookError && error.code === "aborted") throw error;
      throw new RollbookError({ code: "aborted", message: "interrupted: rolled back", cause: signal.reason });
    }
    return report(await recordFailure(options, past, { error, durationMs: durationMs() }));
  }
}

async function attemptLoad(options: LoadOptions, stopwatch: Stopwatch, past: PastAttempts): Promise<Attempt> {
  const { path, source } = options;
  const fileName = basename(path);
  const name = readDropName({
    fileName,
    syncedOn: await findSyncDate(options),
    anyEnding: source !== undefined,
  });
  stopwatch.enter("hash");
  const content = await hashDrop({
    path,
    follow: options.follow,
    listed: options.listed,
    signal: options.signal,
    onBytes: (bytes) => stopwatch.progress({ bytes }),
  });
  past.content = { sha256: content.sha256, bytes: content.bytes };
  stopwatch.totalBytes = content.bytes;
  if (name.kind === "refused") {
    return withTransaction(options, (tx) => recordRefusal(tx, { fileName, ...content, source }, name));
  }
  const { syncedOn } = name;
  // Who replaces a load undoes it in the same transaction, and an undo says itself how it is planned.
  const plans = options.replace === undefined ? PLAN_AS_WRITTEN : [];
  const opening = [...openingIn(options.settings), ...plans];
  const attempt = await withTransaction({ ...options, opening }, async (tx) => {
    const { replace } = options;
    // The attempt before may be at its commit still. It holds this lock until then.
    if (replace !== undefined && past.sent.length > 0) await lockUntilEnd(tx, LOCK.statements);
    const sent = await findSent(tx, past, syncedOn);
    if (sent !== undefined) {
      return { ...sent, touched: [...new Set([...sent.touched, ...(replace?.partitions() ?? [])])] };
    }
    const drop = { fileName, ...content, syncedOn, source };
    const done = await loadOnce(tx, options, { stopwatch, past, drop });
    if (done.loadId !== null && done.outcome !== "already_loaded") past.sent.push(done.loadId);
    return done;
  });
  stopwatch.enter("committed");
  return attempt;
}

/** The sync date that somebody gives for the file, or its source, if one does. */
export async function findSyncDate(
  options: Pick<LoadOptions, "database" | "settings" | "path" | "syncedOn" | "source" | "signal">,
): Promise<string | undefined> {
  const { path, settings } = options;
  const syncedOn = options.syncedOn ?? options.source?.syncedOn;
  if (syncedOn !== FILE_DATE) return syncedOn;
  const { mtime: instant } = await stat(path);
  return withSession(options, (session) => readWallDate({ session, timeZone: settings.timeZone, instant }));
}

async function loadOnce(
  tx: Transaction,
  options: LoadOptions,
  attempt: {
    readonly stopwatch: Stopwatch;
    readonly past: PastAttempts;
    readonly drop: Drop & { readonly gzip: boolean };
  },
): Promise<Attempt> {
  const { stopwatch, past, drop } = attempt;
  stopwatch.enter("claim");
  if (options.again === true) await releaseClaim(tx, drop);
  await options.replace?.claim(tx);
  const claim = await claimLoad(tx, drop);
  const { loadId } = claim;
  if (claim.kind === "already_loaded") {
    // When this attempt began, the server may still have been at the commit of the one before.
    const sent = await findSent(tx, past, drop.syncedOn);
    await options.replace?.release(tx);
    return sent ?? reportAlreadyLoaded(claim, drop.syncedOn);
  }
  const syncSlack = options.source?.syncSlack ?? options.syncSlack;
  // Who replaces a load decides about what it changed, also where that is closed meanwhile.
  const restate = options.replace !== undefined;
  const rules = await readRules(tx, { ...options, syncSlack, syncedOn: drop.syncedOn, restate });
  const task: LoadTask = {
    ...options,
    ...drop,
    tx,
    loadId,
    rules,
    stopwatch,
    form: options.source?.form,
    replacesVenueDays: replacesVenueDays(options),
    rejectLimit: limitRejects(options),
    refuseSuspicious: options.refuseSuspicious ?? false,
    quarantineBytes: options.quarantineBytes ?? QUARANTINE_BYTES,
    chunkLines: options.chunkLines ?? CHUNK_LINES,
  };
  const result =
    refuseFuture(claim, options, drop) ??
    (mayGoDirectly(task, options, past) ? await tryDirectly(task, past) : undefined) ??
    (await mergeCarefully(task));
  stopwatch.enter("commit");
  if (result.kind === "loaded") await task.replace?.enter(tx);
  const entered = await enterResult(task, result);
  // Not before this load is entered as refused: it may be of the same drop.
  if (result.kind !== "loaded") await task.replace?.release(tx);
  return entered;
}

/**
 * What a file of a sync date to come says would stand against all files until then. So somebody has to give the
 * date. A day is allowed, because the sender's clock may be ahead.
 */
function refuseFuture(
  { tomorrow }: Extract<Claim, { kind: "claimed" }>,
  { syncedOn: given }: LoadOptions,
  { fileName, syncedOn }: Drop,
): TaskResult | undefined {
  if (tomorrow === null || given === syncedOn) return undefined;
  const message =
    `${fileName}: its sync date ${syncedOn} is after tomorrow, ${tomorrow}, so what it says would stand against all files until then. ` +
    `Mend the date in its name; if it is right, say so: --synced-on ${syncedOn}`;
  const refusal = { code: "sync_date_in_future", message };
  return { kind: "refused", rows: NO_LINES, reasons: [], suspicious: [], refusal };
}

/**
 * Rows are added up in staging, what is replaced is taken back once the drop is known to be loaded, and what is
 * absent is known when all lines are there.
 */
function mayGoDirectly(task: LoadTask, { careful }: LoadOptions, { failedDirectly }: PastAttempts): boolean {
  if (careful === true || failedDirectly) return false;
  return task.form?.sumRows !== true && task.replace === undefined && !task.replacesVenueDays;
}

/**
 * Takes the direct way. After an attempt that fails on it, by a deadlock for example, the next one takes the
 * careful way.
 */
async function tryDirectly(task: LoadTask, past: PastAttempts): Promise<TaskResult | undefined> {
  try {
    return await insertDirectly(task);
  } catch (error) {
    past.failedDirectly = true;
    throw error;
  }
}

function reportAlreadyLoaded(
  { loadId, source, partitions }: Extract<Claim, { kind: "already_loaded" }>,
  syncedOn: string,
): Attempt {
  return {
    outcome: "already_loaded",
    loadId,
    syncedOn,
    source,
    rows: NO_LINES,
    reasons: [],
    suspicious: [],
    partitions: [],
    touched: partitions,
  };
}
