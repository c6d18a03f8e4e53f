/** The speed to reach, as data. */
import type { Cell } from "../results.ts";
import { MEASURE_NAMES, type Measure } from "./measures.ts";

/** What is measured in which cell. */
export interface Operand {
  /** Alternatives: the fastest of those that ran. */
  readonly arms: readonly string[];
  readonly measure: Measure;
  /**
   * Sizes of the cell. What is left out is as in the run's main cell; with `axis`, anything. In a denominator
   * what is left out is as in the numerator's cell.
   */
  readonly where?: Partial<Cell>;
}

export interface RatioTarget {
  readonly kind: "ratio";
  readonly title: string;
  readonly over: Operand;
  readonly under: Operand;
  /** One of the two. */
  readonly most?: number;
  readonly least?: number;
}

export interface MemoryTarget {
  readonly kind: "memory";
  readonly title: string;
  /** Greatest resident memory of Node in any cell; or how much more it is at 5 M rows or more than at 1 M. */
  readonly of: "peak" | "growth";
  readonly mostBytes: number;
}

export type Target = RatioTarget | MemoryTarget;

type Where = Partial<Cell>;
const M10: Where = { history: 10e6 };
const M100: Where = { history: 100e6 };
const NONE_LATE: Where = { ...M100, lateness: "none" };
const MANY_FILES: Where = { axis: "files", files: 1000, batch: 1e6, loaders: 1 };
const PG_TRICKLE = ["pg_trickle", "pg_trickle_full"];
const YEAR = "view over a year";
const TO_TABLE = "against the bare rollup table";

export const TARGETS: readonly Target[] = [
  againstCopy("exact", "100 k rows, 10 M history", { ...M10, batch: 100e3 }, 1),
  againstCopy("exact", "1 M rows, 10 M history", { ...M10, batch: 1e6 }, 1),
  againstCopy("exact", "100 k rows, 100 M history", { ...M100, batch: 100e3 }, 1),
  againstCopy("exact", "1 M rows, 100 M history", { ...M100, batch: 1e6 }, 1),
  againstCopy("refreshed", "100 k rows, 10 M history", { ...M10, batch: 100e3 }, 1.2),
  againstCopy("refreshed", "1 M rows, 10 M history", { ...M10, batch: 1e6 }, 1),
  againstCopy("refreshed", "100 k rows, 100 M history", { ...M100, batch: 100e3 }, 1.2),
  againstCopy("refreshed", "1 M rows, 100 M history", { ...M100, batch: 1e6 }, 1),
  againstCopy("exact", "backfill into an empty warehouse", { axis: "backfill" }, 0.5),
  {
    kind: "ratio",
    title: "refresh alone: 100 M history against 10 M",
    over: { arms: ["delta"], measure: "refresh", where: M100 },
    under: { arms: ["delta"], measure: "refresh", where: M10 },
    most: 1.5,
  },
  slower("refresh", "full rebuild", ["full"], "100 M history", M100, 80),
  slower("refresh", "refresh materialized view", ["materialized_view"], "100 M history", M100, 80),
  slower("refresh", "full rebuild", ["full"], "100 M history, none late", NONE_LATE, 1000),
  slower(
    "refresh",
    "refresh materialized view",
    ["materialized_view"],
    "100 M history, none late",
    NONE_LATE,
    1000,
  ),
  slower("refreshed", "DuckDB with the same dedupe", ["duckdb_dedupe"], "100 M history", M100, 1),
  slower("exact", "TimescaleDB", ["timescaledb"], "10 M history", M10, 20),
  slower("exact", "pg_ivm", ["pg_ivm"], "10 M history", M10, 50),
  slower("exact", "pg_trickle, its better mode,", PG_TRICKLE, "10 M history", M10, 10),
  {
    kind: "ratio",
    title: "file to refreshed totals: 1,000 drops of 1,000 rows against one drop of 1 M",
    over: { arms: ["delta"], measure: "refreshed", where: MANY_FILES },
    under: { arms: ["delta_one_file"], measure: "refreshed" },
    most: 4,
  },
  reads(`${YEAR}, nothing pending: ${TO_TABLE}`, 0, 1.3),
  reads(`${YEAR}, 100 k rows pending: ${TO_TABLE}`, 100e3, 3),
  rebuild("10 M history", M10),
  rebuild("100 M history", M100),
  { kind: "memory", title: "memory of Node: 5 M rows or more against 1 M", of: "growth", mostBytes: 50e6 },
  { kind: "memory", title: "memory of Node: the greatest of any cell", of: "peak", mostBytes: 300e6 },
];

function againstCopy(measure: Measure, what: string, where: Where, most: number): Target {
  const title = `${MEASURE_NAMES[measure]}, ${what}: against unsorted COPY`;
  const over = { arms: ["delta"], measure, where };
  return { kind: "ratio", title, over, under: { arms: ["copy"], measure: "refreshed" }, most };
}

/** How many times as long as ours others should take at least. */
function slower(
  measure: Measure,
  name: string,
  arms: readonly string[],
  size: string,
  where: Where,
  least: number,
): Target {
  const title = `${MEASURE_NAMES[measure]}, ${name} against delta, ${size}`;
  return { kind: "ratio", title, over: { arms, measure, where }, under: { arms: ["delta"], measure }, least };
}

function reads(title: string, batch: number, most: number): Target {
  const over: Operand = { arms: ["view"], measure: "refreshed", where: { axis: "reads", batch } };
  return { kind: "ratio", title, over, under: { arms: ["rollup_table"], measure: "refreshed" }, most };
}

function rebuild(size: string, where: Where): Target {
  const title = `full rebuild against refresh materialized view, ${size}`;
  const over: Operand = { arms: ["full"], measure: "refresh", where };
  return {
    kind: "ratio",
    title,
    over,
    under: { arms: ["materialized_view"], measure: "refresh" },
    most: 0.7,
  };
}
