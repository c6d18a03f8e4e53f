/** The careful way of a load: stage all lines, prepare the warehouse for them, and merge them by key. */
import { refuseChangedFile } from "./changed.ts";
import { addStagedVenues, countUnderTwoKeys, mergeStaging, readStagedDates } from "./merge.ts";
import { openPartitions } from "./prepare.ts";
import { isTooMany, refuseTooMany } from "./quarantine.ts";
import { NO_LINES, type Refusal } from "./report.ts";
import { emptyStaging, type Staged, stageDrop, takeStagingSlot } from "./stage.ts";
import type { LoadTask, TaskResult } from "./task.ts";

export async function mergeCarefully(task: LoadTask): Promise<TaskResult> {
  const { tx, settings, loadId, syncedOn, stopwatch } = task;
  stopwatch.enter("stage");
  const slot = await takeStagingSlot(tx, task.signal);
  const staged = await stageDrop(task, slot);
  await refuseChangedFile(staged.sha256, task);
  const read = staged.rows + staged.rejected;
  const refusal = staged.refusal ?? findTooMany(staged, task);
  if (refusal !== null) {
    await emptyStaging(tx, slot);
    return { kind: "refused", rows: { ...NO_LINES, read, rejected: staged.rejected }, refusal };
  }
  stopwatch.enter("prepare");
  await addStagedVenues(tx, slot, task);
  await openPartitions(tx, task, await readStagedDates(tx, slot, settings));
  stopwatch.enter("merge");
  const idsUnderTwoKeys = await countUnderTwoKeys(tx, slot);
  const merged = await mergeStaging({ tx, settings, slot, rows: staged.rows, loadId, syncedOn });
  await emptyStaging(tx, slot);
  const { inserted, corrected, unchanged, partitions } = merged;
  const superseded = staged.rows - inserted - corrected - unchanged;
  const rows = { read, inserted, corrected, unchanged, superseded, rejected: staged.rejected };
  return { kind: "loaded", rows, partitions, idsUnderTwoKeys };
}

function findTooMany({ rows, rejected }: Staged, { maxRejects }: LoadTask): Refusal | null {
  const read = rows + rejected;
  return isTooMany(rejected, read, maxRejects) ? refuseTooMany(rejected, read, maxRejects) : null;
}
