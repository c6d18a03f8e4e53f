/** What the ledger keeps of a load: that it is in, or that it was refused. Of failed ones: failure.ts. */
import { eq, sql } from "drizzle-orm";
import type { Transaction } from "../../db/client.ts";
import { LOCK, lockUntilEnd } from "../../db/locks.ts";
import { loads } from "../../db/schema.ts";
import { checkRestated } from "../closings/restated_by_load.ts";
import type { Drop } from "./claim.ts";
import { columnsOfSource, readBy } from "./read_by.ts";
import { type Attempt, NO_LINES, type Refusal } from "./report.ts";
import type { LoadTask, TaskResult } from "./task.ts";

/**
 * Enters a load as the last statement before COMMIT. The lock makes the order of `known_at` the order of the
 * commits. It is taken by a statement of its own, so that the next statement sees what the load before
 * committed.
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
      knownAt: sql`greatest(clock_timestamp(), (select max(known_at) from ${loads}) + interval '1 microsecond')`,
    })
    .where(eq(loads.loadId, loadId));
}

/** Enters what became of a drop, as the last statement of its transaction. */
export async function enterResult(task: LoadTask, result: TaskResult): Promise<Attempt> {
  const { tx, loadId, syncedOn, stopwatch } = task;
  const source = readBy(task.source);
  const { rows, reasons, suspicious } = result;
  if (result.kind === "loaded") {
    const partitions = [...result.partitions];
    // Before the lock, which others wait for.
    const restated = await checkRestated(tx, { loadId, partitions, rules: task.rules });
    await enterLedger(tx, loadId, { ...rows, reasons, suspicious, partitions, timings: stopwatch.timings() });
    const { idsUnderTwoKeys } = result;
    return {
      outcome: "loaded",
      loadId,
      syncedOn,
      source,
      rows,
      reasons,
      suspicious,
      partitions,
      touched: [...new Set([...partitions, ...(result.replaced ?? [])])],
      ...(idsUnderTwoKeys > 0 && { idsUnderTwoKeys }),
      ...(restated.length > 0 && { restated }),
    };
  }
  const { code, message } = result.refusal;
  await tx.db
    .update(loads)
    .set({
      status: "rejected",
      ...rows,
      reasons,
      suspicious,
      finishedAt: sql`clock_timestamp()`,
      errorCode: code,
      errorMessage: message,
    })
    .where(eq(loads.loadId, loadId));
  return { ...REJECTED, loadId, syncedOn, source, rows, reasons, suspicious, error: { code, message } };
}

const REJECTED = { outcome: "rejected", partitions: [], touched: [] } as const;

/** Enters a drop that cannot be loaded because of its name. */
export async function recordRefusal(
  tx: Transaction,
  drop: Omit<Drop, "syncedOn">,
  refusal: Refusal,
): Promise<Attempt> {
  const { code, message } = refusal;
  const [row] = await tx.db
    .insert(loads)
    .values({
      ...drop,
      ...columnsOfSource(drop.source),
      status: "rejected",
      startedAt: sql`clock_timestamp()`,
      finishedAt: sql`clock_timestamp()`,
      errorCode: code,
      errorMessage: message,
    })
    .returning({ loadId: loads.loadId });
  return {
    ...REJECTED,
    loadId: row?.loadId ?? null,
    syncedOn: null,
    source: readBy(drop.source),
    rows: NO_LINES,
    reasons: [],
    suspicious: [],
    error: { code, message },
  };
}
