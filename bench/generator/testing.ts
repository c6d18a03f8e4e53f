/** What generated drops say, for tests: the format model reads them, the warehouse model loads them. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { type ReadLine, readDrop } from "../../etl/testing/models/format.ts";
import type { World } from "../../etl/testing/models/line.ts";
import { euros } from "../../etl/testing/models/money.ts";
import { createWarehouseModel } from "../../etl/testing/models/warehouse.ts";

export interface GeneratedDrop {
  readonly name: string;
  readonly syncedOn: string;
  readonly lines: readonly ReadLine[];
}

/** A line that is taken. */
export interface Row {
  readonly venue: string;
  /** `YYYY-MM-DDTHH:MM:SS`. */
  readonly created: string;
  readonly cents: bigint;
  /** The line as it stands in the file, without its end. */
  readonly raw: string;
}

const WORLD: Omit<World, "syncedOn"> = {
  timeZone: "UTC",
  dayStarts: "00:00",
  earliest: "2000-01-01",
  syncSlack: 0,
  closed: [],
  decimalComma: false,
};

/** All drops of a folder by sync date. */
export async function readDrops(folder: string): Promise<GeneratedDrop[]> {
  const names = (await readdir(folder)).filter((name) => name.startsWith("invoices_")).sort();
  return Promise.all(
    names.map(async (name) => {
      const bytes = await readFile(join(folder, name));
      const syncedOn = name.slice(9, 19);
      const unpacked = name.endsWith(".gz") ? gunzipSync(bytes) : bytes;
      if (!unpacked.subarray(-1).equals(Buffer.from("\n"))) throw new Error("the last line has no end");
      const { lines, refusal } = readDrop(unpacked, { ...WORLD, syncedOn });
      if (refusal !== undefined) throw new Error(`${name} is refused: ${refusal.code}`);
      return { name, syncedOn, lines };
    }),
  );
}

export function rowsOf({ lines }: GeneratedDrop): readonly Row[] {
  return lines.flatMap(({ bytes, decision }) => {
    if (decision.kind === "rejected") return [];
    const { venue, instant, cents } = decision.invoice;
    const created = new Date(Number(instant / 1000n)).toISOString().slice(0, 19);
    return [{ venue, created, cents, raw: Buffer.from(bytes).toString() }];
  });
}

/** Loads drops in date order into an empty warehouse with time zone UTC. */
export function replayDrops(drops: readonly GeneratedDrop[]) {
  const model = createWarehouseModel();
  const reports = drops.map(({ syncedOn, lines }, index) => {
    const { counts, rejects, deltas } = model.apply({ loadId: index + 1, syncedOn }, lines);
    const reasons: Record<string, number> = {};
    for (const { reason } of rejects) reasons[reason] = (reasons[reason] ?? 0) + 1;
    const late = deltas.filter(({ createdOn }) => latenessOf(createdOn, syncedOn) >= 2);
    return { counts, reasons, late: late.reduce((sum, { invoices }) => sum + invoices, 0) };
  });
  const groups = [...model.totals()].sort(
    (a, b) =>
      Buffer.compare(Buffer.from(a.venue), Buffer.from(b.venue)) || (a.createdOn < b.createdOn ? -1 : 1),
  );
  const lines = groups.map(
    ({ venue, createdOn, invoices, cents }) => `${venue},${createdOn},${invoices},${euros(cents)}\n`,
  );
  return {
    /** Of each drop, in date order. */
    // No source reads these drops, so nothing is left out or added up; and nothing is undone.
    rows: reports.map(({ counts: { skipped, summed, removed, absent, voided, ...rows } }) => rows),
    rejects: reports.map(({ reasons }) => reasons),
    late: reports.map(({ late }) => late),
    invoices: model.invoices().length,
    total: euros(model.invoices().reduce((sum, { cents }) => sum + BigInt(cents), 0n)),
    totalsCsv: `venue_id,created_on,invoices,total\n${lines.join("")}`,
  };
}

/** In days. */
export function latenessOf(created: string, syncedOn: string): number {
  return (Date.parse(syncedOn) - Date.parse(created.slice(0, 10))) / 86_400_000;
}
