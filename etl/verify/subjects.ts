/** The parts of the warehouse that are proved by themselves. How each proof ended is recorded, if the login may do so. */
import { type Database, type Transaction, withSession, withTransaction } from "../../db/client.ts";
import { LOCK, shareLockUntilEnd } from "../../db/locks.ts";
import { holdDeltas } from "../../db/partitions/tables.ts";
import type { Settings } from "../../db/schema.ts";
import { type CheckedClosings, checkClosings } from "../closings/verify.ts";
import { checkCheckpoints } from "./checkpoints.ts";
import type { OnDivergence } from "./divergence.ts";
import { type Checked, checkPartition } from "./groups.ts";
import { checkLedger, type LedgerFindings } from "./ledger.ts";
import { checkOrphans } from "./orphans.ts";
import { beginProof, type Recorded, recordProof, type Subject } from "./proofs.ts";
import { findLivePartition } from "./selection.ts";

export interface ProofOptions {
  readonly database: Database;
  readonly settings: Settings;
  readonly recorded: Recorded;
  readonly found: OnDivergence;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Proves all that there is to a partition alone: its tables, groups and control totals.
 *
 * @returns undefined when the partition was detached meanwhile
 */
export async function provePartition(
  options: ProofOptions,
  partitionId: number,
): Promise<Checked | undefined> {
  const { found, count } = counting(options.found);
  return withTransaction(options, async (tx) => {
    await shareLockUntilEnd(tx, LOCK.verifyPartition, partitionId);
    const current = await findLivePartition(tx, partitionId);
    if (current === undefined) return undefined;
    const begun = await beginProof(tx);
    const checked = await checkPartition(tx, options.settings, current, found);
    const subject = { subject: "partition", partitionId } as const;
    await recordProof(tx, options.recorded, subject, { ...begun, diverged: count() > 0 });
    return checked;
  });
}

/** Proves that what is pending belongs to partitions. That is quick, so it is not recorded. */
export async function proveQueue(options: ProofOptions): Promise<void> {
  await withSession(options, (session) => checkOrphans(session, options.found));
}

/** Proves the entries of the ledger by what there is of each load. */
export function proveLedger(options: ProofOptions): Promise<LedgerFindings> {
  return proveAtOnce(options, "ledger", checkLedger);
}

/** Proves the checkpoints. @returns whether they are right */
export async function proveCheckpoints(options: ProofOptions): Promise<boolean> {
  const { found, count } = counting(options.found);
  await proveAtOnce({ ...options, found }, "checkpoints", (tx, noted) =>
    checkCheckpoints(tx, options.settings, noted),
  );
  return count() === 0;
}

/** Proves the closings. If one cannot be proved, because deltas are not in the database, nothing is recorded. */
export function proveClosings(options: ProofOptions): Promise<CheckedClosings> {
  return proveAtOnce(
    options,
    "closings",
    (tx, noted) => checkClosings(tx, (finding) => noted({ kind: "closing", ...finding })),
    ({ unprovable }) => unprovable.length === 0,
  );
}

/** @param isWhole whether all was proved that was to be; where something diverges that does not matter */
async function proveAtOnce<T>(
  options: ProofOptions,
  subject: Exclude<Subject["subject"], "partition">,
  check: (tx: Transaction, found: OnDivergence) => Promise<T>,
  isWhole: (checked: T) => boolean = () => true,
): Promise<T> {
  const { found, count } = counting(options.found);
  const { begun, checked } = await withTransaction(
    { ...options, isolation: "repeatable read" },
    async (tx) => {
      // Before the first query: the snapshot must be one from under this lock.
      await holdDeltas(tx);
      return { begun: await beginProof(tx), checked: await check(tx, found) };
    },
  );
  const diverged = count() > 0;
  if (diverged || isWhole(checked)) {
    // With the snapshot of what was read it would fail where another verification has recorded meanwhile.
    await withTransaction(options, (tx) =>
      recordProof(tx, options.recorded, { subject }, { ...begun, diverged }),
    );
  }
  return checked;
}

function counting(onFound: OnDivergence): { readonly found: OnDivergence; readonly count: () => number } {
  let count = 0;
  const found: OnDivergence = (divergence) => {
    count += 1;
    onFound(divergence);
  };
  return { found, count: () => count };
}
