/** Compares the ledger's entries with the rows of the loads: deltas, corrections, quarantine. */
import { type SQL, sql } from "drizzle-orm";
import type { Transaction } from "../../db/client.ts";
import { streamRows } from "../../db/cursor.ts";
import { listDetachedDeltas } from "../../db/partitions/tables.ts";
import { corrections, deltas, loads, rejects } from "../../db/schema.ts";
import { LOADED_AGAIN } from "../load/claim.ts";
import type { OnDivergence } from "./divergence.ts";

/**
 * By how much the deltas and corrections of a load are short of its ledger entry; negative where there are
 * more.
 */
export interface Lacking {
  readonly loadId: number;
  readonly invoices: number;
  readonly corrections: number;
}

/** A load that the ledger does not have, with its lines in quarantine. */
export interface Unknown {
  readonly loadId: number;
  readonly lines: number;
}

export interface LedgerFindings {
  readonly lacking: readonly Lacking[];
  readonly unknown: readonly Unknown[];
}

/** File name of the ledger entry that a repair makes for a load; the load's number follows. */
export const REPAIR_OF_LOAD = "verify --repair load";
/**
 * File name of the ledger entry under which older statements of invoices were taken out. Its `corrected` is
 * their number: so many corrections are kept under it, and its deltas take so many invoices away.
 */
export const TAKEN_OUT = "verify --identity --repair newest";

interface FindingRow {
  readonly load_id: number;
  readonly kind: string;
  readonly brought_less: string;
  readonly kept_less: string;
  readonly lines: string;
  readonly message: string;
}

/**
 * Checks that the counts of each load add up, that its deltas bring as many invoices as it inserted (or take
 * away as many as a repair took out), that what it overwrote is kept, and that its quarantine is complete. Of a
 * load whose drop was loaded again only the first is checked, because its rows were lost. Of a load with deltas
 * in an archive the second is not checked.
 *
 * To be run in a REPEATABLE READ transaction: catalog, live deltas and detached deltas must be seen as of one
 * moment.
 */
export async function checkLedger(tx: Transaction, found: OnDivergence): Promise<LedgerFindings> {
  // Before the snapshot: a detach that this snapshot does not see waits for this lock before it takes the
  // table away.
  await tx.client.query("lock table only warehouse.venue_day_deltas in access share mode");
  const { tables, archived } = await listDetachedDeltas(tx);
  const lacking = new Map<number, Lacking>();
  const unknown: Unknown[] = [];
  for await (const row of streamRows<FindingRow>(tx, failedChecks(tables, archived))) {
    const loadId = row.load_id;
    found({ kind: "load", loadId, message: row.message });
    if (row.kind === "unknown") unknown.push({ loadId, lines: Number(row.lines) });
    if (row.kind !== "deltas" && row.kind !== "corrections") continue;
    lacking.set(loadId, {
      loadId,
      invoices: Number(row.brought_less),
      corrections: Number(row.kept_less),
    });
  }
  return { lacking: [...lacking.values()], unknown };
}

/**
 * @param detached tables of deltas that are not attached
 * @param archived partitions whose deltas are not in the database
 */
function failedChecks(detached: readonly string[], archived: readonly string[]): SQL {
  return sql`
    with ${rowsOfLoads(detached)},
    acknowledged as (
      select substring(file_name from '[0-9]+$')::integer as load_id,
             sum(inserted) as invoices, sum(corrected) as corrections
      from ${loads}
      where status = 'repair' and file_name like ${`${REPAIR_OF_LOAD} %`}
      group by 1
    ),
    compared as (
      select load_id, l.status, l.error_code,
             l.read, l.inserted, l.corrected, l.unchanged, l.superseded, l.rejected, l.summed,
             coalesce(c.invoices, 0) as brought, coalesce(r.lines, 0) as lines,
             coalesce(o.invoices, 0) as kept,
             e.brings, e.brings - coalesce(c.invoices, 0) - coalesce(a.invoices, 0) as brought_less,
             l.corrected - coalesce(o.invoices, 0) - coalesce(a.corrections, 0) as kept_less,
             l.status = 'repair' and not e.takes_out or l.error_code = ${LOADED_AGAIN} as excused,
             l.partitions && ${sql.param(archived)}::text[] as archived
      from ${loads} l
      full join changes c using (load_id)
      full join refused r using (load_id)
      full join overwritten o using (load_id)
      left join acknowledged a using (load_id)
      cross join lateral (
        select takes_out, case when takes_out then -l.corrected else l.inserted end as brings
        from (select l.status = 'repair' and l.file_name = ${TAKEN_OUT} as takes_out) kind
      ) e
    )
    select load_id, kind, brought_less, kept_less, lines, message
    from compared
    cross join lateral (values
      ('unknown', status is null,
       'there are deltas, corrections or quarantined lines of a load that the ledger does not know'),
      ('deltas', (excused or archived) is not true and status is not null and brought_less <> 0,
       format('its deltas bring %s invoices, its ledger entry says %s', brought, brings)),
      ('corrections', excused is not true and status is not null and kept_less <> 0,
       format('%s of its corrections are kept, its ledger entry says %s', kept, corrected)),
      ('lines', status in ('loaded', 'retry') and read <> inserted + corrected + unchanged + superseded + rejected + summed,
       format('%s lines read are not %s + %s + %s + %s + %s + %s',
              read, inserted, corrected, unchanged, superseded, rejected, summed)),
      ('quarantine', lines <> rejected and error_code is distinct from ${LOADED_AGAIN},
       format('%s lines are in quarantine, its ledger entry says %s', lines, rejected))
    ) as checks (kind, failed, message)
    where failed
    order by load_id, kind`;
}

/** What each load changed, refused and overwrote, by its number. */
function rowsOfLoads(detached: readonly string[]): SQL {
  const ofDetached = detached.map((table) => sql` union all select load_id, invoices from ${sql.raw(table)}`);
  return sql`changes as (
      select load_id, sum(invoices) as invoices
      from (
        select load_id, invoices from ${deltas}
        where tableoid <> all (${sql.param(detached)}::regclass[])${sql.join(ofDetached)}
      ) d
      group by load_id
    ),
    refused as (select load_id, count(*) as lines from ${rejects} group by load_id),
    overwritten as (select load_id, count(*) as invoices from ${corrections} group by load_id)`;
}
