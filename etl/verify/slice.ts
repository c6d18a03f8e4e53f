/** Proves what was not proved for longest, within a time. Round by round it finds what a whole verification finds. */
import { withSession } from "../../db/client.ts";
import { listPartitions } from "../../db/partitions/catalog.ts";
import { listMissingTables } from "../../db/partitions/missing.ts";
import type { CheckedClosings } from "../closings/verify.ts";
import { listProofs, nameOfProof, type Proof } from "../reports/proofs.ts";
import type { Checked } from "./groups.ts";
import { markStale } from "./repair.ts";
import {
  type ProofOptions,
  proveCheckpoints,
  proveClosings,
  proveLedger,
  provePartition,
  proveQueue,
} from "./subjects.ts";

export interface SliceReport {
  /** What had its turn: names of partitions, `ledger`, `checkpoints`, `closings`. */
  readonly proved: readonly string[];
  /** How much is left for the next slices. */
  readonly left: number;
  /** How long all of it took when each was proved last, in milliseconds; null where something never was. */
  readonly roundMs: number | null;
}

export interface Sliced extends SliceReport {
  readonly partitions: readonly Checked[];
  readonly closings: CheckedClosings | undefined;
}

/**
 * Proves the queue, names the tables that are gone, and then proves part after part. The first part is proved whatever it
 * takes, so that each slice gets on. No other is begun that will not end within the time, as far as its last proof
 * tells; then the slice ends, and the next one begins with it.
 *
 * @param options.budgetMs after so many milliseconds nothing is begun
 * @param options.closings whether the closings have their turn, too
 */
export async function proveSlice(
  options: ProofOptions & {
    readonly budgetMs: number;
    readonly closings: boolean;
    readonly onProgress?: ((done: number, of: number, name: string) => void) | undefined;
  },
): Promise<Sliced> {
  const started = performance.now();
  await proveQueue(options);
  const catalog = await withSession(options, listPartitions);
  const numbers = new Map(catalog.map(({ partition, partitionId }) => [partition, partitionId]));
  const missing = await withSession(options, (session) => listMissingTables(session));
  const lost = new Set<string | null>(missing.map(({ partition }) => partition));
  const all = await listTurns(options);
  const turns = [
    ...all.filter(({ partition }) => lost.has(partition)),
    ...all.filter(({ partition }) => !lost.has(partition)),
  ];
  const partitions: Checked[] = [];
  const proved: string[] = [];
  let closings: CheckedClosings | undefined;
  let left = turns.length;
  let begun = 0;
  for (const turn of turns) {
    const leftMs = options.budgetMs - (performance.now() - started);
    if (begun > 0 && (leftMs <= 0 || (turn.durationMs ?? 0) > leftMs)) break;
    left -= 1;
    // Where a table is gone, the checkpoints would lack what is in it.
    if (turn.subject === "checkpoints" && lost.size > 0) continue;
    const name = nameOfProof(turn);
    const taken = await prove(options, turn, numbers.get(name));
    if (!taken.done) continue;
    if (!lost.has(turn.partition)) begun += 1;
    if (taken.checked !== undefined) partitions.push(taken.checked);
    closings ??= taken.closings;
    proved.push(name);
    options.onProgress?.(proved.length, turns.length, name);
  }
  const roundMs = (await listTurns(options)).reduce<number | null>(
    (sum, { durationMs }) => (sum === null || durationMs === null ? null : sum + durationMs),
    0,
  );
  return { proved, left, roundMs, partitions, closings };
}

async function listTurns(options: ProofOptions & { readonly closings: boolean }): Promise<readonly Proof[]> {
  const all = await withSession(options, listProofs);
  return all.filter(({ subject }) => options.closings || subject !== "closings");
}

interface Turn {
  /** Whether it is there to be proved. */
  readonly done: boolean;
  readonly checked?: Checked;
  readonly closings?: CheckedClosings;
}

async function prove(
  options: ProofOptions,
  { subject }: Proof,
  partitionId: number | undefined,
): Promise<Turn> {
  switch (subject) {
    case "partition": {
      const checked = partitionId === undefined ? undefined : await provePartition(options, partitionId);
      // It was detached meanwhile.
      if (partitionId === undefined || checked === undefined) return { done: false };
      if (checked.rollupDiverges) await markStale(options, partitionId);
      return { done: true, checked };
    }
    case "ledger":
      await proveLedger(options);
      return { done: true };
    case "checkpoints":
      await proveCheckpoints(options);
      return { done: true };
    case "closings":
      return { done: true, closings: await proveClosings(options) };
  }
}
