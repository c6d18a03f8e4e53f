/** For tests: a warehouse in which every page has something to show. */
import { join } from "node:path";
import type { TestWarehouse } from "../../db/testing/database.ts";
import { closePeriod } from "../../etl/closings/close.ts";
import { dismissRejects } from "../../etl/load/dismiss.ts";
import { loadDrop } from "../../etl/load/load.ts";
import { refreshPartitions } from "../../etl/refresh/refresh.ts";
import { HOSTILE_TEXTS, hostileFileNames } from "../../etl/testing/hostile.ts";
import { invoiceId, writeDrop } from "../../etl/testing/lines.ts";
import { undo } from "../../etl/undo/undo.ts";

const line = (venue: string, invoice: number, created: string, total: string) =>
  `${inQuotes(venue)},${invoiceId(invoice)},${created},${total}`;
const inQuotes = (text: string) => `"${text.replaceAll('"', '""')}"`;

/** The loads that it makes. */
export interface Filled {
  /** Inserts, corrects, confirms, comes too late, and has rejected lines; its file is of 2026-10-06. */
  readonly mixed: number;
  /** Its file is refused as a whole. */
  readonly refused: number;
  /** It is taken back, by `undo`. */
  readonly undone: number;
  readonly undo: number;
  /** It changes September, which is closed. */
  readonly restating: number;
}

/**
 * Two venues with a year of totals, rejected lines, an undo, a closed month and what has changed it since.
 *
 * @param options.folder for the files
 */
export async function fillWarehouse(
  warehouse: TestWarehouse,
  { folder }: { readonly folder: string },
): Promise<Filled> {
  const { database, settings } = warehouse;
  const load = async (name: string, lines: readonly string[], maxRejects = 0.5) => {
    const report = await loadDrop({ ...warehouse, path: writeDrop(folder, name, lines), maxRejects });
    if (report.loadId === undefined || report.loadId === null) throw new Error(`${name} has no load`);
    return report.loadId;
  };
  const year = Array.from({ length: 12 }, (_, month) => new Date(Date.UTC(2025, 9 + month, 3)));
  const older = year.map((day, index) =>
    line(index % 2 === 0 ? "bar" : "café", 100 + index, day.toISOString().slice(0, 10), `${100 + index}.50`),
  );
  await load("history_2026-10-04.csv", older);
  await refreshPartitions({ database });
  const period = { name: "2026-09", from: "2026-09-01", to: "2026-10-01" };
  await closePeriod({ database, settings, period });
  await load("invoices_2026-10-05.csv", [
    line("bar", 1, "2026-10-04", "12.50"),
    line("bar", 2, "2026-10-05", "20.00"),
    line("café", 3, "2026-10-05", "7.00"),
  ]);
  const mixed = await load("invoices_2026-10-06.csv", [
    line("bar", 1, "2026-10-04", "13.50"),
    line("bar", 2, "2026-10-05", "20.00"),
    line("bar", 4, "2026-10-06", "30.00"),
    line("café", 5, "2026-08-11", "5.00"),
    line("café", 6, "2026-10-06", "1,50"),
    line("café", 6, "yesterday", "1.50"),
  ]);
  await dismissRejects({
    database,
    loadId: mixed,
    reason: "bad_timestamp",
    because: "a <b>trailer</b> line",
  });
  const restating = await load("late_2026-10-07.csv", [line("bar", 7, "2026-09-30", "-40.00")]);
  const refused = await load("broken_2026-10-08.csv", ["nonsense", "more"], 0);
  const undone = await load("wrong_2026-10-09.csv", [line("bar", 8, "2026-10-08", "99.99")]);
  const { loadId: undid } = await undo({ database, settings, loadId: undone, because: "a <test> file" });
  if (undid === null) throw new Error("nothing was undone");
  return { mixed, refused, undone, undo: undid, restating };
}

/** Venues and files whose names attack whoever shows them. Returns these names. */
export async function fillHostile(
  warehouse: TestWarehouse,
  { folder }: { readonly folder: string },
): Promise<readonly string[]> {
  const venues = [
    ...HOSTILE_TEXTS.filter(({ venue }) => venue === "loaded").map(({ text }) => text),
    ...MARKUP,
  ];
  const lines = venues.map((venue, index) => line(venue, 1000 + index, "2026-10-05", "1.00"));
  const bad = MARKUP.map((text, index) => line("bar", 2000 + index, "2026-10-05", inQuotes(text)));
  const names = [
    ...hostileFileNames(),
    ...MARKUP.map((text) => `${text.replaceAll("/", "∕")} 2026-10-05.csv`),
  ];
  for (const [index, name] of names.entries()) {
    const path = writeDrop(join(folder, String(index)), name, [
      ...lines,
      ...bad,
      line("bar", 3000 + index, "2026-10-05", "1.00"),
    ]);
    await loadDrop({ ...warehouse, path, syncedOn: "2026-10-05", maxRejects: 0.9 });
  }
  return [...venues, ...names];
}

/** What would be markup, if it were not escaped. It makes itself known by the class `hacked`. */
export const MARKUP: readonly string[] = [
  '<img src=x class="hacked" onerror="alert(1)">',
  '"><script class="hacked">alert(1)</script>',
  "' class='hacked' onmouseover='alert(1)",
  "</title></svg><b class=hacked>",
  "{{hacked}} &lt;b class=hacked&gt;",
];
