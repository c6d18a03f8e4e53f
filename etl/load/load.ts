/** One load: a drop taken into the warehouse in one transaction, or not at all. DESIGN: docs/design.md, "A load". */
import { basename } from "node:path";
import { sql } from "drizzle-orm";
import pg from "pg";
import { ALLOW_WORK_MEM, type Database, type Transaction, withTransaction } from "../../db/client.ts";
import { RollbookError } from "../../db/errors.ts";
import { withRetries } from "../../db/retry.ts";
import type { Settings } from "../../db/schema.ts";
import { type FileGuard, hashDrop } from "../drop/file.ts";
import { readDropName } from "../drop/name.ts";
import { readRules } from "../drop/rules.ts";
import { type Course, claimLoad, type Drop, findSent, releaseClaim } from "./claim.ts";
import { CHUNK_LINES } from "./direct/chunk.ts";
import { insertDirectly } from "./direct/direct.ts";
import { enterLedger, recordFailure, recordRefusal, refuseStaged } from "./ledger.ts";
import { addStagedVenues, mergeStaging, readStagedDates } from "./merge.ts";
import { openPartitions } from "./prepare.ts";
import { type Attempt, type LineCounts, type LoadReport, NO_LINES, type Refusal } from "./report.ts";
import { type Staged, stageDrop, takeStagingSlot } from "./stage.ts";
import { type Clock, type LoadProgress, startClock } from "./steps.ts";

export interface LoadOptions extends FileGuard {
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
  /** Loads the drop although the ledger has it: after a loss of data that the ledger does not know of. Default false. */
  readonly again?: boolean | undefined;
  /** Leaves the direct way out; both end in the same state. Default false. */
  readonly careful?: boolean | undefined;
  /** Lines that the direct way sorts at a time; default {@link CHUNK_LINES}. */
  readonly chunkLines?: number | undefined;
  /** What the drop may put into quarantine; default `QUARANTINE_BYTES`. */
  readonly quarantineBytes?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: LoadProgress) => void) | undefined;
  /** Told of each new attempt, with the reason. */
  readonly onRetry?: ((attempt: number, error: unknown) => void) | undefined;
}

export const DEFAULT_MAX_REJECTS = 0.01;

/**
 * Loads one drop. Deadlocks, serialization failures and lost connections roll the load back and it is tried again as a whole. A drop
 * that is refused is an outcome, not an error, and so is a failure that the ledger could record.
 *
 * @throws RollbookError `aborted` when `signal` aborts: the load is rolled back
 */
export async function loadDrop(options: LoadOptions): Promise<LoadReport> {
  const { signal } = options;
  const started = performance.now();
  const clock = startClock(options.onProgress);
  const course: Course = { sent: [], careful: options.careful ?? false };
  const durationMs = () => Math.round(performance.now() - started);
  const report = (attempt: Attempt): LoadReport => ({
    file: options.path,
    ...attempt,
    durationMs: durationMs(),
    timings: clock.timings(),
  });
  try {
    const { onRetry } = options;
    return report(await withRetries({ signal, onRetry }, () => attemptLoad(options, clock, course)));
  } catch (error) {
    if (signal?.aborted) {
      if (error instanceof RollbookError && error.code === "aborted") throw error;
      throw new RollbookError({ code: "aborted", message: "interrupted: rolled back", cause: signal.reason });
    }
    return report(await recordFailure(options, course, { error, durationMs: durationMs() }));
  }
}

async function attemptLoad(options: LoadOptions, clock: Clock, course: Course): Promise<Attempt> {
  const fileName = basename(options.path);
  const name = readDropName({ fileName, syncedOn: options.syncedOn });
  clock.enter("hash");
  const content = await hashDrop({
    path: options.path,
    follow: options.follow,
    listed: options.listed,
    signal: options.signal,
    onBytes: (bytes) => clock.progress({ bytes }),
  });
  course.content = content;
  clock.totalBytes = content.bytes;
  if (name.kind === "refused") {
    return withTransaction(options, (tx) => recordRefusal(tx, { fileName, ...content }, name));
  }
  const { syncedOn, gzip } = name;
  const opening = [`set local timezone = ${pg.escapeLiteral(options.settings.timeZone)}`, ALLOW_WORK_MEM];
  const attempt = await withTransaction({ ...options, opening }, async (tx) => {
    const sent = await findSent(tx, course, syncedOn);
    if (sent !== undefined) return sent;
    const done = await loadOnce(tx, options, { clock, course }, { fileName, ...content, syncedOn, gzip });
    if (done.loadId !== null && done.outcome !== "already_loaded") course.sent.push(done.loadId);
    return done;
  });
  clock.enter("committed");
  return attempt;
}

async function loadOnce(
  tx: Transaction,
  options: LoadOptions,
  { clock, course }: { readonly clock: Clock; readonly course: Course },
  drop: Drop & { readonly gzip: boolean },
): Promise<Attempt> {
  clock.enter("claim");
  if (options.again === true) await releaseClaim(tx, drop);
  const claim = await claimLoad(tx, drop);
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
  const rules = await readRules(tx, { ...options, syncedOn: drop.syncedOn });
  if (!course.careful) {
    clock.enter("insert");
    // An attempt that fails here, by a deadlock for example, is not tried again this way.
    course.careful = true;
    const direct = await insertDirectly({
      ...options,
      ...drop,
      tx,
      loadId,
      rules,
      chunkLines: options.chunkLines ?? CHUNK_LINES,
      refuses: (rejected, read) => isTooMany(rejected, read, options),
      onProgress: (done) => clock.progress(done),
    });
    if (direct !== undefined) {
      await refuseChangedFile(direct.sha256, drop, options);
      clock.enter("commit");
      return enterLoaded(tx, clock, { loadId, syncedOn: drop.syncedOn, ...direct });
    }
  }

  clock.enter("stage");
  const staging = await takeStagingSlot(tx, options.signal);
  const staged = await stageDrop({
    tx,
    table: staging,
    loadId,
    path: options.path,
    follow: options.follow,
    gzip: drop.gzip,
    rules,
    quarantineBytes: options.quarantineBytes,
    signal: options.signal,
    onProgress: (done) => clock.progress(done),
  });
  await refuseChangedFile(staged.sha256, drop, options);
  const refusal = staged.refusal ?? tooManyRejects(staged, options);
  if (refusal !== null) {
    return refuseStaged(tx, { loadId, staging, staged, refusal, syncedOn: drop.syncedOn });
  }

  clock.enter("prepare");
  await addStagedVenues(tx, staging, options);
  await openPartitions(tx, options, await readStagedDates(tx, staging));
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
  return enterLoaded(tx, clock, {
    loadId,
    syncedOn: drop.syncedOn,
    rows,
    partitions: merged.partitions,
  });
}

async function enterLoaded(
  tx: Transaction,
  clock: Clock,
  loaded: {
    readonly loadId: number;
    readonly syncedOn: string;
    readonly rows: LineCounts;
    readonly partitions: readonly string[];
  },
): Promise<Attempt> {
  const { loadId, syncedOn, rows, partitions } = loaded;
  await enterLedger(tx, loadId, { ...rows, partitions: [...partitions], timings: clock.timings() });
  return { outcome: "loaded", loadId, syncedOn, rows, partitions, touched: partitions };
}

function tooManyRejects(staged: Staged, options: LoadOptions): Refusal | null {
  const share = options.maxRejects ?? DEFAULT_MAX_REJECTS;
  const read = staged.rows + staged.rejected;
  if (!isTooMany(staged.rejected, read, options)) return null;
  return {
    code: "too_many_rejects",
    message: `${staged.rejected} of ${read} lines were rejected, more than the share of ${share} that is allowed. See them with: rollbook rejects; then mend the file, or allow more with --max-rejects.`,
  };
}

function isTooMany(rejected: number, read: number, options: LoadOptions): boolean {
  // In whole billionths, because 0.29 * 100 is less than 29.
  const allowed = BigInt(Math.round((options.maxRejects ?? DEFAULT_MAX_REJECTS) * 1e9)) * BigInt(read);
  return BigInt(rejected) * 1_000_000_000n > allowed;
}

/** Before all else that may be wrong with a drop: of half a file nothing can be said. */
async function refuseChangedFile(read: Buffer | null, drop: Drop, options: LoadOptions): Promise<void> {
  const { path, signal, follow } = options;
  const sha256 = read ?? (await hashDrop({ path, signal, follow })).sha256;
  if (sha256.equals(drop.sha256)) return;
  throw new RollbookError({
    code: "file_changed",
    message: `${path} changed while it was read. Let it be written completely, best under another name and then renamed, and load it again.`,
  });
}
