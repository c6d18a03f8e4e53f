/**
 * What a partition holds, recomputed from its source: a rebuild writes it into the rollup, a verification
 * compares the rollup with it.
 */
import { type SQL, sql } from "drizzle-orm";
import { leafTable, type Parent, type PartitionTables } from "../../db/partitions/tables.ts";
import type { Partition } from "../../db/schema.ts";

/** A partition's own table under one of the parents, for a statement. */
export function leafOf(parent: Parent, partition: PartitionTables): SQL {
  return sql.raw(leafTable(parent, partition));
}

/**
 * A query for the groups of a partition: `created_on`, `venue_key`, `invoices`, `total`. The source is its
 * invoices; where those were dropped, its deltas.
 */
export function recomputeGroups({
  partition,
}: {
  readonly partition: PartitionTables & Pick<Partition, "state">;
}): SQL {
  if (partition.state === "dropped") {
    return sql`
      select created_on, venue_key, sum(invoices)::bigint as invoices, sum(total) as total
      from ${leafOf("venue_day_deltas", partition)}
      group by created_on, venue_key
      having sum(invoices) <> 0`;
  }
  return sql`
    select created_on, venue_key, count(*) as invoices, sum(total) as total
    from ${leafOf("invoices", partition)}
    group by created_on, venue_key`;
}
