/** For tests: drops of a few invoices that are written out in the test, and the usual steps with them. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import type { TestWarehouse } from "../../db/testing/database.ts";
import { loadDrop } from "../load/load.ts";
import type { LoadReport } from "../load/report.ts";
import type { Divergence } from "../verify/divergence.ts";
import { type VerifyOptions, verifyWarehouse } from "../verify/verify.ts";

/** Venue, number of the invoice, creation date, total in euros. */
export type Invoice = readonly [venue: string, number: number, createdOn: string, total: string];

/** The id of an invoice number. */
export function idOf(number: number): string {
  return `00000000-0000-4000-8000-${String(number).padStart(12, "0")}`;
}

/** Writes a drop, and returns its path. */
export function writeDrop(folder: string, fileName: string, invoices: readonly Invoice[]): string {
  const path = join(folder, fileName);
  const lines = invoices.map(
    ([venue, number, createdOn, total]) => `${venue},${idOf(number)},${createdOn}T12:00:00,${total}\n`,
  );
  writeFileSync(path, `venue_id,invoice_id,datetime_created,total\n${lines.join("")}`);
  return path;
}

/** Loads a drop that must be loaded; any share of rejects is allowed. */
export async function load(warehouse: TestWarehouse, path: string): Promise<LoadReport> {
  const { database, settings } = warehouse;
  const report = await loadDrop({ database, settings, path, maxRejects: 1 });
  expect(report).toMatchObject({ outcome: "loaded" });
  return report;
}

/** Everything that a verification finds. */
export async function findDivergences(
  warehouse: TestWarehouse,
  options: Partial<VerifyOptions> = {},
): Promise<readonly Divergence[]> {
  const { database, settings } = warehouse;
  const divergences: Divergence[] = [];
  const onDivergence = (divergence: Divergence) => divergences.push(divergence);
  const report = await verifyWarehouse({ database, settings, ...options, onDivergence });
  expect(report.divergences).toBe(divergences.length);
  return divergences;
}
