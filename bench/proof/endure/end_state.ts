/** Compares what the warehouse shows in the end with the model, and runs `verify`. */
import { sql } from "drizzle-orm";
import { type Database, withTransaction } from "../../../db/client.ts";
import { streamRows } from "../../../db/cursor.ts";
import { toDate, toDay } from "../../../db/dates.ts";
import type { Settings } from "../../../db/schema.ts";
import type { Divergence } from "../../../etl/verify/divergence.ts";
import { verifyWarehouse } from "../../../etl/verify/verify.ts";
import { euros } from "../../generator/line.ts";
import type { Venues } from "../../generator/venues.ts";
import type { Truth } from "./invoices.ts";

/** More than so many are counted, not named. */
const NAMED = 20;

/** Names every (venue, date) group for which the reports do not show what the model says. */
export async function compareWithModel(
  database: Database,
  truth: Truth,
  venues: Venues,
): Promise<readonly string[]> {
  const keyOf = (venue: number, day: number) => `${venue} ${day}`;
  const left = new Map(Array.from(truth.groups(), (group) => [keyOf(group.venue, group.day), group]));
  const found = createList("groups that the model says otherwise");
  await withTransaction({ database, isolation: "repeatable read" }, async (tx) => {
    const rows = streamRows<{ venue_id: string; created_on: string; invoices: string; total: string }>(
      tx,
      sql`select venue_id, created_on::text, invoices, total from reports.venue_daily_totals`,
    );
    for await (const { venue_id: venue, created_on, invoices, total } of rows) {
      const key = keyOf(venues.indexOf(venue), toDay(created_on));
      const expected = left.get(key);
      left.delete(key);
      const wanted = expected === undefined ? "nothing" : `${expected.invoices}, ${euros(expected.cents)}`;
      if (wanted !== `${invoices}, ${total}`)
        found.add(
          `${venue} on ${created_on}: the reports show ${invoices}, ${total}; the model has ${wanted}`,
        );
    }
  });
  for (const { venue, day, invoices, cents } of left.values()) {
    found.add(
      `${venues.name(venue)} on ${toDate(day)}: the reports show nothing; the model has ${invoices}, ${euros(cents)}`,
    );
  }
  return found.list();
}

/** What `rollbook verify --identity` finds. */
export async function verifyAll(database: Database, settings: Settings) {
  const found = createList("divergences that verify found");
  const { partitions, invoices, groups } = await verifyWarehouse({
    database,
    settings,
    identity: true,
    onDivergence: (divergence) => found.add(`verify: ${describe(divergence)}`),
  });
  return { verified: { partitions, invoices, groups }, differences: found.list() };
}

function describe(divergence: Divergence): string {
  if (divergence.kind !== "group") return JSON.stringify(divergence);
  const { venueId, createdOn, recomputed, shown, deltas } = divergence;
  const say = ({ invoices, total }: { invoices: number; total: string }) => `${invoices}, ${total}`;
  const said = `invoices ${say(recomputed)}; rollup and pending ${say(shown)}; deltas ${say(deltas)}`;
  return `${venueId} on ${createdOn}: ${said}`;
}

/** A list that names the first and counts the others. */
export function createList(what: string) {
  const named: string[] = [];
  let count = 0;
  return {
    add: (item: string) => {
      count += 1;
      if (named.length < NAMED) named.push(item);
    },
    list: (): readonly string[] =>
      count > named.length ? [...named, `and ${count - named.length} more ${what}`] : named,
    count: () => count,
  };
}
