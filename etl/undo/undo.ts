/**
 * Takes an entry of the ledger back. After the undo of a load the warehouse is what it would be had the load
 * never come: for each invoice of which it says something, the newest statement of the other loads stands, or
 * the invoice is gone. See docs/design.md, "Undo".
 */
import { sql } from "drizzle-orm";
import { type Database, type Transaction, withTransaction } from "../../db/client.ts";
import { RollbookError } from "../../db/errors.ts";
import { holdPartitions, isOpen } from "../../db/partitions/catalog.ts";
import { withRetries } from "../../db/retry.ts";
import { loads, type Settings } from "../../db/schema.ts";
import { openingIn, requireSettings } from "../../db/settings.ts";
import { findRestated } from "../closings/restated_by_load.ts";
import { enterLedger } from "../load/ledger.ts";
import { type Archive, readArchive } from "./archive.ts";
import { claimUndo, enterUndo, namesOf, type Undoable, type UndoClaim } from "./claim.ts";
import { findGroups, lockInvoices, refuseCause } from "./lock.ts";
import { tryRestore } from "./restore.ts";
import { settle } from "./settle.ts";
import type { Settled } from "./settled.ts";
import { makeTables, type Range, readGroupDates, readRanges } from "./tables.ts";

/** Steps of an undo, in their order. `committed` is reported when the transaction has ended. */
export const UNDO_STEPS = ["claim", "find", "lock", "settle", "commit", "committed"] as const;
export type UndoStep = (typeof UNDO_STEPS)[number];

export interface UndoOptions {
  readonly database: Database;
  readonly settings: Settings;
  /** The entry of the ledger to take back: a load, an undo of a load, or a repair that took invoices out. */
  readonly loadId: number;
  /** Why, for the ledger. */
  readonly because: string;
  /** Where the files of loads are; read where what they said is forgotten. Default: then the undo is refused. */
  readonly archive?: Archive | undefined;
  /** Changes nothing, and reports what would change; default false. */
  readonly dryRun?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onStep?: ((step: UndoStep) => void) | undefined;
}

export interface UndoReport extends Settled {
  /** Number of the undo in the ledger; null: a dry run. */
  readonly loadId: number | null;
  readonly undoOf: number;
  /** What was taken back. */
  readonly undone: Undoable;
  /** Of the load, or of the entry that was taken back. */
  readonly fileName: string;
}

/**
 * Takes back a load, an undo or a repair, in one transaction. After a deadlock or a lost connection it is tried
 * again as a whole. Loads and refreshes go on meanwhile; a load that meets the same invoices waits, as for
 * another load.
 *
 * @throws RollbookError `permission`, `not_found`, `usage` where the entry cannot be taken back,
 *   `statements_pruned` where what other loads say of its invoices is not known any more, `partition_closed`
 */
export async function undo(options: UndoOptions): Promise<UndoReport> {
  const { signal, onStep, settings } = options;
  // As for a load: its zone is that of times without an offset.
  const opening = openingIn(settings);
  const sent: UndoReport[] = [];
  const report = await withRetries({ signal }, () =>
    withTransaction({ ...options, opening }, async (tx) => {
      const committed = await findCommitted(tx, options, sent);
      if (committed !== undefined) return committed;
      const done = await undoOnce(tx, options);
      sent.push(done);
      return done;
    }),
  );
  onStep?.("committed");
  return report;
}

/** What an earlier attempt committed although it got no answer, if one did. */
async function findCommitted(
  tx: Transaction,
  { loadId, because }: UndoOptions,
  sent: readonly UndoReport[],
): Promise<UndoReport | undefined> {
  if (sent.length === 0) return undefined;
  const entries = await tx.db.execute<{ load_id: number }>(
    sql`select load_id from ${loads} where undo_of = ${loadId} and because = ${because}`,
  );
  return sent.find((report) => entries.rows.some(({ load_id }) => load_id === report.loadId));
}

async function undoOnce(tx: Transaction, options: UndoOptions): Promise<UndoReport> {
  const { loadId, because, archive, dryRun = false, onStep } = options;
  await tx.db.execute(sql`savepoint undo`);
  onStep?.("claim");
  const claim = await claimUndo(tx, loadId, { hasArchive: archive !== undefined });
  const undoId = await enterUndo(tx, claim, because);
  const readForgotten =
    claim.isPruned && archive !== undefined
      ? () => readArchive(tx, claim, { ...options, archive })
      : undefined;
  const settled = await takeBack(tx, claim, { ...options, undoId, readForgotten });
  if (dryRun) await tx.db.execute(sql`rollback to savepoint undo`);
  else {
    onStep?.("commit");
    await enterSettled(tx, undoId, settled);
  }
  return reportUndo(claim, settled, dryRun ? null : undoId);
}

export function reportUndo(claim: UndoClaim, settled: Settled, loadId: number | null): UndoReport {
  const { target, kind: undone, subject } = claim;
  return { loadId, undoOf: target.loadId, undone, fileName: subject.fileName, ...settled };
}

/** Enters what an undo came to in the ledger, as one of the last statements of its transaction. */
export async function enterSettled(tx: Transaction, undoId: number, settled: Settled): Promise<void> {
  await enterLedger(tx, undoId, { ...settled.rows, partitions: [...settled.partitions] });
}

/** Its locks come in the order of a load's: ledger entry, partitions, invoices by key, `known_at`. */
export async function takeBack(
  tx: Transaction,
  claim: UndoClaim,
  options: Pick<UndoOptions, "settings" | "onStep"> & {
    readonly undoId: number;
    /** Reads what is forgotten, once the groups are known. */
    readonly readForgotten?: (() => Promise<void>) | undefined;
    /** Their partitions are held already. */
    readonly heldDates?: readonly string[];
  },
): Promise<Settled> {
  const { settings, onStep, undoId, readForgotten, heldDates = [] } = options;
  onStep?.("find");
  await makeTables(tx);
  await findGroups(tx, claim);
  await readForgotten?.();
  await refuseCause(tx, claim);
  onStep?.("lock");
  const names = [...claim.partitions, ...namesOf(settings, await readGroupDates(tx))];
  const held = namesOf(settings, heldDates);
  const ranges = await holdOpen(tx, { settings, claim, held }, names);
  const entered = { ...claim, undoId };
  let settled = await tryRestore(tx, entered, ranges);
  if (settled === undefined) await lockInvoices(tx, claim, ranges);
  onStep?.("settle");
  settled ??= await settle(tx, entered, ranges);
  const restated = await findRestated(tx, { loadId: undoId, partitions: settled.partitions });
  return { ...settled, ...(restated.length > 0 && { restated }) };
}

/**
 * Keeps partitions from being closed until the transaction ends. Where absences cease to count or count again,
 * nobody else may be at work in them.
 *
 * @returns the dates that they hold, in as few ranges as can be
 * @throws RollbookError `partition_closed`
 */
async function holdOpen(
  tx: Transaction,
  options: Pick<UndoOptions, "settings"> & { readonly claim: UndoClaim; readonly held: readonly string[] },
  names: readonly string[],
): Promise<readonly Range[]> {
  const { settings, claim } = options;
  const wanted = [...new Set(names)].filter((name) => !options.held.includes(name));
  const found = await holdPartitions(tx, wanted, { alone: claim.hasAbsences });
  await requireSettings(tx, settings);
  if (found === undefined) {
    throw new RollbookError({
      code: "partition_closed",
      message: `${claim.target.loadId} cannot be undone: the catalog has lost partitions that it has invoices in. See which: rollbook verify`,
    });
  }
  const closed = found.filter((partition) => !isOpen(partition));
  if (closed.length > 0) {
    const list = closed.map(({ partition, state }) => `${partition} is ${state}`).join(", ");
    throw new RollbookError({
      code: "partition_closed",
      message: `${claim.target.loadId} cannot be undone: it has invoices in partitions that are closed (${list}). Attach those that are detached, then run it again: rollbook partitions attach PARTITION. Those of a dropped partition are gone for good.`,
    });
  }
  return readRanges(tx, names);
}
