/**
 * Odd lines: the few that cannot be keyed in memory. They go through staging at the end, as new invoices,
 * too.
 */
import { listPartitions } from "../../../db/partitions/catalog.ts";
import { type CopyLayout, copyStatement } from "../../drop/row.ts";
import { copyAll } from "../copy.ts";
import { addStagedVenues, insertNew, readStagedDates, readStagedKeyCounts } from "../merge.ts";
import { emptyStaging, stagingName, takeStagingSlot } from "../stage.ts";
import { Surprise } from "./surprise.ts";
import { holdOpen, noteUnderTwoKeys, type Writer } from "./write.ts";

/** If more lines are odd, the careful way loads the drop: a share of those read, and so many in any case. */
const ODD_SHARE = 0.1;
const ODD_LINES = 1000;

export interface OddLines {
  /** As COPY text. */
  readonly rows: Buffer[];
  /** How many of them only need a venue or a partition. */
  unprepared: number;
}

/** `taken`: lines of the drop that are not odd. */
export function addOdd(odd: OddLines, row: Buffer | string, taken: number): void {
  // A copy: the reader's batch would be kept in memory as a whole.
  odd.rows.push(Buffer.from(row));
  if (isTooOften(odd.rows.length, taken))
    throw new Surprise("too many lines that the direct way does not take");
}

export function isTooOften(lines: number, taken: number): boolean {
  return lines > ODD_LINES && lines > ODD_SHARE * taken;
}

export async function insertOdd(writer: Writer, odd: OddLines, layout: CopyLayout): Promise<void> {
  if (odd.rows.length === 0) return;
  const { tx, settings, loadId, syncedOn, signal } = writer.task;
  const slot = await takeStagingSlot(tx, signal);
  await copyAll(tx, copyStatement(stagingName(slot), layout), odd.rows);
  const staged = await readStagedKeyCounts(tx, slot, settings);
  // No odd line has the key of another line: it would meet a conflict below.
  noteUnderTwoKeys(writer, [
    ...staged.filter(({ keys }) => keys > 1).map(({ id }) => id),
    ...writer.repeats.findIds(staged.map(({ id }) => id)),
  ]);
  await addStagedVenues(tx, slot, writer.task);
  await holdOpen(writer, await readStagedDates(tx, slot, settings));
  const { inserted, partitions } = await insertNew({ tx, settings, slot, loadId, syncedOn });
  await emptyStaging(tx, slot);
  writer.inserted += inserted;
  const known = new Map((await listPartitions(tx)).map(({ partition, lower }) => [partition, lower]));
  for (const partition of partitions) writer.partitions.set(partition, known.get(partition) ?? "");
}
