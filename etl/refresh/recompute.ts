/**
 * What a partition holds, recomputed from its source: a rebuild writes it into the rollup, a verification
 * compares the rollup with it.
 */
import { type SQL, sql } from "drizzle-orm";
import { leafTable, type Parent, type PartitionTables } from "../../db/partitions/tables.ts";
import { loads, type Partition, type Settings } from "../../db/schema.ts";
import { createdOnSql } from "../../db/settings.ts";
import { LOADED_AGAIN } from "../load/claim.ts";
import { REPAIR_OF_LOAD } from "../load/ledger.ts";

/** A partition's own table under one of the parents, for a statement. */
export function leafOf(parent: Parent, partition: PartitionTables): SQL {
  return sql.raw(leafTable(parent, partition));
}

/**
 * A query for the groups of a partition: `created_on`, `venue_key`, `invoices`, `total`. The source is its
 * invoices; where those were dropped, its deltas.
 *
 * @param options.settings adds the columns `misdated`: an invoice stands under a date that is not its date
 *   by these; and `misattributed`: one stands for what is no load, or has another sync date
 */
export function recomputeGroups(options: {
  readonly partition: PartitionTables & Pick<Partition, "state">;
  readonly settings?: Settings;
}): SQL {
  const { partition, settings } = options;
  if (partition.state === "dropped") {
    const flags = settings === undefined ? sql`` : sql`, false as misdated, false as misattributed`;
    return sql`
      select created_on, venue_key, sum(invoices)::bigint as invoices, sum(total) as total${flags}
      from ${leafOf("venue_day_deltas", partition)}
      group by created_on, venue_key
      having sum(invoices) <> 0`;
  }
  const flags =
    settings === undefined
      ? sql``
      : sql`, bool_or(${isMisdated(settings)}) as misdated, bool_or(${isMisattributed(partition)}) as misattributed`;
  return sql`
    select created_on, venue_key, count(*) as invoices, sum(total) as total${flags}
    from ${leafOf("invoices", partition)}
    group by created_on, venue_key`;
}

function isMisdated(settings: Settings): SQL {
  const wall = sql`(created_at at time zone ${settings.timeZone})`;
  return sql`${createdOnSql(wall, settings)} <> created_on`;
}

/**
 * What a repair has acknowledged is known to the ledger by its number alone, and so is a load that was lost. A load
 * that the ledger does not know at all is named there if it has deltas.
 */
function isMisattributed(partition: PartitionTables): SQL {
  return sql`(load_id, synced_on) not in (
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
    )`;
}
