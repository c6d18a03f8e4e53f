/** The groups of a period as they were known at a moment, by the deltas. */
import { type SQL, sql } from "drizzle-orm";
import type { Session } from "../../db/client.ts";
import { streamRows } from "../../db/cursor.ts";
import { RollbookError } from "../../db/errors.ts";
import { deltas, loads, partitionFreshness, venues } from "../../db/schema.ts";
import { type Closing, type Digest, type Group, type Opening, startDigest } from "./certificate.ts";
import type { Period } from "./period.ts";

/** The changes that the reports show: those of what is detached are not among them. */
export const REPORTED_CHANGES = sql`reports.venue_daily_changes`;

/** @param detached tables of deltas that are not attached: their changes count, too */
export function allChanges(detached: readonly string[]): SQL {
  const columns = sql`load_id, created_on, venue_key, invoices, total`;
  const ofDetached = detached.map((table) => sql` union all select ${columns} from ${sql.raw(table)}`);
  return sql`(
    select l.known_at, v.venue_id, d.created_on, d.invoices, d.total
    from (
      select ${columns} from ${deltas}
      where tableoid <> all (${sql.param(detached)}::regclass[])${sql.join(ofDetached)}
    ) d
    join ${loads} l on l.load_id = d.load_id
    left join ${venues} v on v.venue_key = d.venue_key
  )`;
}

/**
 * Makes the digest of a closing from the deltas. The groups are read one by one, so memory is the same for any
 * number of them.
 *
 * @param changes {@link REPORTED_CHANGES} or {@link allChanges}
 */
export async function certify(
  session: Session,
  changes: SQL,
  opening: Opening,
  onGroup?: (group: Group) => Promise<void>,
): Promise<Closing> {
  const digest: Digest = startDigest();
  for await (const row of streamRows<GroupRow>(session, selectGroups(changes, opening))) {
    const group: Group = [row.venue_id, row.created_on, Number(row.invoices), row.total];
    digest.add(group);
    await onGroup?.(group);
  }
  return digest.end(opening);
}

interface GroupRow {
  readonly venue_id: string | null;
  readonly created_on: string;
  readonly invoices: string;
  readonly total: string;
}

function selectGroups(changes: SQL, { from, to, knownAt }: Opening): SQL {
  return sql`
    select c.venue_id, c.created_on::text as created_on,
           sum(c.invoices)::bigint as invoices, sum(c.total)::numeric(24, 2)::text as total
    from ${changes} c
    where c.created_on >= ${from}::date and c.created_on < ${to}::date and c.known_at <= ${knownAt}::timestamptz
    group by c.venue_id, c.created_on
    having sum(c.invoices) <> 0 or sum(c.total) <> 0
    order by c.venue_id collate "C", c.created_on`;
}

/** @throws RollbookError `partition_closed` where the reports leave out dates of the period */
export async function refuseDetached(
  { db }: Session,
  { name, from, to }: Period,
  action: string,
): Promise<void> {
  const { rows } = await db.execute<{ partition: string }>(sql`
    select partition from ${partitionFreshness}
    where lower < ${to}::date and upper > ${from}::date and state = 'detached'
    order by lower`);
  if (rows.length === 0) return;
  const names = rows.map(({ partition }) => partition);
  throw new RollbookError({
    code: "partition_closed",
    message: `${name} cannot be ${action}: it has dates of ${names.join(", ")}, which is detached, so its totals are not in the reports. Attach it first: rollbook partitions attach ${names.join(" ")}`,
  });
}
