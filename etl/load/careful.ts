/** The careful way of a load: stage all lines, prepare the warehouse for them, and merge them by key. */
import { basename } from "node:path";
import { sql } from "drizzle-orm";
import type { Transaction } from "../../db/client.ts";
import { errorState, SQLSTATE } from "../../db/errors.ts";
import type { Suspicion } from "../../db/reason_summary.ts";
import { mayBeCovered } from "./absence.ts";
import { refuseChangedFile } from "./changed.ts";
import { addStagedVenues, countRepeatedIds, mergeStaging, readStagedDates, sumStagedMoney } from "./merge.ts";
import { openPartitions } from "./prepare.ts";
import { isTooMany, refuseTooMany } from "./quarantine.ts";
import { NO_LINES, type Refusal } from "./report.ts";
import { emptyStaging, type Staged, stageDrop, takeStagingSlot } from "./stage.ts";
import { findSuspicions, refuseSuspicious } from "./suspicion.ts";
import type { LoadTask, TaskResult } from "./task.ts";

export async function mergeCarefully(task: LoadTask): Promise<TaskResult> {
  const { tx, settings, loadId, syncedOn, stopwatch } = task;
  stopwatch.enter("stage");
  const slot = await takeStagingSlot(tx, task.signal);
  const staged = await stageDrop(task, slot);
  await refuseChangedFile(staged.sha256, task);
  const read = staged.rows + staged.rejected;
  const { reasons } = staged;
  const nothing = { ...NO_LINES, read, rejected: staged.rejected, skipped: staged.skipped };
  const refusal = staged.refusal ?? findTooMany(staged, task);
  if (refusal !== null) {
    await emptyStaging(tx, slot);
    return { kind: "refused", rows: nothing, reasons, suspicious: [], refusal };
  }
  const suspicious = await findStagedSuspicions(staged, tx, slot);
  if (task.refuseSuspicious && suspicious.length > 0) {
    await emptyStaging(tx, slot);
    const refused = refuseSuspicious(loadId, suspicious, reasons);
    return { kind: "refused", rows: nothing, reasons, suspicious, refusal: refused };
  }
  stopwatch.enter("prepare");
  await addStagedVenues(tx, slot, task);
  const dates = await readStagedDates(tx, slot, settings);
  const { replacesVenueDays } = task;
  const { voided } = staged;
  const alone = replacesVenueDays || voided > 0 || task.replace?.isAlone() === true;
  const absentUntil = await openPartitions(tx, { ...task, alone }, dates);
  const absence = { replacesVenueDays, voided, maybeCovered: mayBeCovered(absentUntil, task) };
  stopwatch.enter("merge");
  const { underTwoKeys, repeatedLines } = await countRepeatedIds(tx, slot, settings);
  const sumRows = task.form?.sumRows === true;
  const merge = { tx, settings, slot, rows: staged.rows, repeatedLines, loadId, syncedOn, sumRows, absence };
  const mergeOnce = async () => {
    const replaced = (await task.replace?.takeBack(tx, dates)) ?? [];
    return { ...(await mergeStaging(merge)), replaced };
  };
  const merged = await (sumRows ? unlessTooLarge(tx, mergeOnce) : mergeOnce());
  await emptyStaging(tx, slot);
  if (merged === undefined) {
    return { kind: "refused", rows: nothing, reasons, suspicious: [], refusal: refuseSum(task) };
  }
  const { inserted, corrected, unchanged, summed, absent, partitions, replaced } = merged;
  const superseded = staged.rows - voided - summed - inserted - corrected - unchanged;
  const rows = { ...nothing, inserted, corrected, unchanged, superseded, summed, voided, absent };
  return {
    kind: "loaded",
    rows,
    reasons,
    suspicious,
    partitions,
    replaced,
    idsUnderTwoKeys: underTwoKeys,
  };
}

/** @returns undefined when the rows of one invoice add up to what is no total; then nothing is done */
async function unlessTooLarge<T>(tx: Transaction, work: () => Promise<T>): Promise<T | undefined> {
  await tx.db.execute(sql`savepoint sums`);
  try {
    return await work();
  } catch (error) {
    if (errorState(error) !== SQLSTATE.numericValueOutOfRange) throw error;
    await tx.db.execute(sql`rollback to savepoint sums`);
    return undefined;
  }
}

function refuseSum({ path }: LoadTask): Refusal {
  return {
    code: "sum_too_large",
    message:
      `${basename(path)}: the rows of one invoice add up to 10^12 or more, which is no total. ` +
      "See that what the source takes for an invoice_id is that of a single invoice.",
  };
}

async function findStagedSuspicions(
  { reasons, rejectedMoney }: Staged,
  tx: Transaction,
  slot: number,
): Promise<readonly Suspicion[]> {
  // Where no money is rejected, nothing is compared with that of the other lines.
  const taken = rejectedMoney === 0n ? 0n : await sumStagedMoney(tx, slot);
  return findSuspicions(reasons, { rejected: rejectedMoney, taken });
}

function findTooMany({ rows, rejected, reasons }: Staged, task: LoadTask): Refusal | null {
  const read = rows + rejected;
  if (!isTooMany(rejected, read, task.rejectLimit)) return null;
  return refuseTooMany({ rejected, read, reasons }, task);
}
