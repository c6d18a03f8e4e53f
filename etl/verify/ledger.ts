/** Compares the ledger's entries with the rows of the loads: deltas, corrections, statements, absences, quarantine. */
import { type SQL, sql } from "drizzle-orm";
import type { Transaction } from "../../db/client.ts";
import { streamRows } from "../../db/cursor.ts";
import { holdDeltas, listDetachedDeltas } from "../../db/partitions/tables.ts";
import {
  absences,
  corrections,
  deltas,
  loads,
  partitions,
  rejects,
  settings,
  statements,
} from "../../db/schema.ts";
import { TAKEN_OUT } from "../load/absence.ts";
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
  /** Numbers of entries that nobody will finish. */
  readonly unfinished: readonly number[];
  /** Statements are gone, or there are some that nobody knows of, so an undo could not tell what stands. */
  readonly statementsDiffer: boolean;
}

/** File name of the ledger entry that a repair makes for a load; the load's number follows. */
export const REPAIR_OF_LOAD = "verify --repair load";

interface FindingRow {
  readonly load_id: number;
  readonly kind: string;
  readonly brought_less: string;
  readonly kept_less: string;
  readonly lines: string;
  readonly message: string;
}

/**
 * Checks that the counts of each entry add up, that its deltas bring as many invoices as it inserted (or take
 * away as many as are absent because of it, an undo removed, or a repair took out), that what it overwrote, confirmed
 * or took back is kept, and so is what it says of absent invoices, each with its sync date, that loads look at the
 * latter, and that its quarantine is complete. Of a load whose
 * drop was loaded again only the first is checked, because its rows were lost. Of a load with deltas in an archive the
 * second is not checked. Statements and absences are compared of entries from which none were pruned.
 *
 * To be run in a REPEATABLE READ transaction: catalog, live deltas and detached deltas must be seen as of one
 * moment.
 */
export async function checkLedger(tx: Transaction, found: OnDivergence): Promise<LedgerFindings> {
  await holdDeltas(tx);
  const { tables, archived } = await listDetachedDeltas(tx);
  const lacking = new Map<number, Lacking>();
  const unknown: Unknown[] = [];
  const unfinished: number[] = [];
  let statementsDiffer = false;
  for await (const row of streamRows<FindingRow>(tx, failedChecks(tables, archived))) {
    const loadId = row.load_id;
    found({ kind: "load", loadId, message: row.message });
    if (row.kind === "unknown") unknown.push({ loadId, lines: Number(row.lines) });
    if (row.kind === "unfinished") unfinished.push(loadId);
    statementsDiffer ||= ["statements", "corrections", "unknown"].includes(row.kind);
    if (row.kind !== "deltas" && row.kind !== "corrections") continue;
    lacking.set(loadId, {
      loadId,
      invoices: Number(row.brought_less),
      corrections: Number(row.kept_less),
    });
  }
  return { lacking: [...lacking.values()], unknown, unfinished, statementsDiffer };
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
             l.read, l.inserted, l.corrected, l.unchanged, l.superseded, l.rejected, l.summed, l.voided,
             l.absent, coalesce(v.stated, 0) as absences, coalesce(v.voids, 0) as voids,
             coalesce(c.invoices, 0) as brought, coalesce(r.lines, 0) as lines,
             coalesce(o.invoices, 0) as kept, coalesce(s.of_others, 0) as of_others, coalesce(s.own, 0) as own,
             e.brings, e.brings - coalesce(c.invoices, 0) - coalesce(a.invoices, 0) as brought_less,
             e.overwrites, e.overwrites - coalesce(o.invoices, 0) - coalesce(a.corrections, 0) as kept_less,
             e.keeps, e.reads, l.retry_of,
             l.status = 'repair' and not e.takes_out or l.error_code = ${LOADED_AGAIN} as excused,
             l.partitions && ${sql.param(archived)}::text[] as archived,
             l.known_at <= (select statements_kept_since from ${settings}) as pruned,
             l.finished_at is null or l.known_at is null and l.status not in ('rejected', 'failed') as unfinished,
             m.rows as misdated, u.dates as unseen,
             l.status = 'undone' and not exists (
               select from ${loads} u where u.undo_of = coalesce(l.retry_of, l.load_id) and u.status = 'undo'
             ) as undone_by_none,
             l.status = 'undo' and not exists (
               select from ${loads} t where t.load_id = l.undo_of and t.status = 'undone'
             ) as undoes_none,
             (l.status = 'undone') <> (
               select root.status = 'undone' from ${loads} root where root.load_id = l.retry_of
             ) as undone_alone
      from ${loads} l
      full join changes c using (load_id)
      full join refused r using (load_id)
      full join overwritten o using (load_id)
      full join stated s using (load_id)
      full join missing v using (load_id)
      left join misdated m using (load_id)
      left join unseen u using (load_id)
      left join acknowledged a using (load_id)
      cross join lateral (
        select takes_out,
               case when takes_out then -l.corrected else l.inserted - l.removed - l.absent end as brings,
               case when l.undo_of is null then l.corrected + l.absent else 0 end as overwrites,
               case when l.undo_of is null then l.unchanged else l.removed + l.corrected + l.unchanged end as keeps,
               l.status in ('loaded', 'retry') or l.status = 'undone' and l.undo_of is null and not takes_out as reads
        from (select l.status in ('repair', 'undone') and l.file_name = ${TAKEN_OUT} as takes_out) kind
      ) e
    )
    select load_id, kind, brought_less, kept_less, lines, message
    from compared
    cross join lateral (values
      ('unknown', status is null,
       'there are deltas, corrections, statements, absences or quarantined lines of a load that the ledger does not know'),
      ('deltas', (excused or archived) is not true and status is not null and brought_less <> 0,
       format('its deltas bring %s invoices, its ledger entry says %s', brought, brings)),
      ('corrections', excused is not true and status is not null and kept_less <> 0,
       format('%s of its corrections are kept, its ledger entry says %s', kept, overwrites)),
      ('statements', (excused or pruned) is not true and status is not null
         and (of_others > keeps or of_others < keeps and retry_of is null or own > superseded),
       format('it kept %s statements of other loads and %s of its own, its ledger entry says %s and at most %s',
              of_others, own, keeps, superseded)),
      ('absences', (excused or pruned) is not true and status is not null
         and (voids > voided or absent > 0 and absences = 0),
       format('it says of %s invoices that they are void and has %s absences, its ledger entry says that %s lines are void and %s invoices absent',
              voids, absences, voided, absent)),
      ('lines', reads and read <> inserted + corrected + unchanged + superseded + rejected + summed + voided,
       format('%s lines read are not %s + %s + %s + %s + %s + %s + %s',
              read, inserted, corrected, unchanged, superseded, rejected, summed, voided)),
      ('quarantine', lines <> rejected and error_code is distinct from ${LOADED_AGAIN},
       format('%s lines are in quarantine, its ledger entry says %s', lines, rejected)),
      ('unfinished', status is not null and unfinished, 'it is not finished, and nobody is at work on it'),
      ('misdated', misdated is not null,
       format('%s of its corrections, statements and absences have another sync date than the loads that they are of', misdated)),
      ('unseen', unseen is not null,
       format('loads do not look at what it says of absent invoices of %s, because absent_until of the partition is earlier', unseen)),
      ('undone', undone_by_none, 'it is undone, and no undo of it is in the ledger'),
      ('undo', undoes_none, 'the entry that it undid is not undone'),
      ('retry', undone_alone, format('it read lines of load %s again, and one of the two is undone without the other', retry_of))
    ) as checks (kind, failed, message)
    where failed
    order by load_id, kind`;
}

/** What each load changed, refused, overwrote and stated, by its number. */
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
    missing as (
      select load_id, count(*) as stated, coalesce(sum(cardinality(invoice_ids)), 0) as voids
      from ${absences}
      group by load_id
    ),
    misdated as (
      select said.load_id, count(*) as rows
      from (
        select load_id, old_load_id as stated_by, old_synced_on as synced_on from ${corrections}
        union all
        select load_id, stated_by, synced_on from ${statements}
        union all
        select load_id, stated_by, synced_on from ${absences}
      ) said
      join ${loads} l on l.load_id = said.stated_by and l.synced_on <> said.synced_on
      group by said.load_id
    ),
    unseen as (
      select a.load_id, string_agg(distinct p.partition, ', ') as dates
      from ${absences} a
      join ${partitions} p on a.created_on >= p.lower and a.created_on < p.upper
      where (p.absent_until >= a.synced_on) is not true
      group by a.load_id
    ),
    overwritten as (select load_id, count(*) as invoices from ${corrections} group by load_id),
    stated as (
      select load_id, sum(of_others) as of_others, sum(own) as own
      from (
        select s.load_id,
               sum(cardinality(s.invoice_ids)) filter (where s.stated_by <> coalesce(l.retry_of, s.load_id)) as of_others,
               sum(cardinality(s.invoice_ids)) filter (where s.stated_by = coalesce(l.retry_of, s.load_id)) as own
        from ${statements} s
        left join ${loads} l on l.load_id = s.load_id
        group by s.load_id
        union all
        select named.load_id, 0, 0
        from ${statements} s
        cross join lateral (values (s.stated_by), (s.same_as)) as named (load_id)
        where not exists (select from ${loads} l where l.load_id = named.load_id)
          and named.load_id is not null
        union all
        select a.stated_by, 0, 0
        from ${absences} a
        where not exists (select from ${loads} l where l.load_id = a.stated_by)
      ) numbers
      group by load_id
    )`;
}
