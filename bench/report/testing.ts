/**
 * Results for tests of the report. All numbers are invented, by formulas: they say nothing about any machine.
 */

import { ARMS } from "../arms/arms.ts";
import type { ArmResult, Axis, Cell, CellResult, Results, Sample } from "../results.ts";
import type { Arm } from "../run/arm.ts";
import { chooseArms, nameCell, planProfile } from "../run/profiles.ts";
import { READ_ARMS } from "../run/read_cell.ts";

/** A cell that differs from the baseline of the standard profile. */
export function createCell(axis: Axis, changes: Partial<Cell> = {}): Cell {
  const baseline = planProfile("standard")[0]?.cell as Cell;
  return { ...nameCell({ ...baseline, ...changes, axis }), ...(changes.id && { id: changes.id }) };
}

/** Phases with their milliseconds; sizes follow from the times. */
export function createSample(phases: Readonly<Record<string, number>>, sizes: Partial<Sample> = {}): Sample {
  const wallMs = Object.values(phases).reduce((sum, ms) => sum + ms, 0);
  return {
    wallMs,
    phases: Object.entries(phases).map(([name, ms]) => ({ name, ms })),
    walBytes: Math.round(wallMs * 1e5),
    tempBytes: 0,
    heapBytes: Math.round(wallMs * 5e4),
    indexBytes: Math.round(wallMs * 2e4),
    nodePeakBytes: 111e6,
    rows: 12345,
    groups: 678,
    ...sizes,
  };
}

export const EXACT = { exact: true, groups: 0, cents: "0" } as const;

export function createArm(
  arm: string,
  group: ArmResult["group"],
  samples: readonly Sample[],
  changes: Partial<ArmResult> = {},
): ArmResult {
  const title = [...ARMS, ...READ_ARMS].find(({ name }) => name === arm)?.title ?? arm;
  return { arm, title, group, samples, verdict: group === "floor" ? null : EXACT, ...changes };
}

export function createCellResult(cell: Cell, arms: readonly ArmResult[]): CellResult {
  return { cell, arms, finishedAt: "2001-01-01T01:00:00.000Z" };
}

export function createResults(cells: readonly CellResult[], changes: Partial<Results> = {}): Results {
  return {
    version: 1,
    profile: "standard",
    startedAt: "2001-01-01T00:00:00.000Z",
    finishedAt: "2001-01-01T02:03:04.567Z",
    environment: {
      cpu: "Synthetic CPU of the tests",
      cores: 2,
      memoryBytes: 8e9,
      os: "Test OS 1.0",
      node: "v0.0.0",
      postgres: "0.0",
      duckdb: "0.0.0",
      commit: "0000000-dirty",
      server: "embedded",
      settings: { shared_buffers: "1GB", fsync: "on", synchronous_commit: "on" },
    },
    cells,
    ...changes,
  };
}

/**
 * A run of the standard profile: all axes and arms of all kinds, a wrong one and some that are not available.
 */
export function createFullResults(): Results {
  const cells = planProfile("standard").map((planned) => {
    const { cell } = planned;
    const loads = chooseArms(ARMS, planned).map((arm) => inventArm(arm, cell));
    return createCellResult(cell, cell.axis === "reads" ? inventReads(cell) : loads);
  });
  return createResults(cells);
}

function inventReads({ batch }: Cell): readonly ArmResult[] {
  const notLoaded = { walBytes: null, heapBytes: null, indexBytes: null, rows: null, groups: null };
  return READ_ARMS.map(({ name }) => {
    const slower = name === "view" ? 5 + batch / 5e3 : 0;
    return createArm(
      name,
      "read",
      repeat(() => createSample({ query: 35 + slower }, notLoaded)),
    );
  });
}

function inventArm({ name, group, unavailable, site }: Arm, { history, batch, lateness }: Cell): ArmResult {
  if (unavailable !== undefined) {
    const why = `not available here: the server has no extension ${name}`;
    return createArm(name, group, [], { unavailable: why, verdict: null });
  }
  const load = 20 + batch / 250;
  const ours = { hash: load / 9, claim: 3, stage: load / 2, merge: load / 3, commit: 4 };
  const phases = {
    ...(group === "incremental" || group === "rebuild" ? ours : { copy: load * (COPY_FACTORS[name] ?? 1) }),
    ...(group === "floor" || (group === "other" && site === "own")
      ? {}
      : { refresh: 8 + batch / 900 + history * (REFRESH_PER_INVOICE[name] ?? 2e-8) }),
  };
  const wrong = name === "lookback" && lateness !== "none";
  return createArm(
    name,
    group,
    repeat(() => createSample(phases)),
    {
      ...(wrong && { verdict: { exact: false, groups: 4321, cents: "12345678" } }),
    },
  );
}

/** Of the load of ours. */
const COPY_FACTORS: Readonly<Record<string, number>> = {
  trigger: 3,
  copy_sorted: 0.8,
  duckdb: 0.3,
  duckdb_dedupe: 0.5,
};

/** Milliseconds for each invoice of the history. */
const REFRESH_PER_INVOICE: Readonly<Record<string, number>> = {
  full: 5e-4,
  partition: 1e-4,
  materialized_view: 7e-4,
  materialized_view_concurrently: 12e-4,
  duckdb: 5e-5,
  duckdb_dedupe: 9e-5,
};

/** Three samples of which no two are alike. */
function repeat(create: () => Sample): readonly Sample[] {
  return [0, 1, 2].map((repetition) => {
    const { wallMs, phases, ...sample } = create();
    const slower = 1 + repetition / 20;
    return {
      ...sample,
      wallMs: wallMs * slower,
      phases: phases.map(({ name, ms }) => ({ name, ms: ms * slower })),
    };
  });
}
