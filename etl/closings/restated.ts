/** Reports what has changed in a period since it was closed. */
import { type SQL, sql } from "drizzle-orm";
import { type Database, withTransaction } from "../../db/client.ts";
import { streamRows } from "../../db/cursor.ts";
import { restatements, restatingLoads, type Settings } from "../../db/schema.ts";
import { isoInstant } from "../reports/zone.ts";
import type { Period } from "./period.ts";
import { findNewest, type ReportedClosing } from "./read.ts";

export const RESTATED_BY = ["group", "venue", "day", "drop"] as const;
/** `group`: venue and date. */
export type RestatedBy = (typeof RESTATED_BY)[number];

/** A change since the period was closed. */
export interface Change {
  readonly invoices: number;
  /** In euros. */
  readonly total: string;
}

export interface RestatedGroup extends Change {
  readonly venueId: string | null;
  readonly createdOn: string;
  readonly thenInvoices: number;
  readonly thenTotal: string;
  readonly nowInvoices: number;
  readonly nowTotal: string;
}

/** By venue or by day: groups that have changed. */
export interface RestatedSum extends Change {
  readonly venueId?: string | null;
  readonly createdOn?: string;
  readonly groups: number;
}

/** What one drop (or an undo, or a repair) has changed. */
export interface RestatingDrop extends Change {
  readonly loadId: number;
  readonly fileName: string;
  readonly syncedOn: string | null;
  readonly knownAt: string;
  readonly groups: number;
}

export type Restated = RestatedGroup | RestatedSum | RestatingDrop;

/**
 * Reads the restatements of the newest closing of a period, one by one: by the bytes of the venue's id and by
 * date, or drops in the order in which they became known.
 *
 * @throws RollbookError `not_found` where the period was not closed
 */
export async function readRestated(
  options: {
    readonly database: Database;
    readonly settings: Settings;
    readonly period: Period;
    readonly by: RestatedBy;
    readonly signal?: AbortSignal | undefined;
    readonly onClosing: (closing: ReportedClosing) => Promise<void>;
  },
  onRestated: (restated: Restated) => Promise<void>,
): Promise<void> {
  const { period, by, settings } = options;
  await withTransaction({ ...options, isolation: "repeatable read" }, async (tx) => {
    await tx.db.execute(sql`select set_config('TimeZone', ${settings.timeZone}, true)`);
    const closing = await findNewest(tx, period);
    await options.onClosing(closing);
    for await (const row of streamRows<Row>(tx, SELECT[by](closing.closing))) {
      await onRestated(readRow(row, by));
    }
  });
}

interface Row {
  readonly venue_id?: string | null;
  readonly created_on?: string;
  readonly then_invoices: string;
  readonly then_total: string;
  readonly now_invoices: string;
  readonly now_total: string;
  readonly load_id: number;
  readonly file_name: string;
  readonly synced_on: string | null;
  readonly known_at: string;
  readonly groups: string;
  readonly invoices: string;
  readonly total: string;
}

const SELECT: Readonly<Record<RestatedBy, (closing: number) => SQL>> = {
  group: (closing) => sql`
    select venue_id, created_on::text, then_invoices, then_total::text, now_invoices, now_total::text,
           invoices, total::text
    from ${restatements}
    where closing = ${closing}::integer
    order by venue_id collate "C", created_on`,
  venue: (closing) => sumsBy(closing, sql`venue_id`),
  day: (closing) => sumsBy(closing, sql`created_on`),
  drop: (closing) => sql`
    select load_id, file_name, synced_on::text, known_at::text,
           count(distinct (venue_id, created_on)) as groups,
           sum(invoices)::bigint as invoices, sum(total)::numeric(24, 2)::text as total
    from ${restatingLoads} r
    where closing = ${closing}::integer
    group by load_id, file_name, r.synced_on, r.known_at
    order by r.known_at`,
};

function sumsBy(closing: number, key: SQL): SQL {
  return sql`
    select ${key}::text, count(*) as groups, sum(invoices)::bigint as invoices,
           sum(total)::numeric(24, 2)::text as total
    from ${restatements}
    where closing = ${closing}::integer
    group by ${restatements}.${key}
    order by ${restatements}.${key}`;
}

function readRow(row: Row, by: RestatedBy): Restated {
  const { venue_id: venueId = null, created_on: createdOn = "", load_id: loadId, file_name: fileName } = row;
  const change = { invoices: Number(row.invoices), total: row.total };
  const groups = Number(row.groups);
  switch (by) {
    case "group":
      return {
        venueId,
        createdOn,
        thenInvoices: Number(row.then_invoices),
        thenTotal: row.then_total,
        nowInvoices: Number(row.now_invoices),
        nowTotal: row.now_total,
        ...change,
      };
    case "venue":
      return { venueId, groups, ...change };
    case "day":
      return { createdOn, groups, ...change };
    case "drop": {
      const knownAt = isoInstant(row.known_at);
      return { loadId, fileName, syncedOn: row.synced_on, knownAt, groups, ...change };
    }
  }
}
