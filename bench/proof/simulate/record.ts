/**
 * What has been lived through so far, kept in a file, so that a long simulation goes on over several
 * sittings.
 */
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { RollbookError } from "../../../db/errors.ts";
import { addFigures, type Figures, NO_FIGURES } from "./figures.ts";

export interface Failure {
  readonly seed: number;
  readonly message: string;
}

export interface SimulationRecord {
  readonly version: 1;
  /** Ranges of seeds that have been lived through, both ends included, in order. */
  readonly seeds: readonly (readonly [number, number])[];
  /** The code they ran on. */
  readonly commits: readonly string[];
  /** Of those that ended as they must. */
  readonly figures: Figures;
  readonly failures: readonly Failure[];
}

const EMPTY: SimulationRecord = { version: 1, seeds: [], commits: [], figures: NO_FIGURES, failures: [] };

/** Reads a record; one that is not there yet is empty. */
export function readRecord(path: string): SimulationRecord {
  if (!existsSync(path)) return EMPTY;
  try {
    const record: SimulationRecord = JSON.parse(readFileSync(path, "utf8"));
    if (record.version === 1) return record;
  } catch {
    // Told below.
  }
  throw new RollbookError({
    code: "usage",
    message: `${path} is no record of a simulation. Name another file.`,
  });
}

/**
 * Writes it whole, so that a cut-off leaves the old one; and at once, for the next site may be about to
 * write.
 */
export function writeRecord(path: string, record: SimulationRecord): void {
  writeFileSync(`${path}.part`, `${JSON.stringify(record, null, 2)}\n`);
  renameSync(`${path}.part`, path);
}

/** Whether a seed need not be lived through any more. One that failed is, to see whether its cause was mended. */
export function isDone({ seeds, failures }: SimulationRecord, seed: number): boolean {
  if (failures.some((failure) => failure.seed === seed)) return false;
  return seeds.some(([from, to]) => seed >= from && seed <= to);
}

export function countSeeds({ seeds }: SimulationRecord): number {
  return seeds.reduce((sum, [from, to]) => sum + to - from + 1, 0);
}

/** The record with one more seed in it, or with what became of one that had failed. */
export function addSeed(
  record: SimulationRecord,
  lived: { readonly seed: number; readonly commit: string; readonly outcome: Figures | Failure },
): SimulationRecord {
  const { seed, commit, outcome } = lived;
  const failed = "message" in outcome;
  const failures = record.failures.filter((failure) => failure.seed !== seed);
  return {
    ...record,
    seeds: withSeed(record.seeds, seed),
    commits: record.commits.includes(commit) ? record.commits : [...record.commits, commit],
    figures: failed ? record.figures : addFigures(record.figures, outcome),
    failures: failed ? [...failures, outcome] : failures,
  };
}

function withSeed(
  ranges: readonly (readonly [number, number])[],
  seed: number,
): readonly (readonly [number, number])[] {
  const merged: [number, number][] = [];
  for (const [from, to] of [...ranges, [seed, seed] as const].toSorted(([a], [b]) => a - b)) {
    const last = merged.at(-1);
    if (last !== undefined && from <= last[1] + 1) last[1] = Math.max(last[1], to);
    else merged.push([from, to]);
  }
  return merged;
}
