/**
 * Takes staged lines into the warehouse: venues, then invoices, corrections, deltas and pending in one
 * statement.
 */
import { type SQL, sql } from "drizzle-orm";
import type { Transaction } from "../../db/client.ts";
import { errorState, SQLSTATE } from "../../db/errors.ts";
import type { Settings } from "../../db/schema.ts";
import { createdOnSql } from "../../db/settings.ts";
import { COLUMNS, type Column, VALUES } from "../drop/row.ts";
import { type Absence, findCovering, isCovered, stateAbsences, takeOutAbsent } from "./absence.ts";
import { changedPartitions, eachValue, oldValues, recordNet, values } from "./net.ts";
import { addVenues, type Preparation, VENUES_PER_INSERT } from "./prepare.ts";
import { sampleIsKnown } from "./sample.ts";
import type { Selection } from "./selection.ts";
import { stagingTable } from "./stage.ts";

/** Some so many lines are looked up beforehand. */
const SAMPLE_LINES = 2000;

export interface MergeReport {
  readonly inserted: number;
  readonly corrected: number;
  readonly unchanged: number;
  /** Lines that were added to another line of their invoice. */
  readonly summed: number;
  /** Invoices that were taken out, because as of this load they are absent. */
  readonly absent: number;
  /** Partitions in which the count or total of a group changed, oldest first. */
  readonly partitions: readonly string[];
}

/** The creation dates that are staged, in order. The session's time zone is the warehouse's. */
export async function readStagedDates(
  tx: Transaction,
  slot: number,
  settings: Settings,
): Promise<readonly string[]> {
  const createdOn = createdOnSql(sql`datetime_created`, settings);
  const result = await tx.db.execute<{ date: string }>(
    sql`select distinct ${createdOn}::text as date from ${stagingTable(slot)} order by 1`,
  );
  return result.rows.map((row) => row.date);
}

export interface RepeatedIds {
  /** How many invoice ids are staged with several venues or creation dates, void lines left out. */
  readonly underTwoKeys: number;
  /** How many lines have the key of an earlier line. */
  readonly repeatedLines: number;
}

export async function countRepeatedIds(
  tx: Transaction,
  slot: number,
  settings: Settings,
): Promise<RepeatedIds> {
  const staging = stagingTable(slot);
  const createdOn = createdOnSql(sql`datetime_created`, settings);
  // In two steps: of the ids that come once, as nearly all do, the server keeps no more than a count.
  const result = await tx.db.execute<{ moved: string; repeated: string }>(sql`
    select count(*) filter (where stated > 1) as moved, coalesce(sum(lines - keys), 0) as repeated
    from (
      select count(*) as lines, count(distinct (venue_id, ${createdOn})) as keys,
             count(distinct (venue_id, ${createdOn})) filter (where total is not null) as stated
      from ${staging}
      where invoice_id in (select invoice_id from ${staging} group by invoice_id having count(*) > 1)
      group by invoice_id
    ) ids`);
  const [row] = result.rows;
  return { underTwoKeys: Number(row?.moved ?? 0), repeatedLines: Number(row?.repeated ?? 0) };
}

/** The invoice ids that are staged (in hexadecimal), and under how many keys each. For few lines. */
export async function readStagedKeyCounts(
  tx: Transaction,
  slot: number,
  settings: Settings,
): Promise<readonly { readonly id: string; readonly keys: number }[]> {
  const createdOn = createdOnSql(sql`datetime_created`, settings);
  const result = await tx.db.execute<{ id: string; keys: number }>(sql`
    select replace(invoice_id::text, '-', '') as id,
           count(distinct (venue_id, ${createdOn}))::integer as keys
    from ${stagingTable(slot)}
    group by invoice_id`);
  return result.rows;
}

/** The sum of the sizes of the staged totals, in cents. */
export async function sumStagedMoney(tx: Transaction, slot: number): Promise<bigint> {
  const { rows } = await tx.db.execute<{ cents: string }>(
    sql`select coalesce(sum(abs(total)) * 100, 0)::numeric(24, 0)::text as cents from ${stagingTable(slot)}`,
  );
  return BigInt(rows[0]?.cents ?? 0);
}

/** Makes the venues that are in staging and not in the dimension. */
export async function addStagedVenues(tx: Transaction, slot: number, options: Preparation): Promise<void> {
  await tx.db.execute(sql`
    declare new_venues no scroll cursor for
    select distinct s.venue_id
    from ${stagingTable(slot)} s
    where not exists (select from warehouse.venues v where v.venue_id = s.venue_id)
    order by s.venue_id`);
  for (;;) {
    const batch = await tx.db.execute<{ venue_id: string }>(
      sql`fetch ${sql.raw(String(VENUES_PER_INSERT))} from new_venues`,
    );
    if (batch.rows.length === 0) break;
    await addVenues(
      options,
      batch.rows.map((row) => row.venue_id),
    );
  }
  await tx.db.execute(sql`close new_venues`);
}

export interface MergeOptions {
  readonly tx: Transaction;
  readonly settings: Settings;
  /** Of the staging table. */
  readonly slot: number;
  /** Lines in staging. */
  readonly rows: number;
  /** Lines with the key of an earlier one. */
  readonly repeatedLines: number;
  readonly loadId: number;
  readonly syncedOn: string;
  /** Whether the lines of one key are added, instead of the last one counting; default false. */
  readonly sumRows?: boolean | undefined;
  /** What is said of invoices that are not there. */
  readonly absence: Absence;
}

/**
 * Merges staging into the warehouse: inserts new rows, corrects changed ones, gives confirmed ones the newer
 * load, leaves those of newer drops alone, and turns what changed into corrections, deltas and pending. Of
 * two lines with one key the later wins, or they are added.
 *
 * Rows are inserted in the order of their keys. So the batch walks along the B-tree, and concurrent loads
 * meet in one order: they wait for each other and do not deadlock.
 *
 * In most drops all invoices are new, and a plain insert costs half as much as one that looks for conflicts.
 * So if a sample of the keys is new, the plain insert is tried. At its first conflict it is rolled back, and
 * the lines are merged.
 */
export async function mergeStaging(options: MergeOptions): Promise<MergeReport> {
  const merge = { ...options, statedBy: options.loadId };
  const covered = options.absence.maybeCovered && (await findCovering(merge));
  if (!covered && options.absence.voided === 0 && !(await stagedSampleIsKnown(options))) {
    const report = await tryInsert(options);
    if (report !== undefined) return withAbsences(merge, report);
  }
  return withAbsences(merge, await mergeByKey({ ...merge, covered }));
}

/** Enters what the lines say of invoices that are not there, and takes these out. */
async function withAbsences(
  options: MergeOptions & { readonly statedBy: number; readonly selection?: Selection },
  report: MergeReport,
): Promise<MergeReport> {
  const { replacesVenueDays, voided } = options.absence;
  if (!replacesVenueDays && voided === 0) return report;
  await stateAbsences(options, linesOf(options));
  const { absent, partitions } = await takeOutAbsent(options);
  return { ...report, absent, partitions: [...new Set([...report.partitions, ...partitions])].toSorted() };
}

/** Whether the invoice of any line is known, of whole pages of staging that are drawn at random. */
async function stagedSampleIsKnown({ tx, slot, rows, settings }: MergeOptions): Promise<boolean> {
  const percent = Math.min(100, (100 * SAMPLE_LINES) / Math.max(rows, 1));
  // With a seed, so that each look draws the same pages.
  const sample = sql`${stagingTable(slot)} sample tablesample system (${percent}) repeatable (0)`;
  return sampleIsKnown(tx, sample, settings);
}

/**
 * Inserts the lines as new invoices. If one of them is not new, nothing is done, and undefined is returned.
 */
async function tryInsert(options: MergeOptions): Promise<MergeReport | undefined> {
  const { tx } = options;
  await tx.db.execute(sql`savepoint all_new`);
  try {
    const report = await insertNew(options);
    await tx.db.execute(sql`release savepoint all_new`);
    return report;
  } catch (error) {
    if (errorState(error) !== SQLSTATE.uniqueViolation) throw error;
    await tx.db.execute(sql`rollback to savepoint all_new`);
    return undefined;
  }
}

/**
 * Inserts the lines as new invoices; of two with one key only the later, or their sum.
 *
 * @throws the driver's error of a unique violation when one of them is not new
 */
export async function insertNew({
  tx,
  slot,
  loadId,
  syncedOn,
  settings,
  sumRows,
}: Omit<MergeOptions, "rows" | "repeatedLines" | "absence">): Promise<MergeReport> {
  const result = await tx.db.execute<MergeRow>(sql`
    with winners as materialized (${winnersOf(slot, settings, { sumRows })}),
    inserted as (
      insert into warehouse.invoices (created_on, venue_key, invoice_id, load_id, synced_on, ${values()})
      select created_on, venue_key, invoice_id, ${loadId}::integer, ${syncedOn}::date, ${values()}
      from winners
    ),
    net as (
      select created_on, venue_key, count(*) as invoices, sum(total) as total
      from winners
      group by created_on, venue_key
    ),
    ${recordNet(loadId)}
    select count(*) as inserted, 0 as corrected, 0 as unchanged, ${countSummed(sumRows)} as summed,
           ${changedPartitions()} as partitions
    from winners`);
  return readReport(result.rows);
}

/**
 * Merges those lines in staging that are read again, unless a later line of the drop has their key. They rank as
 * statements of the load `statedBy`: what a newer drop has stated stays.
 */
export async function mergeRetried(
  options: Omit<MergeOptions, "rows" | "repeatedLines"> & {
    readonly statedBy: number;
    readonly selection: Selection;
  },
): Promise<MergeReport> {
  const merge = { ...options, rows: options.selection.positions.length, repeatedLines: 0 };
  const covered = options.absence.maybeCovered && (await findCovering(merge));
  return withAbsences(merge, await mergeByKey({ ...merge, covered }));
}

async function mergeByKey(
  options: MergeOptions & {
    readonly statedBy: number;
    readonly selection?: Selection;
    /** Whether a newer absence covers any line. */
    readonly covered: boolean;
  },
): Promise<MergeReport> {
  const { tx, loadId, statedBy, syncedOn, sumRows, absence } = options;
  const lines = linesOf(options);
  const whole = !options.covered && absence.voided === 0;
  // Where all of them are merged, the lines are sorted once, and not kept in between.
  const winners = whole
    ? sql`winners as (${lines})`
    : sql`
    lines as materialized (${lines}),
    winners as (
      select * from lines
      where total is not null and not ${isCovered(options.covered, sql`lines`)}
      order by created_on, venue_key, invoice_id
    )`;
  const result = await tx.db.execute<MergeRow>(sql`
    with ${winners},
    merged as (
      insert into warehouse.invoices as stored
        (created_on, venue_key, invoice_id, load_id, synced_on, ${values()})
      select created_on, venue_key, invoice_id, ${statedBy}::integer, ${syncedOn}::date, ${values()}
      from winners
      on conflict (created_on, venue_key, invoice_id) do update
        set ${eachValue((value) => sql`${value} = excluded.${value}`)},
            load_id = excluded.load_id,
            synced_on = excluded.synced_on
        where (stored.synced_on, stored.load_id) <= (excluded.synced_on, excluded.load_id)
      returning new.created_on, new.venue_key, new.invoice_id, new.total,
                ${eachValue((value, oldValue) => sql`old.${value} as ${oldValue}`)},
                old.load_id as old_load_id, old.synced_on as old_synced_on,
                old.load_id is null as is_new,
                (${eachValue((value) => sql`old.${value}`)})
                  is distinct from (${eachValue((value) => sql`new.${value}`)}) as differs
    ),
    net as (
      select created_on, venue_key, count(*) filter (where is_new) as invoices,
             sum(total - coalesce(old_total, 0)) as total
      from merged
      where differs
      group by created_on, venue_key
      having count(*) filter (where is_new) <> 0 or sum(total - coalesce(old_total, 0)) <> 0
    ),
    kept as (
      insert into warehouse.corrections
        (load_id, created_on, venue_key, invoice_id, old_load_id, old_synced_on, ${oldValues()})
      select ${loadId}::integer, created_on, venue_key, invoice_id, old_load_id, old_synced_on, ${oldValues()}
      from merged
      where differs and not is_new
    ),
    confirmed as (
      insert into warehouse.statements
        (load_id, stated_by, synced_on, same_as, created_on, venue_key, invoice_ids)
      select ${loadId}::integer, old_load_id, old_synced_on, ${statedBy}::integer, created_on, venue_key,
             array_agg(invoice_id)
      from merged
      where not differs and old_load_id <> ${statedBy}
      group by created_on, venue_key, old_load_id, old_synced_on
    ),
    ${recordNet(loadId)}
    select ${whole ? sql`null` : sql`(select count(*) from lines where total is not null)`} as keys,
           ${countSummed(sumRows, whole ? sql`winners` : sql`lines`)} as summed,
           count(*) filter (where is_new) as inserted,
           count(*) filter (where differs and not is_new) as corrected,
           count(*) filter (where not differs) as unchanged,
           ${changedPartitions()} as partitions
    from merged`);
  const report = readReport(result.rows);
  const { summed, inserted, corrected, unchanged } = report;
  const counted = result.rows[0]?.keys ?? null;
  const keys = counted === null ? options.rows - (sumRows ? summed : options.repeatedLines) : Number(counted);
  if (keys > inserted + corrected + unchanged) await keepSuperseded({ ...options, lines });
  return report;
}

/**
 * Keeps what the lines say of invoices of which a newer drop has stated something, or that they are absent: if
 * that is taken back, it stands. The rows are locked since the merge, so none has changed. The lookup is
 * lateral, so that each goes by the key.
 */
async function keepSuperseded(
  options: Pick<MergeOptions, "tx" | "loadId" | "syncedOn"> & {
    readonly lines: SQL;
    readonly statedBy: number;
    readonly covered: boolean;
  },
): Promise<void> {
  const { tx, loadId, syncedOn, lines, statedBy, covered } = options;
  await tx.db.execute(sql`
    insert into warehouse.statements
      (load_id, stated_by, synced_on, same_as, created_on, venue_key, invoice_ids, ${values()})
    select ${loadId}::integer, ${statedBy}::integer, ${syncedOn}::date, same_as, created_on, venue_key,
           array_agg(invoice_id), ${eachValue((value) => sql`case when same_as is null then array_agg(${value}) end`)}
    from (
      select w.created_on, w.venue_key, w.invoice_id, ${eachValue((value) => sql`w.${value}`)},
             case when (${eachValue((value) => sql`w.${value}`)}) = (${eachValue((value) => sql`stored.${value}`)})
                  then stored.load_id end as same_as
      from (${lines}) w
      left join lateral (
        select i.load_id, i.synced_on, ${eachValue((value) => sql`i.${value}`)}
        from warehouse.invoices i
        where i.created_on = w.created_on and i.venue_key = w.venue_key and i.invoice_id = w.invoice_id
        limit 1
      ) stored on true
      where w.total is not null
        and ((stored.synced_on, stored.load_id) > (${syncedOn}::date, ${statedBy}::integer)
          or ${isCovered(covered, sql`w`)})
    ) superseded
    group by created_on, venue_key, same_as`);
}

/** The lines by key, those that are merged: of a drop that is in already, those that are read again. */
function linesOf({
  slot,
  settings,
  sumRows,
  selection,
}: Pick<MergeOptions, "slot" | "settings" | "sumRows"> & { readonly selection?: Selection }): SQL {
  return selection === undefined
    ? winnersOf(slot, settings, { sumRows })
    : retriedWinnersOf(slot, settings, selection);
}

/**
 * The lines by key; of two with one key only the later. The order of the lines is that of `ctid`, because
 * staging was truncated in this transaction, so COPY appended to an empty file.
 *
 * @param options.leftOut places in staging, from 1, of lines that do not count; default none
 */
export function winnersOf(
  slot: number,
  settings: Settings,
  options: { readonly sumRows?: boolean | undefined; readonly leftOut?: readonly number[] },
): SQL {
  const { sumRows = false, leftOut = [] } = options;
  const isLeftOut = sql`s.ctid in (
    select numbered.line
    from (select t.ctid as line, row_number() over (order by t.ctid) as place from ${stagingTable(slot)} t) numbered
    where numbered.place = any (${sql.param(leftOut)}::bigint[])
  )`;
  const lines = sql`
        select ${createdOnSql(sql`s.datetime_created`, settings)} as created_on, v.venue_key, s.invoice_id,
               ${stagedValues()}, s.ctid as line
        from ${stagingTable(slot)} s
        join warehouse.venues v on v.venue_id = s.venue_id
        where ${leftOut.length === 0 ? sql`true` : sql`not ${isLeftOut}`}`;
  if (sumRows) {
    return sql`
      select created_on, venue_key, invoice_id, ${addedValues()}, count(*) as rows
      from (${lines}) lines
      group by created_on, venue_key, invoice_id
      order by created_on, venue_key, invoice_id`;
  }
  return sql`
      select distinct on (created_on, venue_key, invoice_id) created_on, venue_key, invoice_id, ${values()}
      from (${lines}) lines
      order by created_on, venue_key, invoice_id, line desc`;
}

/** How many lines were added to another one of their invoice. Those of an invoice that is void are not. */
function countSummed(sumRows = false, lines = sql`winners`): SQL {
  if (!sumRows) return sql`0`;
  return sql`(select coalesce(sum(rows - 1), 0) from ${lines} where total is not null)`;
}

/** What the lines of one key come to when they are added. */
const ADDED: Readonly<Record<keyof typeof VALUES, (value: SQL) => SQL>> = {
  datetime_created: (value) => sql`min(${value})`,
  // If one of them says that the invoice is void, it is.
  total: (value) => sql`case when count(*) = count(${value}) then sum(${value}) end`,
};

function addedValues(): SQL {
  const items = COLUMNS.filter(isValue).map((column) => {
    const value = sql`${sql.identifier(VALUES[column])}`;
    return sql`${ADDED[column](value)} as ${value}`;
  });
  return sql.join(items, sql`, `);
}

function isValue(column: Column): column is keyof typeof VALUES {
  return column in VALUES;
}

/** The same of a drop that is in already: those lines that are read again, and that no later line replaces. */
function retriedWinnersOf(slot: number, settings: Settings, { positions, dismissed }: Selection): SQL {
  return sql`
      select created_on, venue_key, invoice_id, ${values()}
      from (
        select distinct on (created_on, venue_key, invoice_id) created_on, venue_key, invoice_id, ${values()}, retried
        from (
          select ${createdOnSql(sql`s.datetime_created`, settings)} as created_on, v.venue_key, s.invoice_id,
                 ${stagedValues()}, s.line, r.line is not null as retried
          from (select *, row_number() over (order by ctid) as line from ${stagingTable(slot)}) s
          join warehouse.venues v on v.venue_id = s.venue_id
          left join unnest(${sql.param(positions)}::bigint[]) r (line) on r.line = s.line
          where not exists (
            select from unnest(${sql.param(dismissed)}::bigint[]) d (line) where d.line = s.line
          )
        ) lines
        order by created_on, venue_key, invoice_id, line desc
      ) last
      where retried
      order by created_on, venue_key, invoice_id`;
}

/** The values of an invoice, of a line in staging, `s`. */
function stagedValues(): SQL {
  const items = Object.entries(VALUES).map(
    ([column, value]) => sql`s.${sql.identifier(column)} as ${sql.identifier(value)}`,
  );
  return sql.join(items, sql`, `);
}

interface MergeRow extends Record<string, unknown> {
  readonly keys?: string | null;
  readonly summed: string;
  readonly inserted: string;
  readonly corrected: string;
  readonly unchanged: string;
  readonly partitions: readonly string[];
}

function readReport(rows: readonly MergeRow[]): MergeReport {
  const [row] = rows;
  if (row === undefined) throw new Error("an aggregate returned no row");
  return {
    inserted: Number(row.inserted),
    corrected: Number(row.corrected),
    unchanged: Number(row.unchanged),
    summed: Number(row.summed),
    absent: 0,
    partitions: row.partitions,
  };
}
