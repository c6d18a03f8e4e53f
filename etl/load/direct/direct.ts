/**
 * The direct way of a load, for drops in which nothing conflicts. Lines are keyed and sorted in memory, some
 * 256 k at a time, and copied straight into `invoices`; what they add to each group is counted on the way. If
 * many lines need new venues or partitions, the drop is read twice: first to make these, then to insert. If
 * anything unexpected comes up, everything is rolled back to the savepoint, and the careful way loads the
 * drop. See docs/design.md, "The direct way".
 */
import { sql } from "drizzle-orm";
import { errorState, SQLSTATE } from "../../../db/errors.ts";
import { refuseChangedFile } from "../changed.ts";
import { summariseReasons } from "../reasons.ts";
import { NO_LINES } from "../report.ts";
import { findSuspicions } from "../suspicion.ts";
import type { LoadTask, TaskResult } from "../task.ts";
import { type Chunks, createChunksFor } from "./chunk.ts";
import { countRead, createReader, readIntoChunks } from "./fill.ts";
import { createKeyMaps, type KeyMaps, type OpenPartitions } from "./keys.ts";
import { insertOdd } from "./odd.ts";
import { Surprise, Unprepared } from "./surprise.ts";
import { prepareBySurvey } from "./survey.ts";
import { createWriter } from "./write.ts";

/**
 * Reads the drop and inserts its lines as new invoices, with their deltas and pending changes. Venues and
 * partitions are made only when all of the drop was read. If a drop is longer than a chunk, the lines that
 * need new ones go through staging, as other rare lines do.
 *
 * @returns undefined after a surprise: the transaction is as it was before
 */
export async function insertDirectly(task: LoadTask): Promise<TaskResult | undefined> {
  const { tx, stopwatch } = task;
  stopwatch.enter("insert");
  const memory = { maps: createKeyMaps(task.settings), chunks: createChunksFor(task) };
  await tx.db.execute(sql`savepoint direct`);
  try {
    // The savepoint is left to the end of the transaction: to release it would take a round trip, and change
    // nothing.
    return await insertPrepared(task, memory);
  } catch (error) {
    if (!(error instanceof Surprise) && errorState(error) !== SQLSTATE.uniqueViolation) throw error;
    await tx.db.execute(sql`rollback to savepoint direct`);
    return undefined;
  }
}

/** What one reading of the drop leaves to the next. */
interface Memory {
  readonly maps: KeyMaps;
  readonly chunks: Chunks;
}

async function insertPrepared(task: LoadTask, memory: Memory): Promise<TaskResult> {
  try {
    return await readAndInsert(task, memory, null);
  } catch (error) {
    if (!(error instanceof Unprepared)) throw error;
    await task.tx.db.execute(sql`rollback to savepoint direct`);
    const open = await prepareBySurvey(task, memory.maps, memory.chunks);
    if (open === undefined) throw new Surprise("a drop that is refused, or spread too wide");
    return await readAndInsert(task, memory, open);
  }
}

/** `open`: the partitions that the drop needs, when a survey has made them. */
async function readAndInsert(
  task: LoadTask,
  { maps, chunks }: Memory,
  open: OpenPartitions | null,
): Promise<TaskResult> {
  const control = new AbortController();
  const writer = createWriter(task, maps, { open, stop: control.signal });
  const reader = createReader(task, writer, chunks);
  try {
    const sha256 = await readIntoChunks(reader);
    await insertOdd(writer, reader.odd, reader.layout);
    await refuseChangedFile(sha256, task);
  } finally {
    control.abort();
    await writer.background.end();
  }
  const { inserted, partitions, underTwoKeys } = writer;
  const { rejected, skipped } = reader;
  const read = countRead(reader);
  const superseded = read - rejected - inserted;
  const rows = { ...NO_LINES, read, inserted, superseded, rejected, skipped };
  const names = [...partitions].sort(([, a], [, b]) => (a < b ? -1 : 1)).map(([name]) => name);
  const reasons = await summariseReasons(reader.reasons, task);
  const suspicious = findSuspicions(reasons, { rejected: reader.reasons.money, taken: reader.money });
  return { kind: "loaded", rows, reasons, suspicious, partitions: names, idsUnderTwoKeys: underTwoKeys.size };
}
