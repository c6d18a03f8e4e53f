/** Which cells a profile measures. */
import type { Cell, Lateness, Profile } from "../results.ts";
import type { Arm } from "./arm.ts";
import { short } from "./names.ts";

export interface PlannedCell {
  readonly cell: Cell;
  /** Names of the arms; left out: all that apply. */
  readonly arms?: readonly string[];
}

/** Samples per arm. Times of `smoke` do not matter: two samples show that an arm can be measured again. */
export const REPETITIONS: Readonly<Record<Profile, number>> = { smoke: 2, standard: 3, huge: 3 };

const LOADS = ["delta", "delta_one_file", "copy"];
const REFRESHES = ["delta", "auto", "partition", "full", "copy", "touched_groups", "materialized_view"];
/**
 * Where an axis does not change what an arm shows, the arm is not measured again. An axis that is not here:
 * all arms that apply.
 */
const ARMS_OF: Partial<Record<Cell["axis"], readonly string[]>> = {
  batch: [...REFRESHES, "upsert", "duckdb_dedupe"],
  // How late a batch is does not change how long a rebuild of all takes.
  lateness: ["delta", "auto", "partition", "copy", "touched_groups", "lookback"],
  granularity: ["delta", "auto", "partition", "full", "copy"],
  corrections: [
    "delta",
    "copy",
    "auto",
    "partition",
    "upsert",
    "trigger",
    "lookback",
    "duckdb",
    "duckdb_dedupe",
  ],
  files: LOADS,
  backfill: LOADS,
  loaders: LOADS,
};

type Axes = Omit<Cell, "id">;

const BASE = {
  axis: "baseline",
  lateness: "10%",
  granularity: "month",
  corrections: 0,
  files: 1,
  loaders: 1,
} as const;

/** Gives a cell its name. */
export function nameCell(axes: Axes): Cell {
  const { axis, history, batch, lateness, granularity, corrections, files, loaders } = axes;
  const parts = [
    ...(axis === "reads" || axis === "backfill" ? [axis] : []),
    `history=${short(history)}`,
    axis === "reads" ? `pending=${short(batch)}` : `batch=${short(batch)}`,
    `late=${lateness}`,
    granularity,
    ...(corrections > 0 ? [`corrections=${corrections * 100}%`] : []),
    ...(files > 1 ? [`files=${files}`] : []),
    ...(axis === "loaders" ? [`loaders=${loaders}`] : []),
  ];
  return { id: parts.join(" "), ...axes };
}

/** One cell of each kind, in small: that all arms agree is what it is for. */
const smoke: readonly PlannedCell[] = planAxes({
  base: { ...BASE, history: 100_000, batch: 10_000 },
  histories: [20_000],
  batches: [1000],
  lateness: ["none", "even"],
  // By day, 100k invoices would take a minute to clone again and again.
  partitioned: 20_000,
  files: { batch: 2000, files: 20 },
  backfill: 20_000,
  loaders: { batch: 10_000, files: 4, loaders: [2] },
});

const standard: readonly PlannedCell[] = planAxes({
  base: { ...BASE, history: 10_000_000, batch: 100_000 },
  histories: [1_000_000],
  batches: [1000, 10_000, 1_000_000],
  lateness: ["none", "50%", "even"],
  // By day, 10 million invoices would take longer to build than all else to measure.
  partitioned: 1_000_000,
  files: { batch: 1_000_000, files: 1000 },
  backfill: 10_000_000,
  loaders: { batch: 400_000, files: 4, loaders: [1, 2, 4] },
});

/** What grows with the history, from 1 million to 100 million. */
const huge: readonly PlannedCell[] = planHuge({ ...BASE, history: 100_000_000, batch: 100_000 });

function planHuge(base: Axes): readonly PlannedCell[] {
  const duckdb = ["duckdb", "duckdb_dedupe"];
  return [
    { cell: nameCell(base) },
    ...[1_000_000, 10_000_000].map((history) => ({
      cell: nameCell({ ...base, axis: "history", history }),
      arms: [...REFRESHES, ...duckdb],
    })),
    {
      cell: nameCell({ ...base, axis: "batch", batch: 1_000_000 }),
      arms: ["delta", "auto", "copy", ...duckdb],
    },
    { cell: nameCell({ ...base, axis: "lateness", lateness: "none" }), arms: REFRESHES },
    ...planReads(base),
  ];
}

const PLANS: Readonly<Record<Profile, readonly PlannedCell[]>> = { smoke, standard, huge };

export function planProfile(profile: Profile): readonly PlannedCell[] {
  return PLANS[profile];
}

/** The arms that a cell is measured with. */
export function chooseArms(all: readonly Arm[], { cell, arms: names }: PlannedCell): readonly Arm[] {
  if (cell.axis === "reads") return [];
  return all.filter(({ name, appliesTo }) => (names?.includes(name) ?? true) && (appliesTo?.(cell) ?? true));
}

function planAxes(plan: {
  readonly base: Axes;
  readonly histories: readonly number[];
  readonly batches: readonly number[];
  readonly lateness: readonly Lateness[];
  /** History of the cells that vary the granularity. */
  readonly partitioned: number;
  readonly files: { readonly batch: number; readonly files: number };
  readonly backfill: number;
  readonly loaders: { readonly batch: number; readonly files: number; readonly loaders: readonly number[] };
}): readonly PlannedCell[] {
  const { base } = plan;
  const varied: Axes[] = [
    base,
    ...plan.histories.map((history): Axes => ({ ...base, axis: "history", history })),
    ...plan.batches.map((batch): Axes => ({ ...base, axis: "batch", batch })),
    ...plan.lateness.map((lateness): Axes => ({ ...base, axis: "lateness", lateness })),
    ...(["day", "year"] as const).map(
      (granularity): Axes => ({ ...base, axis: "granularity", granularity, history: plan.partitioned }),
    ),
    { ...base, axis: "corrections", corrections: 0.05 },
  ];
  const loads: Axes[] = [
    { ...base, axis: "files", ...plan.files },
    { ...base, axis: "backfill", history: 0, batch: plan.backfill, lateness: "even" },
    ...plan.loaders.loaders.map((loaders): Axes => ({ ...base, axis: "loaders", ...plan.loaders, loaders })),
  ];
  const planned = [...varied, ...loads].map((axes) => {
    const arms = ARMS_OF[axes.axis];
    return { cell: nameCell(axes), ...(arms && { arms }) };
  });
  return [...planned, ...planReads(base)];
}

function planReads(base: Axes): readonly PlannedCell[] {
  return [0, base.batch].map((batch) => ({ cell: nameCell({ ...base, axis: "reads", batch }) }));
}
