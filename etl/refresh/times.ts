/** Counts how long refreshes take, in the statement that refreshes. */
import { type SQL, sql } from "drizzle-orm";

/** Bounds in seconds, as `reports.refresh_times` has them; what takes longer has a bucket of its own. */
export const REFRESH_BOUNDS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800] as const;

/** The table takes no more. */
const MOST = 1e15;

const took = sql`extract(epoch from clock_timestamp() - statement_timestamp())::double precision`;

/**
 * What an update of the catalog sets beside the control totals, and `from ended` it takes it. It is evaluated when all
 * else is written, so that the whole statement counts.
 */
export const countRefresh: SQL = sql`
          refresh_counts[ended.bucket] = least(refresh_counts[ended.bucket] + 1, ${MOST}::bigint),
          refresh_micros[ended.bucket] = least(refresh_micros[ended.bucket] + (ended.seconds * 1000000)::bigint, ${MOST}::bigint)`;

export const ended: SQL = sql`(
        select took.seconds, 1 + (
          select count(*) from unnest(${sql.param(REFRESH_BOUNDS)}::double precision[]) bound where bound < took.seconds
        )::integer as bucket
        from (select greatest(${took}, 0) as seconds offset 0) took
      ) ended`;
