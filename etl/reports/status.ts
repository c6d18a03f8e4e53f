/** Reports the state of the warehouse: what is pending, the last loads, and what an operator should do. */
import { desc, sql } from "drizzle-orm";
import { type Database, type Session, withSession } from "../../db/client.ts";
import { READERS, readLockTable } from "../../db/connection/refusal.ts";
import { describeFirst, listMissingTables } from "../../db/partitions/missing.ts";
import { loadHistory, partitionFreshness, type Settings, warehouseSettings } from "../../db/schema.ts";
import { type ListedLoad, readLoads } from "./loads.ts";
import { type OpenSum, sumOpenRejects } from "./open_rejects.ts";
import { type ProofSummary, summarizeProofs } from "./proofs.ts";
import { inWarehouseZone, isoInstant } from "./zone.ts";

export type Freshness = Readonly<typeof partitionFreshness.$inferSelect>;

export interface Status {
  readonly settings: Settings;
  /** Whether lines for closed periods are rejected. */
  readonly refuseClosed: boolean;
  readonly partitions: readonly Freshness[];
  readonly lastLoads: readonly ListedLoad[];
  /** Rejected lines that nobody has decided on. */
  readonly openRejects: OpenSum;
  /** When what was proved last. */
  readonly proofs: ProofSummary;
  /** What an operator should act on, in words. */
  readonly warnings: readonly string[];
}

/** One reader of all partitions locks each rollup partition and its index. */
const LOCKS_PER_PARTITION = 2;

/** Reads the state of the warehouse. `lastLoads` are the newest, at most so many. */
export async function readStatus(options: {
  readonly database: Database;
  readonly settings: Settings;
  readonly lastLoads?: number;
  readonly signal?: AbortSignal | undefined;
}): Promise<Status> {
  const { settings } = options;
  const partitions = await readFreshness(options);
  const lastLoads = await readLoads({ ...options, limit: options.lastLoads ?? 10 });
  const [first, ...others] = await withSession(options, (session) => listMissingTables(session));
  const refuseClosed = await withSession(options, ({ db }) => refusesClosed(db));
  const proofs = await summarizeProofs(options);
  const warnings = [
    ...(await warnOfLocks(options)),
    ...(first === undefined ? [] : [describeFirst(first, others)]),
    ...warnOfStates(partitions),
    ...warnOfProofs(proofs),
    ...(await warnOfFuture(options)),
    ...(await warnOfOldTransactions(options)),
  ];
  const openRejects = await sumOpenRejects(options);
  return { settings, refuseClosed, partitions, lastLoads, openRejects, proofs, warnings };
}

async function refusesClosed(db: Session["db"]): Promise<boolean> {
  const [row] = await db.select({ refuseClosed: warehouseSettings.refuseClosed }).from(warehouseSettings);
  return row?.refuseClosed ?? false;
}

/** All partitions, oldest first. */
export async function readFreshness(options: {
  readonly database: Database;
  readonly settings: Settings;
  readonly signal?: AbortSignal | undefined;
}): Promise<readonly Freshness[]> {
  const rows = await inWarehouseZone(options, ({ db }) =>
    db.select().from(partitionFreshness).orderBy(partitionFreshness.lower),
  );
  return rows.map((row) => ({
    ...row,
    refreshedAt: isoInstant(row.refreshedAt),
    provedAt: isoInstant(row.provedAt),
    divergedAt: isoInstant(row.divergedAt),
  }));
}

/** Whether a refresh without a list of partitions would take this one. */
export function awaitsRefresh({ state, pendingChanges }: Freshness): boolean {
  return state === "stale" || (state !== "detached" && pendingChanges > 0);
}

function warnOfStates(partitions: readonly Freshness[]): readonly string[] {
  return partitions
    .filter((partition) => partition.state === "stale")
    .map(
      ({ partition }) =>
        `partition ${partition} is stale: rollbook refresh --partition ${partition} rebuilds it.`,
    );
}

function warnOfProofs({ diverged }: ProofSummary): readonly string[] {
  const [first] = diverged;
  if (first === undefined) return [];
  const more = diverged.length === 1 ? "" : ` (and ${diverged.length - 1} more)`;
  return [`${first.name} did not verify at ${first.divergedAt}${more}: rollbook verify names what diverges.`];
}

/** Loads that are named. */
const NAMED_LOADS = 3;

/** Warns of loads whose sync date was still to come when they were loaded: the date may be a slip. */
async function warnOfFuture(options: Parameters<typeof readStatus>[0]): Promise<readonly string[]> {
  const rows = await inWarehouseZone(options, ({ db }) =>
    db
      .select({
        loadId: loadHistory.loadId,
        fileName: loadHistory.fileName,
        syncedOn: loadHistory.syncedOn,
        all: sql<number>`count(*) over ()::int`,
      })
      .from(loadHistory)
      .where(sql`${loadHistory.status} = 'loaded' and ${loadHistory.syncedOn} > ${loadHistory.knownAt}::date`)
      .orderBy(desc(loadHistory.syncedOn), desc(loadHistory.loadId))
      .limit(NAMED_LOADS),
  );
  const [first] = rows;
  if (first === undefined) return [];
  const named = rows.map(({ loadId, fileName, syncedOn }) => `${loadId} (${fileName}, ${syncedOn})`);
  const more = first.all > rows.length ? ", ..." : "";
  const which = first.all === 1 ? "load has" : "loads have";
  return [
    `${first.all} ${which} a sync date after the day of the load, and until then what their files say stands against ` +
      `all others: ${named.join(", ")}${more}. If a date is wrong: rollbook undo LOAD --because TEXT.`,
  ];
}

/** A load of tens of millions of lines takes that long. */
const OLD_MINUTES = 30;

/**
 * Warns of transactions behind which vacuum cannot clean up: what loads and refreshes replace stays, and all that
 * reads the queue slows down. A login that is no member of pg_read_all_stats sees those of its own user alone.
 */
export async function warnOfOldTransactions(
  options: Parameters<typeof readStatus>[0] & { readonly olderThanMinutes?: number },
): Promise<readonly string[]> {
  const minutes = options.olderThanMinutes ?? OLD_MINUTES;
  const { rows } = await inWarehouseZone(options, ({ db }) =>
    db.execute<OldTransaction>(sql`
      select 'pid ' || pid as session, usename as user, application_name as application, xact_start::text as since,
             'end it there, or end the session: select pg_terminate_backend(' || pid || ')' as remedy
      from pg_stat_activity
      where datname = current_database() and pid <> pg_backend_pid() and (backend_xmin is not null or backend_xid is not null)
        and xact_start <= clock_timestamp() - make_interval(mins => ${minutes})
      union all
      select 'the prepared transaction ' || quote_literal(gid), owner, null, prepared::text,
             'commit it, or: rollback prepared ' || quote_literal(gid)
      from pg_prepared_xacts
      where database = current_database() and prepared <= clock_timestamp() - make_interval(mins => ${minutes})
      order by since`),
  );
  return rows.map(({ session, user, application, since, remedy }) => {
    const who = [`user ${user}`, application].filter(Boolean).join(", ");
    return (
      `${session} (${who}) has a transaction open since ${isoInstant(since)}. Behind it vacuum cannot clean up, so reports and ` +
      `refreshes slow down. If nobody needs it, ${remedy}`
    );
  });
}

interface OldTransaction extends Record<string, unknown> {
  readonly session: string;
  readonly user: string;
  readonly application: string | null;
  readonly since: string;
  readonly remedy: string;
}

/** Warns before the partitions come near the server's lock table: a view over all of them locks each one. */
export async function warnOfLocks(options: {
  readonly database: Database;
  readonly signal?: AbortSignal | undefined;
}): Promise<readonly string[]> {
  return withSession(options, async (session) => {
    const { perTransaction, locks } = await readLockTable(session.client);
    const partitions = await session.db.$count(partitionFreshness);
    if (partitions * LOCKS_PER_PARTITION * READERS <= locks) return [];
    return [
      `${partitions} partitions come near the server's lock table (${locks} locks, with max_locks_per_transaction ` +
        `${perTransaction}): a query over all of them may fail with "out of shared memory". Raise ` +
        "max_locks_per_transaction, for example to 1024, and restart the server.",
    ];
  });
}
