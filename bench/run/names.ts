/** Names of the databases of the benchmark, and how numbers are written in them. */
import type { Granularity } from "../../db/schema.ts";

export const CLONE_PREFIX = "rollbook_bench_clone_";

/** `rollbook_bench_10m_month`. */
export function historyName(history: number, granularity: Granularity): string {
  return `rollbook_bench_${short(history).toLowerCase()}_${granularity}`;
}

/** 1500 as `1500`, 10000 as `10k`, 10000000 as `10M`. */
export function short(count: number): string {
  if (count >= 1e6 && count % 1e6 === 0) return `${count / 1e6}M`;
  if (count >= 1e3 && count % 1e3 === 0) return `${count / 1e3}k`;
  return String(count);
}
