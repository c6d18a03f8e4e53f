/** A process that loads drops as the product does: so its memory can be measured, and several can load. */
import type pg from "pg";
import { type Database, openDatabase } from "../../db/client.ts";
import type { Settings } from "../../db/schema.ts";
import { loadDrop } from "../../etl/load/load.ts";
import type { LoadReport } from "../../etl/load/report.ts";
import { refreshPartitions } from "../../etl/refresh/refresh.ts";
import type { RefreshReport } from "../../etl/refresh/report.ts";
import { answerOrders } from "../program/asked_process.ts";

/** Where to load. */
export interface Place {
  readonly connection: pg.ClientConfig;
  readonly settings: Settings;
}

export type Order =
  | (Place & { readonly kind: "connect" })
  | { readonly kind: "load"; readonly drops: readonly string[] }
  | { readonly kind: "refresh" }
  | { readonly kind: "leave" };

export type Answer =
  | { readonly kind: "connected" | "left" }
  | {
      readonly kind: "loaded";
      readonly reports: readonly LoadReport[];
      readonly ms: number;
      readonly peakBytes: number;
    }
  | {
      readonly kind: "refreshed";
      readonly reports: readonly RefreshReport[];
      readonly ms: number;
      readonly peakBytes: number;
    }
  | { readonly kind: "failed"; readonly message: string };

const CONNECTIONS = 4;
let database: Database | undefined;
let settings: Settings | undefined;

answerOrders(carryOut);

async function carryOut(order: Order): Promise<Answer> {
  if (order.kind === "connect" || order.kind === "leave") {
    await database?.pool.end();
    database = undefined;
  }
  if (order.kind === "leave") return { kind: "left" };
  if (order.kind === "connect") {
    database = openDatabase({ connection: order.connection, max: CONNECTIONS });
    settings = order.settings;
    await warmUp(database);
    return { kind: "connected" };
  }
  if (database === undefined || settings === undefined) throw new Error("not connected yet");
  return order.kind === "load" ? load(database, settings, order.drops) : refresh(database);
}

/** Starting a process and connecting are not part of what is measured. */
async function warmUp({ pool }: Database): Promise<void> {
  const clients = await Promise.all(Array.from({ length: CONNECTIONS }, () => pool.connect()));
  for (const client of clients) client.release();
}

async function load(database: Database, settings: Settings, drops: readonly string[]): Promise<Answer> {
  const started = performance.now();
  const reports: LoadReport[] = [];
  for (const path of drops) reports.push(await loadDrop({ database, settings, path }));
  const ms = performance.now() - started;
  const failed = reports.find(({ outcome }) => outcome !== "loaded");
  if (failed !== undefined) {
    return { kind: "failed", message: `${failed.file}: ${failed.error?.message ?? failed.outcome}` };
  }
  return { kind: "loaded", reports, ms, peakBytes: peakBytes() };
}

async function refresh(database: Database): Promise<Answer> {
  const started = performance.now();
  const reports = await refreshPartitions({ database, strategy: "delta" });
  const ms = performance.now() - started;
  return { kind: "refreshed", reports, ms, peakBytes: peakBytes() };
}

/** Linux counts it in KiB. */
function peakBytes(): number {
  return process.resourceUsage().maxRSS * 1024;
}
