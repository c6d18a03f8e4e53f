/** Proves the checkpoints: what they hold is what the deltas say, up to their moments. */
import { sql } from "drizzle-orm";
import { type Database, type Transaction, withTransaction } from "../../db/client.ts";
import { streamRows } from "../../db/cursor.ts";
import { LOCK, lockUntilEnd } from "../../db/locks.ts";
import { holdDeltas } from "../../db/partitions/tables.ts";
import {
  checkpointDates,
  checkpointGroups,
  checkpoints,
  deltas,
  loads,
  partitions,
  type Settings,
  venues,
} from "../../db/schema.ts";
import { makeCheckpoints } from "../reports/checkpoints.ts";
import { isoInstant } from "../reports/zone.ts";
import { type OnDivergence, readSums } from "./divergence.ts";
import { venueName } from "./groups.ts";

/**
 * Names each group of a checkpoint that is not what the deltas say, and each checkpoint that does not follow the one
 * before. If there is such a one, groups are not compared.
 *
 * To be run in a REPEATABLE READ transaction: checkpoints, ledger, and deltas must be seen as of one moment.
 */
export async function checkCheckpoints(
  tx: Transaction,
  settings: Settings,
  found: OnDivergence,
): Promise<void> {
  await holdDeltas(tx);
  await tx.db.execute(sql`select set_config('TimeZone', ${settings.timeZone}, true)`);
  const broken = await tx.db.execute<{ moment: string }>(sql`
    select c.known_at::text as moment
    from (select checkpoint_id, known_at, row_number() over (order by known_at) - 1 as number from ${checkpoints}) c
    left join ${loads} l on l.known_at = c.known_at
    where c.checkpoint_id <> c.number or (c.number = 0) <> (c.known_at = '-infinity') or (c.number = 0) <> (l.load_id is null)
    union all
    select '-infinity' where not exists (select from ${checkpoints})
    order by 1`);
  for (const { moment } of broken.rows)
    found({ kind: "checkpoint", moment: isoInstant(moment), message: BROKEN });
  if (broken.rows.length > 0) return;
  for await (const row of streamRows<Row>(tx, DIFFERING)) {
    const { created_on: createdOn, venue_id: venueId } = row;
    const moment = isoInstant(row.moment) ?? "unknown";
    if (venueId === null) found({ kind: "checkpoint", moment, createdOn, message: UNLISTED });
    else {
      const lacking = readSums(row.invoices, row.total);
      found({ kind: "checkpoint", moment, createdOn, venueId, message: LACKING, lacking });
    }
  }
}

const BROKEN = "it does not follow the checkpoint before, or nothing became known at that moment";
const LACKING = "it lacks what the deltas have";
const UNLISTED = "warehouse.checkpoint_dates lacks the date";

interface Row {
  readonly moment: string | null;
  readonly created_on: string;
  readonly venue_id: string | null;
  readonly invoices: string;
  readonly total: string;
}

/**
 * What a checkpoint should hold, less what it holds. Where it has all groups of a date, that is what the list before
 * has and all changes since; so each list is proved by the one before it, and the deltas are read once.
 */
const DIFFERING = sql`
    with moments as (
      select array_agg(known_at order by known_at) filter (where checkpoint_id > 0) as moments, max(known_at) as newest
      from ${checkpoints}
    ),
    -- Materialized, so that the window is looked for once per load and not once per delta.
    covered as materialized (
      select l.load_id, width_bucket(l.known_at - interval '1 microsecond', m.moments) + 1 as checkpoint_id
      from ${loads} l
      cross join moments m
      where l.known_at <= m.newest
    ),
    net as (
      select d.created_on, c.checkpoint_id, d.venue_key, sum(d.invoices) as invoices, sum(d.total) as total
      from ${deltas} d
      join covered c on c.load_id = d.load_id
      where not exists (
        select from ${partitions} p where not p.checkpointed and d.created_on >= p.lower and d.created_on < p.upper
      )
      group by d.created_on, c.checkpoint_id, d.venue_key
    ),
    lists as (
      select created_on, list_id, lead(list_id) over (partition by created_on order by list_id) as next
      from (select distinct created_on, list_id from ${checkpointGroups}) l
    ),
    -- The list that has the changes of a window on a date, and the list before them.
    places as (
      select n.created_on, n.checkpoint_id, following.list_id as following, last.list_id as last
      from (select distinct created_on, checkpoint_id from net) n
      cross join lateral (
        select min(g.list_id) as list_id
        from ${checkpointGroups} g
        where g.created_on = n.created_on and g.list_id >= n.checkpoint_id
      ) following
      cross join lateral (
        select max(g.list_id) as list_id
        from ${checkpointGroups} g
        where g.created_on = n.created_on and g.list_id <= n.checkpoint_id
      ) last
    ),
    expected as (
      -- A change is in the next list, and before that it stands for itself.
      select created_on, p.following as list_id, p.following as checkpoint_id, n.venue_key, n.invoices, n.total
      from net n
      join places p using (created_on, checkpoint_id)
      where p.following is not null
      union all
      select created_on, coalesce(p.last, checkpoint_id), checkpoint_id, n.venue_key, n.invoices, n.total
      from net n
      join places p using (created_on, checkpoint_id)
      where p.last is distinct from checkpoint_id
      union all
      select g.created_on, l.next, l.next, g.venue_key, g.invoices, g.total
      from lists l
      join ${checkpointGroups} g
        on g.created_on = l.created_on and g.list_id = l.list_id and g.checkpoint_id = l.list_id
      where l.next is not null
    ),
    differing as (
      select created_on, checkpoint_id, venue_key, sum(invoices) as invoices, sum(total) as total
      from (
        select created_on, list_id, checkpoint_id, venue_key, invoices, total from expected
        union all
        select created_on, list_id, checkpoint_id, venue_key, -invoices, -total from ${checkpointGroups}
      ) sides
      group by created_on, list_id, checkpoint_id, venue_key
      having sum(invoices) <> 0 or sum(total) <> 0
    )
    select c.known_at::text as moment, d.created_on::text, ${venueName(sql`d.venue_key`)} as venue_id,
           d.invoices, d.total::numeric(24, 2)::text
    from differing d
    left join ${checkpoints} c on c.checkpoint_id = d.checkpoint_id
    left join ${venues} v on v.venue_key = d.venue_key
    union all
    select min(c.known_at)::text, g.created_on::text, null, null, null
    from ${checkpointGroups} g
    join ${checkpoints} c on c.checkpoint_id = g.checkpoint_id
    where not exists (select from ${checkpointDates} d where d.created_on = g.created_on)
    group by g.created_on
    order by 1, 2, 3`;

/** Forgets all checkpoints, and makes them anew from the deltas. */
export async function remakeCheckpoints(options: {
  readonly database: Database;
  readonly signal?: AbortSignal | undefined;
}): Promise<void> {
  await withTransaction(options, async (tx) => {
    await lockUntilEnd(tx, LOCK.checkpoints);
    for (const table of [checkpointGroups, checkpointDates, checkpoints]) await tx.db.delete(table);
    await tx.db.execute(sql`
      insert into ${checkpoints} (checkpoint_id, known_at) values (0, '-infinity')`);
    // What is not announced may be missed by a session, also by the one that makes the next checkpoint.
    await tx.db.execute(sql`
      update ${partitions} set checkpointed = true where not checkpointed and announced and state <> 'detached'`);
  });
  await makeCheckpoints(options);
}
