/**
 * Closes a period: enters what its groups are in the closings, with a digest of all of them, so that nobody can
 * change it unseen. Nothing is locked against later files: what they change is a restatement.
 */
import { sql } from "drizzle-orm";
import {
  type Database,
  inTransaction,
  type Session,
  type Transaction,
  withSession,
} from "../../db/client.ts";
import { addDays } from "../../db/dates.ts";
import { RollbookError } from "../../db/errors.ts";
import { LOCK, withSessionLock } from "../../db/locks.ts";
import { describeFirst, listMissingTables } from "../../db/partitions/missing.ts";
import { partitionOf } from "../../db/partitions/ranges.ts";
import { holdDeltas } from "../../db/partitions/tables.ts";
import { requireSteward } from "../../db/roles/steward.ts";
import { closings, loads, partitions, type Settings } from "../../db/schema.ts";
import { createdOnSql } from "../../db/settings.ts";
import { inWarehouseZone } from "../reports/zone.ts";
import type { Closing, Opening } from "./certificate.ts";
import { certify, REPORTED_CHANGES, refuseDetached } from "./groups.ts";
import type { Period } from "./period.ts";
import { findClosing, utc } from "./read.ts";

export interface CloseOptions {
  readonly database: Database;
  readonly settings: Settings;
  readonly period: Period;
  /** Leaves a period alone that is closed already; default false: it is closed again. */
  readonly once?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface CloseReport {
  /** `already_closed`: nothing was done. */
  readonly outcome: "closed" | "already_closed";
  /** The new closing, or else the newest one of the period. */
  readonly closing: Closing;
}

/**
 * Certifies what the reports show of a period. A period may be closed again; then the newer closing counts.
 * Loads go on meanwhile: those that became known before count, all others are restatements.
 *
 * @throws RollbookError `usage` for a period that has not ended, that is before the earliest date, or where
 *   nothing was loaded yet; `partition_closed` when part of it is detached; `table_missing`; `permission`
 */
export async function closePeriod(options: CloseOptions): Promise<CloseReport> {
  const { period, once = false } = options;
  await requireSteward({ ...options, action: "close periods" });
  await refuseUnended(options);
  return withSession(options, (session) =>
    withSessionLock(session, LOCK.closings, async (): Promise<CloseReport> => {
      const before = once ? await findClosing(session, period) : undefined;
      if (before !== undefined) {
        const { replacedBy: _, ...closing } = before;
        return { outcome: "already_closed", closing };
      }
      const knownAt = await readKnownAt(session);
      // One snapshot, which is newer than that moment.
      const isolation = "repeatable read";
      const closing = await inTransaction(session, (tx) => closeAsKnown(tx, period, knownAt), { isolation });
      return { outcome: "closed", closing };
    }),
  );
}

/** The month before today's. */
export async function findLastMonth(options: Omit<CloseOptions, "period">): Promise<Period> {
  const { lower } = partitionOf("month", await readToday(options));
  const month = partitionOf("month", addDays(lower, -1));
  return { name: month.partition, from: month.lower, to: month.upper };
}

/** The creation date that invoices of this moment have. */
async function readToday(options: Omit<CloseOptions, "period">): Promise<string> {
  const { rows } = await inWarehouseZone(options, ({ db }) =>
    db.execute<{ today: string }>(sql`select ${createdOnSql(sql`now()`, options.settings)}::text as today`),
  );
  return rows[0]?.today ?? "";
}

/** A creation date ends when the next business day starts. */
async function refuseUnended(options: CloseOptions): Promise<void> {
  const { settings, period } = options;
  if (period.to <= settings.earliest) {
    throw usage(`${period.name}: the warehouse takes invoices from ${settings.earliest} on.`);
  }
  const today = await readToday(options);
  if (period.to <= today) return;
  const ended = `, or only the dates that have ended: rollbook close --from ${period.from} --to ${today}`;
  throw usage(
    `${period.name} has not ended: in the warehouse it is ${today} (${settings.timeZone}). Close it from ${period.to} on${period.from < today ? ended : ""}`,
  );
}

/**
 * The newest moment at which something became known. Under the lock of those who commit, so that whatever
 * commits later is known later: the groups as known then never change any more.
 */
async function readKnownAt(session: Session): Promise<string> {
  const { rows } = await withSessionLock(session, LOCK.knownAt, () =>
    session.db.execute<{ known_at: string | null }>(
      sql`select ${utc(sql`max(known_at)`)} as known_at from ${loads}`,
    ),
  );
  const knownAt = rows[0]?.known_at ?? null;
  if (knownAt === null) throw usage("nothing was loaded yet, so there is nothing to close.");
  return knownAt;
}

async function closeAsKnown(tx: Transaction, period: Period, knownAt: string): Promise<Closing> {
  await holdDeltas(tx);
  await refuseDetached(tx, period, "closed");
  await refuseMissing(tx, period);
  const closing = await certify(tx, REPORTED_CHANGES, await open(tx, period, knownAt));
  const { groups, invoices, total, sha256, previousSha256 } = closing;
  // Who and when are the database's to say.
  await tx.db.execute(sql`
    insert into ${closings}
      (closing_id, period, first_date, date_after, known_at, groups, invoices, total, sha256, previous_sha256)
    values (${closing.closing}, ${period.name}, ${period.from}, ${period.to}, ${knownAt}, ${groups}, ${invoices}, ${total},
      decode(${sha256}, 'hex'), decode(${previousSha256}, 'hex'))`);
  return closing;
}

/** @throws RollbookError `table_missing` where somebody dropped or detached a table of the period by hand */
async function refuseMissing(tx: Transaction, { from, to }: Period): Promise<void> {
  const within = await tx.db
    .select({ partition: partitions.partition })
    .from(partitions)
    .where(sql`${partitions.lower} < ${to}::date and ${partitions.upper} > ${from}::date`);
  const names = within.map(({ partition }) => partition);
  const missing = await listMissingTables(tx, names);
  const [first, ...others] = missing.filter(({ parent }) => parent === "venue_day_deltas");
  if (first !== undefined) {
    throw new RollbookError({ code: "table_missing", message: describeFirst(first, others) });
  }
}

/** The next closing of the chain. */
async function open(tx: Transaction, { name, from, to }: Period, knownAt: string): Promise<Opening> {
  const { rows } = await tx.db.execute<{
    closing: number;
    previous: string | null;
    user: string;
    now: string;
  }>(sql`
    select coalesce(last.closing_id, 0) + 1 as closing, encode(last.sha256, 'hex') as previous,
           session_user as "user", ${utc(sql`now()`)} as now
    from (select) always
    left join (select closing_id, sha256 from ${closings} order by closing_id desc limit 1) last on true`);
  const [row] = rows;
  if (row === undefined) throw new Error("an outer join returned no row");
  return {
    closing: row.closing,
    period: name,
    from,
    to,
    knownAt,
    closedBy: row.user,
    closedAt: row.now,
    previousSha256: row.previous,
  };
}

function usage(message: string): RollbookError {
  return new RollbookError({ code: "usage", message });
}
