/** What stands in a partition, by group, and whether each invoice stands where it may, for a load that brought it. */
import { type SQL, sql } from "drizzle-orm";
import {
  corrections,
  loads,
  type Partition,
  type Settings,
  settings as settingsTable,
  statements,
} from "../../db/schema.ts";
import { createdOnSql } from "../../db/settings.ts";
import { TAKEN_OUT } from "../load/absence.ts";
import { LOADED_AGAIN } from "../load/claim.ts";
import { leafOf, recomputeGroups } from "../refresh/recompute.ts";
import { REPAIR_OF_LOAD } from "./ledger.ts";

/**
 * A query for the groups of a partition, as `recomputeGroups` has them, with the columns `misdated`: an invoice stands
 * under a date that is not its date; and `misattributed`: one stands for what is no load, or for one that left nothing
 * there, or has another sync date. What the ledger says of a load is asked once for all its invoices of a group.
 */
export function checkGroups(partition: Partition, settings: Settings): SQL {
  if (partition.state === "dropped") {
    return sql`select g.*, false as misdated, false as misattributed from (${recomputeGroups({ partition })}) g`;
  }
  return sql`
    select created_on, venue_key, sum(invoices)::bigint as invoices, sum(total) as total,
           bool_or(misdated) as misdated,
           bool_or(${isUnknown(partition)} or left_nothing and ${mustHaveLeft(partition)}) as misattributed
    from (
      select i.*, t.load_id is null as left_nothing
      from (
        select created_on, venue_key, load_id, synced_on, count(*) as invoices, sum(total) as total,
               bool_or(${isMisdated(settings)}) as misdated
        from ${leafOf("invoices", partition)}
        group by created_on, venue_key, load_id, synced_on
      ) i
      left join (${tracesOf(partition)}) t using (created_on, venue_key, load_id)
    ) i
    group by created_on, venue_key`;
}

function isMisdated(settings: Settings): SQL {
  const wall = sql`(created_at at time zone ${settings.timeZone})`;
  return sql`${createdOnSql(wall, settings)} <> created_on`;
}

/**
 * Whether the ledger does not have the load, or not with this sync date. What a repair has acknowledged is known to it
 * by its number alone, and so is a load that was lost. A load that the ledger does not know at all is named there if it
 * has deltas.
 */
function isUnknown(partition: Partition): SQL {
  return sql`(
      (load_id, synced_on) not in (
        select load_id, synced_on from ${loads} where status = 'loaded' and synced_on is not null
      )
      and load_id not in (
        select load_id from ${loads}
        where status = 'failed' and error_code = ${LOADED_AGAIN}
          or status = 'repair' and file_name = ${`${REPAIR_OF_LOAD} `} || load_id
      )
      and (
        load_id in (select load_id from ${loads})
        or load_id not in (select load_id from ${leafOf("venue_day_deltas", partition)})
      )
    )`;
}

/**
 * The loads that left something in a group: a change, what they overwrote or confirmed, or what others kept of them.
 * For whichever load an invoice stands, it or one of its retries brought, corrected or confirmed it.
 */
function tracesOf(partition: Partition): SQL {
  const { lower, upper } = partition;
  const isHere = sql`created_on >= ${lower} and created_on < ${upper}`;
  return sql`
      select traces.created_on, traces.venue_key, coalesce(l.retry_of, traces.load_id) as load_id
      from (
        select created_on, venue_key, load_id from ${leafOf("venue_day_deltas", partition)}
        union all
        select created_on, venue_key, unnest(array[load_id, old_load_id]) from ${corrections} where ${isHere}
        union all
        select created_on, venue_key, unnest(array[load_id, stated_by]) from ${statements} where ${isHere}
      ) traces
      left join ${loads} l on l.load_id = traces.load_id
      group by 1, 2, 3`;
}

/**
 * Whether a load that stands must have left something in its group: not if the statements that it kept are pruned, nor
 * where a repair has made up for deltas that were lost.
 */
function mustHaveLeft(partition: Partition): SQL {
  return sql`(
      load_id in (select load_id from ${loads} where status = 'loaded')
      and load_id not in (
        select coalesce(retry_of, load_id) from ${loads}
        where unchanged + superseded > 0 and known_at <= (select statements_kept_since from ${settingsTable})
      )
      and (created_on, venue_key) not in (
        select d.created_on, d.venue_key
        from ${leafOf("venue_day_deltas", partition)} d
        join ${loads} l on l.load_id = d.load_id
        where l.status = 'repair' and l.file_name <> ${TAKEN_OUT}
      )
    )`;
}
