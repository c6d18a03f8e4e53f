/** Results for tests of the report. All numbers are invented, by formulas: they say nothing about any machine. */
import type { ArmResult, Axis, Cell, CellResult, Results, Sample } from "../results.ts";

const BASELINE: Cell = {
  id: "",
  axis: "baseline",
  history: 10e6,
  batch: 100e3,
  lateness: "10%",
  granularity: "month",
  corrections: 0,
  files: 1,
  loaders: 1,
};

/** A cell that differs from the baseline. */
export function createCell(axis: Axis, changes: Partial<Cell> = {}): Cell {
  const cell = { ...BASELINE, axis, ...changes };
  const size = (count: number) => (count >= 1e6 ? `${count / 1e6}M` : `${count / 1e3}k`);
  const id = `${axis}: history=${size(cell.history)} batch=${size(cell.batch)} late=${cell.lateness} ${cell.granularity} files=${cell.files} loaders=${cell.loaders}`;
  return { ...cell, id: changes.id ?? id };
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
  return {
    arm,
    title: TITLES[arm] ?? arm,
    group,
    samples,
    verdict: group === "floor" ? null : EXACT,
    ...changes,
  };
}

const TITLES: Readonly<Record<string, string>> = {
  delta: "Rollbook, delta",
  delta_one_file: "Rollbook, delta, the same rows in one drop",
  auto: "Rollbook, auto",
  partition: "Rollbook, rebuild touched partitions",
  full: "Rollbook, rebuild all partitions",
  materialized_view: "refresh materialized view",
  materialized_view_concurrently: "refresh materialized view concurrently",
  trigger: "statement trigger",
  touched_groups: "recompute of touched groups",
  lookback: "lookback window of 3 days",
  duckdb: "DuckDB, brute force without dedupe",
  duckdb_dedupe: "DuckDB, brute force with dedupe",
  copy: "bare COPY, unsorted",
  copy_sorted: "bare COPY, sorted by key",
  timescaledb: "TimescaleDB continuous aggregate",
  view: "view over a year",
  rollup_table: "bare rollup table over a year",
};

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

/** A run with all axes, arms of all kinds, a wrong one and one that is not available. */
export function createFullResults(): Results {
  const loads = [
    createCell("baseline"),
    createCell("history", { history: 1e6 }),
    createCell("history", { history: 100e6 }),
    createCell("batch", { batch: 1e3 }),
    createCell("batch", { batch: 10e3 }),
    createCell("batch", { batch: 1e6 }),
    createCell("lateness", { lateness: "none" }),
    createCell("lateness", { lateness: "even" }),
    createCell("granularity", { granularity: "day" }),
    createCell("corrections", { corrections: 0.05 }),
    createCell("files", { batch: 1e6, files: 1000 }),
    createCell("loaders", { loaders: 4 }),
    createCell("backfill", { history: 0, batch: 10e6 }),
  ];
  const reads = [0, 100e3].map((batch) =>
    createCellResult(createCell("reads", { batch }), [
      createArm(
        "view",
        "read",
        repeat((n) => createSample({ query: 40 + batch / 5e3 + n }, NOT_LOADED)),
      ),
      createArm(
        "rollup_table",
        "read",
        repeat((n) => createSample({ query: 35 + n }, NOT_LOADED)),
      ),
    ]),
  );
  return createResults([...loads.map((cell) => createCellResult(cell, createArms(cell))), ...reads]);
}

const NOT_LOADED = { walBytes: null, heapBytes: null, indexBytes: null, rows: null, groups: null } as const;

function createArms({ history, batch, lateness, files }: Cell): readonly ArmResult[] {
  const load = 20 + batch / 250;
  const recompute = 5 + history / 2000;
  const copied = (n: number, factor = 1) => ({ copy: load * factor * (1 + n / 20) });
  const loaded = (n: number) => ({
    hash: load / 9,
    claim: 3 + n,
    stage: load / 2,
    merge: load / 3,
    commit: 4 + n,
  });
  const ours = (refresh: number) =>
    repeat((n) => createSample({ ...loaded(n), refresh: refresh * (1 + n / 30) }));
  const other = (refresh: number, factor = 1) =>
    repeat((n) => createSample({ ...copied(n, factor), refresh: refresh * (1 + n / 25) }));
  const lookback = lateness === "none" ? EXACT : { exact: false, groups: 4321, cents: "12345678" };
  return [
    createArm("delta", "incremental", ours(8 + batch / 900 + history / 5e7)),
    ...(files > 1 ? [createArm("delta_one_file", "incremental", ours(7 + batch / 990))] : []),
    createArm("auto", "incremental", ours(9 + batch / 850 + history / 5e7)),
    createArm("partition", "rebuild", ours(30 + recompute / 5)),
    createArm("full", "rebuild", ours(recompute)),
    createArm("materialized_view", "other", other(recompute * 1.4)),
    createArm("materialized_view_concurrently", "other", other(recompute * 2.3)),
    createArm(
      "trigger",
      "other",
      repeat((n) => createSample(copied(n, 3))),
    ),
    createArm("touched_groups", "other", other(50 + batch / 100)),
    createArm("lookback", "other", other(12), { verdict: lookback }),
    createArm("duckdb", "other", other(history / 37e3, 0.3)),
    createArm("duckdb_dedupe", "other", other(history / 14e3, 0.5)),
    createArm("timescaledb", "other", [], {
      unavailable: "not available here: the server has no extension timescaledb",
      verdict: null,
    }),
    createArm(
      "copy",
      "floor",
      repeat((n) => createSample(copied(n))),
    ),
    createArm(
      "copy_sorted",
      "floor",
      repeat((n) => createSample(copied(n, 0.8))),
    ),
  ];
}

function repeat(create: (repetition: number) => Sample): readonly Sample[] {
  return [0, 1, 2].map(create);
}
