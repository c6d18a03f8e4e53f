/**
 * A first reading of a drop, which makes the venues and partitions that it needs, so that the second finds
 * them.
 */

import { toDate } from "../../../db/dates.ts";
import { readDrop } from "../../drop/read.ts";
import type { CopyLayout } from "../../drop/row.ts";
import { openPartitions } from "../prepare.ts";
import { isTooMany } from "../quarantine.ts";
import type { LoadTask } from "../task.ts";
import type { Chunk, Chunks } from "./chunk.ts";
import { MOST_GROUPS } from "./insert.ts";
import {
  createdOn,
  findOffsets,
  findVenues,
  type KeyMaps,
  makeVenues,
  type OpenPartitions,
  rangeOf,
} from "./keys.ts";
import { fillChunk } from "./pack.ts";
import { refuseAbsences } from "./write.ts";

/**
 * Makes the venues and partitions that the drop needs, and holds the partitions open until the transaction
 * ends.
 *
 * @returns the partitions; undefined for a drop that is to be refused, or has a line that says that its invoice
 *   is void, and for one that may have more groups than are counted in memory, because each of its chunks would
 *   enter nearly a group for each line. Then nothing is made
 */
export async function prepareBySurvey(
  task: LoadTask,
  maps: KeyMaps,
  chunks: Chunks,
): Promise<OpenPartitions | undefined> {
  const { tx } = task;
  const days = await surveyDays(task, maps, chunks());
  if (days === undefined) return undefined;
  await findVenues(maps, tx);
  await makeVenues(maps, tx, task);
  refuseAbsences(await openPartitions(tx, task, [...days].map(toDate)), task);
  return new Map(
    [...days].map((day) => rangeOf(maps, day)).map(({ partition, lower }) => [partition, lower]),
  );
}

/**
 * The creation dates of the drop's lines. Their venues are added to the maps. It stops as soon as there are
 * too many groups.
 */
async function surveyDays(
  task: LoadTask,
  maps: KeyMaps,
  chunk: Chunk,
): Promise<ReadonlySet<number> | undefined> {
  const days = new Set<number>();
  const { texts, venues } = maps;
  let layout: CopyLayout | undefined;
  let bytes = 0;
  let read = 0;
  let rejected = 0;
  const onBytes = (count: number) => {
    bytes = count;
  };
  const note = async (full: Chunk) => {
    await findOffsets(maps, task.tx, full);
    for (const day of createdOn(maps, full)) days.add(day);
    full.lines = 0;
    return days.size * venues.ids.length <= MOST_GROUPS;
  };
  for await (const event of readDrop({ ...task, onBytes })) {
    switch (event.kind) {
      case "dialect":
        layout = event.copy;
        break;
      case "rows":
        if (layout === undefined) throw new Error("the reader sent rows before the dialect");
        if (event.voids.length > 0) return undefined;
        for (let from = 0; from < event.copy.length; ) {
          if (chunk.lines === chunk.taken.length && !(await note(chunk))) return undefined;
          // What odd lines need is made when they are staged.
          from = fillChunk({ chunk, texts, layout, rows: event.copy, from, onOdd: () => undefined });
        }
        rejected += event.rejects.length;
        read += event.rows + event.rejects.length;
        task.stopwatch.progress({ bytes, rows: read });
        break;
      case "refused":
        return undefined;
      case "end":
        if (isTooMany(rejected, read, task.rejectLimit)) return undefined;
        return (await note(chunk)) ? days : undefined;
    }
  }
  throw new Error("the reader ended without an end event");
}
