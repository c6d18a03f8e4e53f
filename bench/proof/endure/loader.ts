/**
 * A process that loads one drop after the other, each with its refresh, as `rollbook load` does, and tells
 * what became of it.
 */
import type pg from "pg";
import { type Database, openDatabase } from "../../../db/client.ts";
import { errorState } from "../../../db/errors.ts";
import type { Settings } from "../../../db/schema.ts";
import { loadDrop } from "../../../etl/load/load.ts";
import type { LoadReport } from "../../../etl/load/report.ts";
import { refreshPartitions } from "../../../etl/refresh/refresh.ts";
import type { Strategy } from "../../../etl/refresh/strategy.ts";
import { answerOrders } from "../../program/asked_process.ts";

export type Order =
  | { readonly kind: "connect"; readonly connection: pg.ClientConfig; readonly settings: Settings }
  | { readonly kind: "load"; readonly path: string; readonly strategy: Strategy }
  | { readonly kind: "leave" };

export type Answer = { readonly kind: "connected" | "left" } | Loaded;

export interface Loaded {
  readonly kind: "loaded";
  readonly report: LoadReport;
  /** From the file to the commit, attempts that were rolled back included. */
  readonly commitMs: number;
  /** SQLSTATE, or the like, of each attempt that was rolled back. */
  readonly retries: readonly string[];
  /** Null where there was nothing to refresh. */
  readonly refreshMs: number | null;
  /** What was done to each partition. */
  readonly refreshed: readonly string[];
  readonly residentBytes: number;
}

/** As many as the command line's pool has. */
export const CONNECTIONS = 4;
let opened: { readonly database: Database; readonly settings: Settings } | undefined;

// A terminal's Ctrl-C reaches this process too, and it is the one that asks who decides when to stop.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => {});
answerOrders(carryOut);

async function carryOut(order: Order): Promise<Answer> {
  if (order.kind === "connect") {
    const { connection, settings } = order;
    opened = { database: openDatabase({ connection, max: CONNECTIONS }), settings };
    return { kind: "connected" };
  }
  if (opened === undefined) throw new Error("not connected yet");
  if (order.kind === "load") return load(opened, order);
  await opened.database.pool.end();
  opened = undefined;
  return { kind: "left" };
}

async function load(
  { database, settings }: NonNullable<typeof opened>,
  { path, strategy }: { readonly path: string; readonly strategy: Strategy },
): Promise<Loaded> {
  const retries: string[] = [];
  const started = performance.now();
  const onRetry = (_: number, error: unknown) => retries.push(errorState(error) ?? "connection lost");
  const report = await loadDrop({ database, settings, path, onRetry });
  const commitMs = performance.now() - started;
  const loaded = { kind: "loaded", report, commitMs, retries } as const;
  const residentBytes = () => process.memoryUsage.rss();
  if (report.touched.length === 0) {
    return { ...loaded, refreshMs: null, refreshed: [], residentBytes: residentBytes() };
  }
  const committed = performance.now();
  // `full` is all partitions; the others take those that the drop touched.
  const partitions = strategy === "full" ? undefined : [...report.touched].sort();
  const reports = await refreshPartitions({ database, strategy, partitions });
  const refreshMs = performance.now() - committed;
  const refreshed = reports.map(({ method }) => method);
  return { ...loaded, refreshMs, refreshed, residentBytes: residentBytes() };
}
