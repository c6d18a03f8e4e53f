/** For tests: a few invoices as a drop, and the usual steps with it. */
import { expect } from "vitest";
import type { TestWarehouse } from "../../db/testing/database.ts";
import { loadDrop } from "../load/load.ts";
import type { LoadReport } from "../load/report.ts";
import type { Divergence } from "../verify/divergence.ts";
import { type VerifyOptions, verifyWarehouse } from "../verify/verify.ts";
import { invoiceId, writeDrop } from "./lines.ts";

/** Venue, number of the invoice, creation date, total in euros. */
export type Invoice = readonly [venue: string, number: number, createdOn: string, total: string];

/** Writes a drop of these invoices, and returns its path. */
export function writeInvoices(folder: string, fileName: string, invoices: readonly Invoice[]): string {
  const lines = invoices.map(
    ([venue, number, createdOn, total]) => `${venue},${invoiceId(number)},${createdOn}T12:00:00,${total}`,
  );
  return writeDrop(folder, fileName, ["venue_id,invoice_id,datetime_created,total", ...lines]);
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

/** Everything that one round of slices finds, each of them as short as can be: it proves one part. */
export async function findBySlices(
  warehouse: TestWarehouse,
  options: Partial<VerifyOptions> = {},
): Promise<readonly Divergence[]> {
  const { database, settings } = warehouse;
  const divergences: Divergence[] = [];
  const proved = new Set<string>();
  let parts = 1;
  for (let slice = 0; slice < parts; slice += 1) {
    const report = await verifyWarehouse({
      database,
      settings,
      ...options,
      sliceMs: 0,
      // It is looked at in each slice.
      onDivergence: (found) => {
        if (found.kind !== "orphan" || slice === 0) divergences.push(found);
      },
    });
    const [name = "", ...others] = report.slice?.proved ?? [];
    expect([others, proved.has(name)], "a part had two turns in one round").toEqual([[], false]);
    proved.add(name);
    parts = Math.max(parts, 1 + (report.slice?.left ?? 0));
  }
  return divergences;
}
