/** Which entries of the ledger can be taken back, and what their states become. */
import { desc, eq, sql } from "drizzle-orm";
import type { Transaction } from "../../db/client.ts";
import { type ErrorCode, errorState, RollbookError, SQLSTATE } from "../../db/errors.ts";
import { LOCK, lockUntilEnd } from "../../db/locks.ts";
import { partitionOf } from "../../db/partitions/ranges.ts";
import { refuseOthers } from "../../db/roles/steward.ts";
import { absences, type Load, loads, type Settings } from "../../db/schema.ts";
import { TAKEN_OUT } from "../load/absence.ts";
import { beginEntry } from "../load/ledger.ts";

export type Undoable = "load" | "undo" | "repair";

export interface UndoClaim {
  /** The entry that is taken back. */
  readonly target: Load;
  readonly kind: Undoable;
  /** The load, or the repair, that counts no longer, or counts again. */
  readonly subject: Load;
  /** Numbers of its entries: its own, and those of its retries. */
  readonly family: readonly number[];
  /** Partitions in which its entries changed a count or total. */
  readonly partitions: readonly string[];
  /** Whether its entries state absences. Then what is said of other invoices of the groups may stand, too. */
  readonly hasAbsences: boolean;
  /** Whether what was said of its invoices is forgotten, and is read from an archive. */
  readonly isPruned: boolean;
}

/**
 * Gives the entries that an undo concerns their new states. Until the transaction ends nobody else takes
 * statements out or forgets them, or decides about rejects of the load.
 *
 * @throws RollbookError `permission`, `not_found`, `usage`, `statements_pruned`
 */
export async function claimUndo(
  tx: Transaction,
  loadId: number,
  { hasArchive = false }: { readonly hasArchive?: boolean } = {},
): Promise<UndoClaim> {
  await refuseOthers(tx, "undo loads");
  await lockUntilEnd(tx, LOCK.statements);
  const found = await readEntry(tx, loadId);
  const subject = await findSubject(tx, found);
  await lockUntilEnd(tx, LOCK.decideRejects, subject.loadId);
  const target = await holdEntry(tx, loadId);
  const kind = await findKind(tx, target, subject);
  const isPruned = await arePruned(tx, subject, { kind, hasArchive });
  if (kind === "undo") await refuseLoadedAgain(tx, target, subject);
  const retries = await tx.db
    .select({ loadId: loads.loadId, partitions: loads.partitions })
    .from(loads)
    .where(eq(loads.retryOf, subject.loadId));
  const family = [subject.loadId, ...retries.map(({ loadId }) => loadId)];
  const partitions = [...subject.partitions, ...retries.flatMap(({ partitions }) => partitions)];
  await tx.db.execute(sql`
    update ${loads} set status = 'undone' where load_id = ${target.loadId} or retry_of = ${target.loadId}`);
  if (kind === "undo") await countAgain(tx, { target, subject, family });
  const hasAbsences = await haveAbsences(tx, family);
  return { target, kind, subject, family, partitions, hasAbsences, isPruned };
}

async function haveAbsences(tx: Transaction, family: readonly number[]): Promise<boolean> {
  const found = await tx.db.execute(
    sql`select from ${absences} where load_id = any (${sql.param(family)}::integer[]) limit 1`,
  );
  return found.rows.length > 0;
}

/** Takes the states back, where a load is to be replaced by a drop that is not loaded. */
export async function releaseUndo(tx: Transaction, claim: UndoClaim): Promise<void> {
  await countAgain(tx, claim);
}

/** A load of the same drop that is at work is waited for: the unique index on loaded drops decides. */
async function countAgain(
  tx: Transaction,
  { target, subject, family }: Pick<UndoClaim, "target" | "subject" | "family">,
): Promise<void> {
  await tx.db.execute(sql`savepoint count_again`);
  try {
    await tx.db.execute(sql`
      update ${loads} set status = case when retry_of is null then 'loaded' else 'retry' end
      where load_id = any (${sql.param(family)}::integer[])`);
  } catch (error) {
    if (errorState(error) !== SQLSTATE.uniqueViolation) throw error;
    await tx.db.execute(sql`rollback to savepoint count_again`);
    await refuseLoadedAgain(tx, target, subject);
    throw error;
  }
}

/**
 * Enters the undo in the ledger. It is not known before `enterLedger`.
 *
 * @returns its number
 */
export async function enterUndo(
  tx: Transaction,
  { target, subject }: UndoClaim,
  because: string,
): Promise<number> {
  return beginEntry(tx, {
    fileName: `undo ${target.loadId} (${subject.fileName})`,
    status: "undo",
    undoOf: target.loadId,
    because,
    decidedBy: sql`session_user`,
    startedAt: sql`clock_timestamp()`,
  });
}

async function readEntry(tx: Transaction, loadId: number): Promise<Load> {
  return present(loadId, await tx.db.select().from(loads).where(eq(loads.loadId, loadId)));
}

/** The same, as it stays until the transaction ends. */
async function holdEntry(tx: Transaction, loadId: number): Promise<Load> {
  const query = tx.db.select().from(loads).where(eq(loads.loadId, loadId));
  return present(loadId, await query.for("no key update"));
}

function present(loadId: number, [entry]: readonly Load[]): Load {
  if (entry !== undefined) return entry;
  throw refusal("not_found", `there is no load ${loadId}. List them with: rollbook loads`);
}

/** Of an undo the load that it took back; else the entry itself. */
async function findSubject(tx: Transaction, entry: Load): Promise<Load> {
  return entry.undoOf === null ? entry : findSubject(tx, await readEntry(tx, entry.undoOf));
}

/** @throws RollbookError `usage` where the entry cannot be taken back */
async function findKind(tx: Transaction, target: Load, subject: Load): Promise<Undoable> {
  const { loadId, status, fileName } = target;
  switch (status) {
    case "loaded":
      return "load";
    case "repair":
      if (fileName === TAKEN_OUT) return "repair";
      throw refusal(
        "usage",
        `${loadId} is a repair of totals and of the ledger, which changed no invoice, so there is nothing to undo.`,
      );
    case "undo":
      if (target.undoOf !== subject.loadId) {
        throw refusal(
          "usage",
          `${loadId} took an undo back, so that load ${subject.loadId} counts again. To take that back, undo the load: rollbook undo ${subject.loadId}`,
        );
      }
      if (subject.retryOf === null && subject.fileName === TAKEN_OUT) {
        throw refusal(
          "usage",
          `${loadId} brought back what a repair had taken out. To take it out again, run: rollbook verify --identity --repair newest`,
        );
      }
      return "undo";
    case "undone": {
      const undoer = await findUndoer(tx, loadId);
      throw refusal(
        "usage",
        `${loadId} is undone already, by ${undoer}. To take that back, run: rollbook undo ${undoer}`,
      );
    }
    case "retry":
      throw refusal(
        "usage",
        `${loadId} read lines of load ${target.retryOf} again, and is undone together with it: rollbook undo ${target.retryOf}`,
      );
    case "rejected":
    case "failed":
      throw refusal(
        "usage",
        `load ${loadId} is ${status}, so nothing of its file counts, and there is nothing to undo.`,
      );
  }
}

async function findUndoer(tx: Transaction, loadId: number): Promise<string> {
  const [undoer] = await tx.db
    .select({ loadId: loads.loadId })
    .from(loads)
    .where(
      sql`${loads.undoOf} = (select coalesce(${loads.retryOf}, load_id) from ${loads} where load_id = ${loadId})`,
    )
    .orderBy(desc(loads.loadId))
    .limit(1);
  return String(undoer?.loadId ?? "an undo that the ledger does not have");
}

/**
 * Whether some of what others said of its invoices is forgotten. It must be known, all of it, or be in an archive.
 *
 * @throws RollbookError `statements_pruned`
 */
async function arePruned(
  tx: Transaction,
  { loadId, knownAt }: Load,
  { kind, hasArchive }: { readonly kind: Undoable; readonly hasArchive: boolean },
): Promise<boolean> {
  const { rows } = await tx.db.execute<{ since: string; pruned: boolean }>(sql`
    select statements_kept_since::text as since, ${knownAt}::timestamptz > statements_kept_since is not true as pruned
    from warehouse.settings`);
  const [row] = rows;
  if (row?.pruned !== true) return false;
  if (hasArchive && kind !== "undo") return true;
  const remedy =
    kind === "undo"
      ? "Load its file again instead: rollbook load FILE"
      : `If the files of then are still there: rollbook undo ${loadId} --from-archive FOLDER`;
  throw refusal(
    "statements_pruned",
    `${kind === "undo" ? `the undo of ${loadId}` : loadId} cannot be undone: what other loads said of its invoices is kept of loads since ${row.since} only (rollbook init --keep-statements), and it is older. ${remedy}`,
  );
}

/** Only one load of a drop can count. */
async function refuseLoadedAgain(tx: Transaction, target: Load, { loadId, fileName }: Load): Promise<void> {
  const { rows } = await tx.db.execute<{ load_id: number }>(sql`
    select again.load_id
    from ${loads} l
    join ${loads} again on again.sha256 = l.sha256 and again.synced_on = l.synced_on
      and again.venue_id is not distinct from l.venue_id and again.status = 'loaded'
    where l.load_id = ${loadId}`);
  const [again] = rows;
  if (again === undefined) return;
  throw refusal(
    "usage",
    `undo ${target.loadId} cannot be taken back: ${fileName} was loaded again, as load ${again.load_id}. Undo that load first: rollbook undo ${again.load_id}`,
  );
}

/** The partitions of creation dates. */
export function namesOf({ granularity }: Settings, dates: readonly string[]): readonly string[] {
  return dates.map((date) => partitionOf(granularity, date).partition);
}

export function refusal(code: ErrorCode, message: string): RollbookError {
  return new RollbookError({ code, message });
}
