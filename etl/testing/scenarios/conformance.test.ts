/** The conformance cases: drops, what loading each must say, line by line, and the totals in the end. */
import { readdirSync, readFileSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parse } from "csv-parse/sync";
import { expect, test } from "vitest";
import type { Granularity } from "../../../db/schema.ts";
import { createTestDatabase, type TestWarehouse } from "../../../db/testing/database.ts";
import { type LoadOptions, loadDrop } from "../../load/load.ts";
import { type LineCounts, NO_LINES } from "../../load/report.ts";
import { refreshPartitions } from "../../refresh/refresh.ts";
import { readRejects } from "../../reports/loads.ts";
import { type Grouping, readTotals, type Total, type TotalsFilter } from "../../reports/totals.ts";
import { verifyWarehouse } from "../../verify/verify.ts";
import { disagreements } from "../warehouse.ts";

const CASES = fileURLToPath(new URL("../conformance", import.meta.url));

interface Case {
  readonly settings: {
    readonly timeZone: string;
    readonly granularity: Granularity;
    readonly earliest: string;
    readonly dayStarts?: string;
  };
  readonly steps: readonly {
    readonly file: string;
    readonly args: readonly string[];
    /** When the file was last changed: a checkout does not keep it. */
    readonly mtime?: string;
    readonly expect: {
      readonly outcome: string;
      readonly error?: string;
      /** No source reads them. */
      readonly rows?: Omit<LineCounts, "skipped" | "summed" | "voided" | "absent">;
      readonly partitions?: readonly string[];
      readonly rejects?: readonly (readonly [number, string])[];
    };
  }[];
  readonly totals: readonly { readonly args: readonly string[]; readonly file: string }[];
}

/** The flags of a step, as the functions take them. */
function readFlags(
  args: readonly string[],
): Pick<LoadOptions, "maxRejects" | "syncedOn" | "syncSlack" | "decimalComma"> {
  const after = (flag: string) => (args.includes(flag) ? args[args.indexOf(flag) + 1] : undefined);
  const share = after("--max-rejects");
  return {
    maxRejects: share === undefined ? undefined : Number(share),
    syncedOn: after("--synced-on"),
    syncSlack: Number(after("--sync-slack") ?? 0),
    decimalComma: args.includes("--decimal-comma"),
  };
}

function readQuery(args: readonly string[]): TotalsFilter & { by: Grouping } {
  const after = (flag: string) => (args.includes(flag) ? args[args.indexOf(flag) + 1] : undefined);
  return { by: (after("--by") ?? "venue,day") as Grouping, from: after("--from"), to: after("--to") };
}

async function rejectsOf(warehouse: TestWarehouse, loadId: number): Promise<[number, string][]> {
  const found: [number, string][] = [];
  await readRejects({ database: warehouse.database, loadId }, async ({ line, reason }) => {
    found.push([line, reason]);
  });
  return found;
}

async function agree(name: string): Promise<void> {
  const folder = join(CASES, name);
  const spec: Case = JSON.parse(readFileSync(join(folder, "case.json"), "utf8"));
  const warehouse = await createTestDatabase(spec.settings);
  const { database, settings } = warehouse;
  for (const step of spec.steps) {
    const path = join(folder, "drops", step.file);
    if (step.mtime !== undefined) utimesSync(path, new Date(step.mtime), new Date(step.mtime));
    const report = await loadDrop({ database, settings, path, ...readFlags(step.args) });
    const { outcome, error, rows, partitions, rejects } = step.expect;
    expect({ file: step.file, outcome: report.outcome, error: report.error?.code }).toEqual({
      file: step.file,
      outcome,
      error,
    });
    if (rows !== undefined) expect(report.rows, step.file).toEqual({ ...NO_LINES, ...rows });
    if (partitions !== undefined) expect(report.partitions, step.file).toEqual(partitions);
    if (rejects !== undefined)
      expect(await rejectsOf(warehouse, report.loadId ?? 0), step.file).toEqual(rejects);
    await refreshPartitions({ database, partitions: report.touched });
    expect(await disagreements(warehouse)).toEqual([]);
  }
  for (const { args, file } of spec.totals) {
    const found: Total[] = [];
    await readTotals({ database, settings, ...readQuery(args) }, async (total) => {
      found.push(total);
    });
    const wanted: Record<string, string>[] = parse(readFileSync(join(folder, file)), { columns: true });
    expect(found, file).toEqual(wanted.map((row) => ({ ...row, invoices: Number(row.invoices) })));
  }
  expect(await verifyWarehouse({ database, settings })).toMatchObject({ divergences: 0 });
}

test.each(readdirSync(CASES))("case %s says of every drop and line what it must", agree);
