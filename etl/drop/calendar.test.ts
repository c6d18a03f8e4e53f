import { writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { createTestDatabase } from "../../db/testing/database.ts";
import { makeFolder } from "../../db/testing/folder.ts";
import { loadDrop } from "../load/load.ts";
import { readRejects } from "../reports/loads.ts";

/** Zones and sync dates at which something unusual happens to the clock, near midnight or across it. */
const CLOCKS = [
  ["Europe/Berlin", "2018-07-01", "an ordinary day"],
  ["Europe/Berlin", "2018-03-25", "the clock goes forward in the night"],
  ["Europe/Berlin", "2018-10-28", "the clock goes back in the night"],
  ["America/Sao_Paulo", "2017-10-14", "the next midnight does not exist"],
  ["America/Sao_Paulo", "2018-02-17", "the last hour comes twice"],
  ["America/Nuuk", "2024-03-30", "the last hour does not exist"],
  ["America/St_Johns", "2008-11-01", "midnight comes twice, the second time an hour later"],
  ["Pacific/Apia", "2011-12-29", "the next day does not exist"],
  ["Pacific/Apia", "2011-12-30", "the sync date itself does not exist"],
  ["Asia/Kolkata", "2018-07-01", "the offset is not a whole hour"],
  ["Pacific/Kiritimati", "2018-07-01", "the day begins 14 hours before UTC's"],
  ["Africa/Monrovia", "1972-01-06", "the offset changes by 44 minutes and a half"],
] as const;

const two = (value: number) => String(value).padStart(2, "0");

/** A timestamp within two days of the sync date, in seconds; with `Z`, an offset, or neither. */
const stamps = fc
  .record({
    seconds: fc.oneof(
      fc.integer({ min: -172_800, max: 259_200 }),
      fc.integer({ min: -26, max: 50 }).map((h) => h * 3600),
    ),
    nudge: fc.constantFrom(-1, 0, 1),
    suffix: fc.constantFrom("", "", "Z", "Z", "+05:30", "-0330", "+14", ".999999", ".5Z"),
  })
  .map(({ seconds, nudge, suffix }) => ({ seconds: seconds + nudge, suffix }));

test.each(CLOCKS)(
  "in %s, synced on %s (%s), a line is taken where PostgreSQL's own date allows it",
  async (timeZone, syncedOn) => {
    const earliest = "1971-12-01";
    const warehouse = await createTestDatabase({ timeZone, granularity: "year", earliest });
    const base = Date.parse(`${syncedOn}T00:00:00Z`);
    const lines = fc.sample(stamps, { numRuns: 1500, seed: 1 }).map(({ seconds, suffix }, index) => {
      const at = new Date(base + seconds * 1000);
      const text = `${at.toISOString().slice(0, 10)}T${two(at.getUTCHours())}:${two(at.getUTCMinutes())}:${two(at.getUTCSeconds())}${suffix}`;
      return { id: `00000000-0000-4000-8000-${String(index).padStart(12, "0")}`, text };
    });
    const path = join(makeFolder(), `clock_${syncedOn}.csv`);
    writeFileSync(path, lines.map(({ id, text }) => `v,${id},${text},1.00\n`).join(""));
    const { database, settings } = warehouse;
    const report = await loadDrop({ database, settings, path, maxRejects: 1 });
    expect(report.outcome).toBe("loaded");
    const rejected = new Map<number, string>();
    await readRejects({ database, loadId: report.loadId ?? 0 }, async ({ line, reason }) => {
      rejected.set(line, reason);
    });
    // What PostgreSQL makes of the same texts, independent of how they were staged.
    const truth = await warehouse.query<{ line: number; created_on: string; allowed: boolean }>(
      `select line::int, created_on::text, created_on <= $2::date as allowed
     from unnest($1::text[]) with ordinality as texts (text, line),
          lateral (select set_config('TimeZone', $3, false)) zone,
          lateral (select (text::timestamptz at time zone $3)::date as created_on) dated`,
      [lines.map(({ text }) => text), syncedOn, timeZone],
    );
    expect(lines.map((_, index) => rejected.get(index + 1) ?? "taken")).toEqual(
      truth.map(({ allowed }) => (allowed ? "taken" : "created_after_sync")),
    );
    const stored = await warehouse.query(
      "select invoice_id, created_on::text from warehouse.invoices order by invoice_id",
    );
    expect(stored).toEqual(
      truth
        .filter(({ allowed }) => allowed)
        .map(({ line, created_on }) => ({ invoice_id: lines[line - 1]?.id, created_on })),
    );
    // Both sides must have been tried.
    expect(new Set(truth.map(({ allowed }) => allowed)).size).toBe(2);
  },
);
