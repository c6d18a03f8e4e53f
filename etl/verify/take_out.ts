/**
 * Takes out what an invoice was before it was sent with another venue or creation date. The older statements
 * leave the invoices, with a correction kept of each, and with deltas under a ledger entry of its own. So the
 * loads behind a total, "as known on" and a rebuild still add up.
 */
import { sql } from "drizzle-orm";
import { ALLOW_WORK_MEM, type Database, type Transaction, withTransaction } from "../../db/client.ts";
import { LOCK, lockUntilEnd } from "../../db/locks.ts";
import { findAnnounced, holdPartitions, isOpen } from "../../db/partitions/catalog.ts";
import { partitionOf } from "../../db/partitions/ranges.ts";
import { withRetries } from "../../db/retry.ts";
import { corrections, invoices, loads, type Partition, partitions, type Settings } from "../../db/schema.ts";
import { TAKEN_OUT } from "../load/absence.ts";
import { enterLedger } from "../load/ledger.ts";
import { changedPartitions, oldValues, recordNet, values } from "../load/net.ts";
import { selectDoubled } from "./identity.ts";
import { beginRepair } from "./repair.ts";

export interface TakenOut {
  /** Number of the ledger entry; null when nothing was taken out. */
  readonly loadId: number | null;
  readonly statements: number;
  /** Partitions that are detached or dropped by now: what they hold stays. */
  readonly closed: readonly Pick<Partition, "partition" | "state">[];
}

export interface TakeOutOptions {
  readonly database: Database;
  readonly settings: Settings;
  /** The only partition to look at. */
  readonly only: Partition | undefined;
  /** Creation dates on which older statements stand. Those of other dates stay. */
  readonly dates: ReadonlySet<string>;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Takes out every statement for which there is a newer one of the same invoice under another key, in one
 * transaction. Loads and refreshes go on meanwhile: a load that restates an invoice at the same moment is
 * waited for, and then what it restated stays.
 *
 * Its locks come in the order of a load's: ledger entry, partitions, invoices by key, `known_at`.
 */
export async function takeOutOlder(options: TakeOutOptions): Promise<TakenOut> {
  const { signal } = options;
  return withRetries({ signal, onRetry: undefined }, () =>
    withTransaction({ ...options, opening: [ALLOW_WORK_MEM] }, (tx) => takeOut(tx, options)),
  );
}

async function takeOut(tx: Transaction, { settings, only, dates }: TakeOutOptions): Promise<TakenOut> {
  // Of two repairs at once the second would rank statements that the first is about to take out.
  await lockUntilEnd(tx, LOCK.statements);
  const loadId = await beginRepair(tx, { fileName: TAKEN_OUT });
  const names = new Set([...dates].map((date) => partitionOf(settings.granularity, date).partition));
  // The catalog may have lost some. Those are for verify to name.
  const held = (await holdPartitions(tx, await findAnnounced(tx, [...names]))) ?? [];
  const open = held.filter(isOpen).map(({ partition }) => partition);
  const closed = held
    .filter((partition) => !isOpen(partition))
    .map(({ partition, state }) => ({ partition, state }));
  const { statements, touched } = await moveToCorrections(tx, { loadId, only, open });
  if (statements === 0) {
    await tx.db.execute(sql`delete from ${loads} where load_id = ${loadId}`);
    return { loadId: null, statements, closed };
  }
  await enterLedger(tx, loadId, { corrected: statements, partitions: [...touched] });
  return { loadId, statements, closed };
}

/** @param scope.open partitions that are held, from which invoices may be taken */
async function moveToCorrections(
  tx: Transaction,
  scope: {
    readonly loadId: number;
    readonly only: Partition | undefined;
    readonly open: readonly string[];
  },
): Promise<{ readonly statements: number; readonly touched: readonly string[] }> {
  const { loadId, only, open } = scope;
  // A row that a load has restated since this statement began is no longer the one that was ranked.
  const result = await tx.db.execute<{ statements: string; partitions: string[] }>(sql`
    with older as materialized (
      select i.created_on, i.venue_key, i.invoice_id
      from (${selectDoubled(only)}) d
      join ${partitions} p on p.lower <= d.created_on and d.created_on < p.upper
      join ${invoices} i on i.created_on = d.created_on
        and i.venue_key = d.venue_key
        and i.invoice_id = d.invoice_id
        and i.load_id = d.load_id
        and i.synced_on = d.synced_on
      where d.place > 1 and p.partition = any (${sql.param(open)}::text[])
      order by i.created_on, i.venue_key, i.invoice_id
      for update of i
    ),
    taken as (
      delete from ${invoices} i
      using older o
      where i.created_on = o.created_on and i.venue_key = o.venue_key and i.invoice_id = o.invoice_id
      returning i.created_on, i.venue_key, i.invoice_id, i.load_id, i.synced_on, i.total, i.created_at
    ),
    net as (
      select created_on, venue_key, -count(*) as invoices, -sum(total) as total
      from taken
      group by created_on, venue_key
    ),
    kept as (
      insert into ${corrections}
        (load_id, created_on, venue_key, invoice_id, old_load_id, old_synced_on, ${oldValues()})
      select ${loadId}::integer, created_on, venue_key, invoice_id, load_id, synced_on, ${values()}
      from taken
    ),
    ${recordNet(loadId)}
    select count(*) as statements, ${changedPartitions()} as partitions
    from taken`);
  const [row] = result.rows;
  return { statements: Number(row?.statements ?? 0), touched: row?.partitions ?? [] };
}
