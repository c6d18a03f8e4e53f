/** Reports what did not come: venues that stopped sending, and sync dates of which a daily source has no drop. */
import { and, asc, eq, gte, lte, type SQL, sql } from "drizzle-orm";
import { type Database, withTransaction } from "../../db/client.ts";
import {
  type MissingSyncDate,
  missingSyncDates,
  type VenueActivity,
  venueActivity,
} from "../../db/schema.ts";

export interface Silence {
  /** Those that are silent for the fewest days first. */
  readonly venues: readonly VenueActivity[];
  /** By source, the oldest date first. */
  readonly missing: readonly MissingSyncDate[];
}

interface SilenceOptions {
  readonly database: Database;
  /** Venues that have been silent for at least so many days. Left out: those beyond their own rhythm. */
  readonly days?: number | undefined;
  /**
   * Leaves out venues that would have been told on so many days already, and dates that have been missing for more
   * days. Left out: nobody is forgotten.
   */
  readonly forget?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Reads who is silent today, by the clock of the server and the zone of the warehouse, in one snapshot. */
export async function readSilence(options: SilenceOptions): Promise<Silence> {
  const { forget } = options;
  return withTransaction({ ...options, isolation: "repeatable read" }, async ({ db }) => ({
    venues: await db
      .select()
      .from(venueActivity)
      .where(and(isSilent(options), isRemembered(options)))
      .orderBy(asc(venueActivity.daysSilent), asc(venueActivity.venueId)),
    missing: await db
      .select()
      .from(missingSyncDates)
      .where(forget === undefined ? undefined : lte(missingSyncDates.daysMissing, forget))
      .orderBy(asc(missingSyncDates.source), asc(missingSyncDates.syncedOn)),
  }));
}

function isSilent({ days }: SilenceOptions): SQL {
  return days === undefined ? eq(venueActivity.silent, true) : gte(venueActivity.daysSilent, days);
}

function isRemembered({ days, forget }: SilenceOptions): SQL | undefined {
  if (forget === undefined) return undefined;
  const { daysSilent, silentFrom, lastSyncedOn } = venueActivity;
  const toldFrom = days === undefined ? sql`${silentFrom} - ${lastSyncedOn}` : sql`${days}::integer`;
  return sql`${daysSilent} - (${toldFrom}) < ${forget}`;
}
