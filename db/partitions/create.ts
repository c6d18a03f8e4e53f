/**
 * Partitions: which dates they hold, how they come and how loads hold them. With partition_removal.ts and the migrations the one place with DDL.
 * A partition is a set of three tables with the same bounds: invoices, deltas and rollup.
 */
import { inArray } from "drizzle-orm";
import pRetry from "p-retry";
import pg from "pg";
import { type Database, LOCK, type Session, type Transaction, withTransaction } from "../client.ts";
import { errorState, RollbookError, SQLSTATE } from "../errors.ts";
import { type Granularity, type Partition, partitions } from "../schema.ts";

/** Half-open range of creation dates, with the partition's name: `2026-10-05`, `2026-W41`, `2026-10`, `2026-Q4`, `2026`. */
export interface PartitionRange {
  readonly partition: string;
  readonly lower: string;
  readonly upper: string;
}

/** The three tables of a set, by their parents. */
export const PARENTS = ["invoices", "venue_day_deltas", "venue_day_rollup"] as const;
export type Parent = (typeof PARENTS)[number];

/** Sets made per transaction: each takes some ten locks, and servers allow 64 per connection by default. */
const SETS_PER_TRANSACTION = 16;
const LOCK_TIMEOUT_MS = 5000;
const DAY_MS = 86_400_000;

/** The partition that holds a date. Weeks are ISO weeks: Monday to Sunday, numbered by their Thursday. */
export function partitionOf(granularity: Granularity, date: string): PartitionRange {
  const [year = 0, month = 0] = date.split("-").map(Number);
  const two = (value: number) => String(value).padStart(2, "0");
  const four = (value: number) => String(value).padStart(4, "0");
  switch (granularity) {
    case "day":
      return { partition: date, lower: date, upper: addDays(date, 1) };
    case "week": {
      const weekday = (new Date(`${date}T00:00:00Z`).getUTCDay() + 6) % 7;
      const lower = addDays(date, -weekday);
      const thursday = addDays(lower, 3);
      const isoYear = thursday.slice(0, 4);
      const week = Math.floor((toMs(thursday) - toMs(`${isoYear}-01-01`)) / DAY_MS / 7) + 1;
      return { partition: `${isoYear}-W${two(week)}`, lower, upper: addDays(lower, 7) };
    }
    case "month":
      return {
        partition: `${four(year)}-${two(month)}`,
        lower: firstOfMonth(year, month),
        upper: firstOfMonth(year, month + 1),
      };
    case "quarter": {
      const quarter = Math.ceil(month / 3);
      return {
        partition: `${four(year)}-Q${quarter}`,
        lower: firstOfMonth(year, quarter * 3 - 2),
        upper: firstOfMonth(year, quarter * 3 + 1),
      };
    }
    case "year":
      return { partition: four(year), lower: firstOfMonth(year, 1), upper: firstOfMonth(year + 1, 1) };
  }
}

/** Creation dates from `from` (inclusive) to `to` (exclusive); open where one is left out. */
export interface DateRange {
  readonly from?: string | undefined;
  readonly to?: string | undefined;
}

/** Whether a partition holds a date of the range. */
export function intersects(
  { lower, upper }: Pick<PartitionRange, "lower" | "upper">,
  { from, to }: DateRange = {},
): boolean {
  return (from === undefined || upper > from) && (to === undefined || lower < to);
}

/** The date so many days later. Dates are ISO strings, years 1 to 9999. */
export function addDays(date: string, days: number): string {
  return toDate(toMs(date) + days * DAY_MS);
}

function toMs(date: string): number {
  return Date.parse(`${date}T00:00:00Z`);
}

function toDate(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}

function firstOfMonth(year: number, month: number): string {
  const first = new Date(0);
  first.setUTCFullYear(year, month - 1, 1);
  return first.toISOString().slice(0, 10);
}

/** The table of a partition under one of the parents, schema-qualified and quoted, e.g. `warehouse."invoices_2026_10"`. */
export function leafTable(parent: Parent, partition: string): string {
  return `warehouse.${pg.escapeIdentifier(leafName(parent, partition))}`;
}

/** The name alone: `invoices_2026_10`. */
export function leafName(parent: Parent, partition: string): string {
  return `${parent}_${partition.toLowerCase().replaceAll("-", "_")}`;
}

/** All partitions of the catalog, oldest first. */
export async function listPartitions(session: Session): Promise<readonly Partition[]> {
  return session.db.select().from(partitions).orderBy(partitions.lower);
}

/**
 * Creates the partitions that are missing for these dates, on a connection of its own, so that an open load can go on: built
 * beside the parents and attached. Partitions that were detached or dropped on purpose are left as they are.
 *
 * @returns the names of those created
 * @throws RollbookError `partition_busy` when another session keeps a parent locked
 */
export async function ensurePartitions(options: {
  readonly database: Database;
  readonly granularity: Granularity;
  readonly dates: Iterable<string>;
  /** How long one attempt waits for a lock, in milliseconds; default 5000. There are six attempts. */
  readonly lockTimeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}): Promise<readonly string[]> {
  const wanted = new Map<string, PartitionRange>();
  for (const date of options.dates) {
    const range = partitionOf(options.granularity, date);
    wanted.set(range.partition, range);
  }
  const ranges = [...wanted.values()].sort((a, b) => (a.lower < b.lower ? -1 : 1));
  const created: string[] = [];
  for (let start = 0; start < ranges.length; start += SETS_PER_TRANSACTION) {
    const batch = ranges.slice(start, start + SETS_PER_TRANSACTION);
    created.push(...(await retryWhileLocked(options, () => createMissing(options, batch))));
  }
  return created;
}

async function createMissing(
  options: {
    readonly database: Database;
    readonly lockTimeoutMs?: number | undefined;
    readonly signal?: AbortSignal | undefined;
  },
  ranges: readonly PartitionRange[],
): Promise<readonly string[]> {
  return withTransaction(options, async (tx) => {
    await limitLockWaits(tx, options.lockTimeoutMs);
    // By a function, so that a role without any DDL can load. It takes the lock of {@link LOCK.ensurePartitions}.
    const made = await tx.client.query<{ partition: string }>(
      "select partition from warehouse.open_partitions($1::date[]) as made (partition)",
      [ranges.map((range) => range.lower)],
    );
    return made.rows.map(({ partition }) => partition);
  });
}

/** No statement of this transaction waits longer for a lock. */
export async function limitLockWaits(tx: Transaction, timeoutMs = LOCK_TIMEOUT_MS): Promise<void> {
  await tx.client.query("select set_config('lock_timeout', $1, true)", [`${timeoutMs}ms`]);
}

/** Makes the table of a partition, beside its parent. */
export function createStatement(parent: Parent, partition: string): string {
  // A rollup row is updated over and over: room on its page keeps the update out of the index.
  const storage = parent === "venue_day_rollup" ? "with (fillfactor = 85)" : "";
  return `create table ${leafTable(parent, partition)} (like warehouse.${parent} including defaults including constraints including indexes) ${storage}`;
}

/** ATTACH, not PARTITION OF: the latter takes ACCESS EXCLUSIVE on the parent and blocks every reader. */
export function attachStatement(parent: Parent, { partition, lower, upper }: PartitionRange): string {
  const bounds = `from (${pg.escapeLiteral(lower)}) to (${pg.escapeLiteral(upper)})`;
  return `alter table warehouse.${parent} attach partition ${leafTable(parent, partition)} for values ${bounds}`;
}

/** Tries again while other sessions hold a lock that the work needs, and after a deadlock; then says who to look for. */
export async function retryWhileLocked<T>(
  options: { readonly signal?: AbortSignal | undefined },
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await pRetry(work, {
      retries: 5,
      minTimeout: 200,
      ...(options.signal && { signal: options.signal }),
      shouldRetry: ({ error }) => isLockedOut(error),
    });
  } catch (error) {
    if (!isLockedOut(error)) throw error;
    throw new RollbookError({
      code: "partition_busy",
      message:
        "another session keeps warehouse.invoices, venue_day_deltas or venue_day_rollup locked (a DDL command, a vacuum, a transaction that is left open?), so no partition could be added or removed. Look in pg_locks and pg_stat_activity, and try again.",
      cause: error,
    });
  }
}

function isLockedOut(error: unknown): boolean {
  const state = errorState(error);
  return state === SQLSTATE.lockNotAvailable || state === SQLSTATE.deadlockDetected;
}

/**
 * The partitions of these names, with their catalog rows locked against detach and drop until the transaction ends. Others may
 * do the same at once, and refreshes go on. Where some of them do not exist, those that do are returned and none is locked:
 * make the others, and call again. Never to be called for a partition that the transaction holds already: who closes it waits for that, and lets nobody in.
 */
export async function holdPartitions(
  tx: Transaction,
  names: readonly string[],
): Promise<readonly Pick<Partition, "partition" | "state">[]> {
  if (names.length === 0) return [];
  // A turnstile: who closes a partition shuts it, then waits for the loads inside. Row locks alone would let new loads pass the one
  // who waits, for ever if loads overlap. Each lock is given back at once, so that many partitions take one place in the lock table.
  const present = await tx.client.query(
    `select pg_advisory_lock_shared($1, partition_id), pg_advisory_unlock_shared($1, partition_id)
     from warehouse.partitions
     where partition = any ($2)`,
    [LOCK.closePartition, names],
  );
  const found = tx.db
    .select({ partition: partitions.partition, state: partitions.state })
    .from(partitions)
    .where(inArray(partitions.partition, [...names]))
    .orderBy(partitions.partition);
  // The lock is on the key only, which is what `detach` takes it all from.
  return present.rowCount === new Set(names).size ? found.for("key share") : found;
}
