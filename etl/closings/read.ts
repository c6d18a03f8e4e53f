/** Reads the closings, and the groups that one certifies. */
import { type SQL, sql } from "drizzle-orm";
import { type Database, type Session, withSession, withTransaction } from "../../db/client.ts";
import { RollbookError } from "../../db/errors.ts";
import { reportedClosings } from "../../db/schema.ts";
import type { Closing, Group } from "./certificate.ts";
import { certify, REPORTED_CHANGES, refuseDetached } from "./groups.ts";
import type { Period } from "./period.ts";

export interface ReportedClosing extends Closing {
  /** The next closing of the same dates; null: it is the newest. */
  readonly replacedBy: number | null;
}

/** An instant in UTC with microseconds, as closings write it. */
export function utc(instant: SQL): SQL {
  return sql`to_char(${instant} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;
}

/** Reads all closings, by number. */
export function readClosings(options: {
  readonly database: Database;
  readonly signal?: AbortSignal | undefined;
}): Promise<readonly ReportedClosing[]> {
  return withSession(options, (session) => listClosings(session));
}

/** @param only which of them; left out: all */
export async function listClosings(
  { db }: Session,
  only: SQL = sql`true`,
): Promise<readonly ReportedClosing[]> {
  const { rows } = await db.execute<Row>(sql`
    select closing, period, first_date::text as "from", date_after::text as "to", ${utc(sql`known_at`)} as "knownAt",
           groups, invoices, total::text as total, sha256, previous_sha256 as "previousSha256",
           closed_by as "closedBy", ${utc(sql`closed_at`)} as "closedAt", replaced_by as "replacedBy"
    from ${reportedClosings}
    where ${only}
    order by closing`);
  return rows.map((row) => ({ ...row, groups: Number(row.groups), invoices: Number(row.invoices) }));
}

interface Row extends Record<string, unknown>, Omit<ReportedClosing, "groups" | "invoices"> {
  readonly groups: string;
  readonly invoices: string;
}

/** The newest closing of exactly these dates. */
export async function findClosing(
  session: Session,
  { from, to }: Period,
): Promise<ReportedClosing | undefined> {
  const isOf = sql`first_date = ${from}::date and date_after = ${to}::date and replaced_by is null`;
  const [found] = await listClosings(session, isOf);
  return found;
}

/** @throws RollbookError `not_found` where the period was not closed */
export async function findNewest(session: Session, period: Period): Promise<ReportedClosing> {
  const { name } = period;
  const found = await findClosing(session, period);
  if (found !== undefined) return found;
  throw new RollbookError({
    code: "not_found",
    message: `${name} is not closed. List what is with: rollbook closings; close it with: rollbook close`,
  });
}

/** Takes a closing, and then its groups one by one. */
export interface CertificateReader {
  readonly onClosing: (closing: ReportedClosing) => Promise<void>;
  readonly onGroup: (group: Group) => Promise<void>;
}

/**
 * Reads what a closing certifies, from the deltas that were known then.
 *
 * @returns whether the deltas say today what was certified
 * @throws RollbookError `not_found`; `partition_closed` when part of the period is detached
 */
export async function readCertificate(
  options: {
    readonly database: Database;
    readonly closing: number;
    readonly signal?: AbortSignal | undefined;
  } & CertificateReader,
): Promise<boolean> {
  return withTransaction({ ...options, isolation: "repeatable read" }, async (tx) => {
    const [found] = await listClosings(tx, sql`closing = ${options.closing}::integer`);
    if (found === undefined) {
      throw new RollbookError({
        code: "not_found",
        message: `there is no closing ${options.closing}. List them with: rollbook closings`,
      });
    }
    await refuseDetached(tx, { name: found.period, from: found.from, to: found.to }, "shown");
    await options.onClosing(found);
    const { sha256 } = await certify(tx, REPORTED_CHANGES, found, options.onGroup);
    return sha256 === found.sha256;
  });
}
