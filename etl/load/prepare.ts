/** Prepares the warehouse for rows: makes their venues and partitions, and keeps the partitions open. */
import { sql } from "drizzle-orm";
import type { Database, Transaction } from "../../db/client.ts";
import { readLockTable, settingForLocks } from "../../db/connection/refusal.ts";
import { RollbookError } from "../../db/errors.ts";
import { besideTransaction } from "../../db/locks.ts";
import { holdPartitions, isOpen } from "../../db/partitions/catalog.ts";
import { ensurePartitions } from "../../db/partitions/create.ts";
import { partitionOf } from "../../db/partitions/ranges.ts";
import { type Settings, venues } from "../../db/schema.ts";
import { requireSettings } from "../../db/settings.ts";

export interface Preparation {
  /** Venues and partitions are made on another connection of it. */
  readonly database: Database;
  readonly settings: Settings;
  readonly signal?: AbortSignal | undefined;
}

/** Venue ids per insert: each batch is a short transaction of its own. */
export const VENUES_PER_INSERT = 10_000;

/**
 * Makes venues on another connection, and commits them before any invoice.
 *
 * @param ids in the order of their bytes, so that two loads with the same new venues wait for each other, and
 *   do not deadlock
 */
export async function addVenues(options: Preparation, ids: readonly string[]): Promise<void> {
  for (let from = 0; from < ids.length; from += VENUES_PER_INSERT) {
    const batch = ids.slice(from, from + VENUES_PER_INSERT);
    await besideTransaction(options, (short) =>
      short.db.execute(sql`
        insert into ${venues} (venue_id)
        select venue_id from unnest(${sql.param(batch)}::text[]) with ordinality as ids (venue_id, position)
        order by position
        on conflict (venue_id) do nothing`),
    );
  }
}

/**
 * Makes the partitions of these dates where they are missing, and keeps all of them open until the
 * transaction ends.
 *
 * @param options.alone whether nobody else may be at work in them meanwhile; default false
 * @returns the greatest sync date of an absence in them; null where there is none
 * @throws RollbookError `partitions_changed` when one was closed after its lines were read: the next attempt
 *   rejects them; `configuration` when the settings changed after they were read, or there are more than the
 *   server's lock table has room for: then none is made
 */
export async function openPartitions(
  tx: Transaction,
  options: Preparation & { readonly alone?: boolean | undefined },
  dates: readonly string[],
): Promise<string | null> {
  const { database, settings, signal, alone } = options;
  const names = new Set(dates.map((date) => partitionOf(settings.granularity, date).partition));
  if (names.size > FEW_PARTITIONS) await refuseTooMany(tx, names.size);
  let held = await holdPartitions(tx, [...names], { alone });
  if (held === undefined) {
    await ensurePartitions({ database, granularity: settings.granularity, dates, signal });
    held = await holdPartitions(tx, [...names], { alone });
  }
  if (held?.every(isOpen)) {
    await requireSettings(tx, settings);
    return held.reduce<string | null>((last, { absentUntil }) => laterOf(last, absentUntil), null);
  }
  throw new RollbookError({
    code: "partitions_changed",
    message:
      "partitions were detached, attached or dropped all the while. The load was rolled back; load it again.",
  });
}

/** Those of a default server have room for them. */
const FEW_PARTITIONS = 500;
/** A load locks the invoices, their index and the deltas of each partition, until it ends. */
const LOCKS_PER_PARTITION = 3;

/** A load of all of them would fail in the end, after all its work. */
async function refuseTooMany(tx: Transaction, partitions: number): Promise<void> {
  const room = await readLockTable(tx.client);
  const { perTransaction, locks } = room;
  const needed = partitions * LOCKS_PER_PARTITION;
  if (needed <= locks) return;
  throw new RollbookError({
    code: "configuration",
    message:
      `the file has dates of ${partitions} partitions, and a load of them takes ${needed} locks. The server has room for ${locks}: ` +
      `max_locks_per_transaction is ${perTransaction}. Set it to ${settingForLocks(needed, room)} or more and restart the server, or divide the file by its dates.`,
  });
}

/** Of two dates as `YYYY-MM-DD`. */
function laterOf(one: string | null, other: string | null): string | null {
  return one === null || (other !== null && other > one) ? other : one;
}
