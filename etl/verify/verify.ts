/**
 * Proves rollup + pending = recompute = sum of deltas, and names every group that is not; repairs on request.
 */
import { type Database, withSession, withTransaction } from "../../db/client.ts";
import { RollbookError } from "../../db/errors.ts";
import { listPartitions } from "../../db/partitions/catalog.ts";
import { requireOwner } from "../../db/roles/owner.ts";
import type { Partition, Settings } from "../../db/schema.ts";
import type { CheckedClosings } from "../closings/verify.ts";
import { remakeCheckpoints } from "./checkpoints.ts";
import type { OnDivergence } from "./divergence.ts";
import type { Checked } from "./groups.ts";
import { checkIdentity } from "./identity.ts";
import { deleteOrphans } from "./orphans.ts";
import { findRecorder, type Recorded } from "./proofs.ts";
import { acknowledge, markStale, raiseAbsentUntil, raiseLoadIds, repairPartition } from "./repair.ts";
import { selectPartitions } from "./selection.ts";
import { proveSlice, type SliceReport } from "./slice.ts";
import {
  type ProofOptions,
  proveCheckpoints,
  proveClosings,
  proveLedger,
  provePartition,
  proveQueue,
} from "./subjects.ts";
import { type TakenOut, takeOutOlder } from "./take_out.ts";

export interface VerifyReport {
  readonly partitions: number;
  readonly invoices: number;
  readonly groups: number;
  readonly divergences: number;
  /** Partitions that were repaired. */
  readonly repaired: readonly string[];
  /** What became of the older statements of moved invoices; null where they were not to be taken out. */
  readonly takenOut: TakenOut | null;
  /** Partitions whose invoices were not looked at for ids under several keys: detached or dropped. */
  readonly withoutIdentity: readonly Pick<Partition, "partition" | "state">[];
  /** What was closed; left out where that was not asked for. */
  readonly closings?: CheckedClosings;
  /** What of all this a slice has proved; left out of a whole verification. */
  readonly slice?: SliceReport;
  /** Whether it is recorded when each part was proved. */
  readonly recorded: Recorded;
  readonly durationMs: number;
}

export interface VerifyOptions {
  readonly database: Database;
  readonly settings: Settings;
  /** Name of the only partition to look at; default: all, and the ledger. */
  readonly partition?: string | undefined;
  /** Look also for invoice ids under several keys: reads all invoices, twice. */
  readonly identity?: boolean | undefined;
  /** Recompute also the digest of each closing from the deltas that were known then. */
  readonly closings?: boolean | undefined;
  /**
   * Prove only what was not proved for longest, and begin nothing after so many milliseconds. Not together with
   * `partition`, `identity` or `repair`.
   */
  readonly sliceMs?: number | undefined;
  /**
   * Rebuild what diverges, and enter what the deltas lack as an adjustment. `newest`, with `identity`: take the
   * older statements of invoices that stand under several keys out, too.
   */
  readonly repair?: boolean | "newest" | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onDivergence?: OnDivergence | undefined;
  readonly onProgress?: ((done: number, of: number, partition: string) => void) | undefined;
}

/**
 * Verifies the warehouse, partition by partition, each in one snapshot, while loads and refreshes go on. A
 * partition whose rollup is wrong becomes `stale`, so that the next refresh rebuilds it. Detached partitions
 * are not in the live tables and are left out. When each part was proved is recorded, if the login may do so.
 *
 * @throws RollbookError `not_found` for a partition that is not there, `usage` for a detached one (and for a
 *   dropped one, from which statements are to be taken out), `permission` to repair without being the owner
 */
export async function verifyWarehouse(options: VerifyOptions): Promise<VerifyReport> {
  const started = performance.now();
  if (isRepair(options)) await requireOwner({ ...options, action: "repair the warehouse" });
  const divergences = { count: 0 };
  const found: OnDivergence = (divergence) => {
    divergences.count += 1;
    options.onDivergence?.(divergence);
  };
  const recorded = await findRecorder(options);
  const verifying = { ...options, found, recorded };
  const { sliceMs: budgetMs } = options;
  const report =
    budgetMs === undefined ? await verifyWhole(verifying) : await verifySlice({ ...verifying, budgetMs });
  const durationMs = Math.round(performance.now() - started);
  return { ...report, divergences: divergences.count, recorded, durationMs };
}

type Findings = Omit<VerifyReport, "divergences" | "recorded" | "durationMs">;

async function verifySlice(
  options: VerifyOptions & ProofOptions & { readonly budgetMs: number },
): Promise<Findings> {
  const { partitions, closings, ...slice } = await proveSlice({
    ...options,
    closings: options.closings === true,
  });
  return { ...NO_IDENTITY, ...sumsOf(partitions), ...(closings && { closings }), repaired: [], slice };
}

async function verifyWhole(options: VerifyOptions & ProofOptions): Promise<Findings> {
  const repair = isRepair(options);
  const selected = await selectPartitions(options);
  if (options.repair === "newest" && options.partition !== undefined) selected.forEach(refuseDropped);
  if (repair) {
    await withTransaction(options, raiseLoadIds);
    await withTransaction(options, raiseAbsentUntil);
  }
  const verified: Verified[] = [];
  for (const [index, { partition, partitionId }] of selected.entries()) {
    const checked = await verifyPartition(options, partitionId);
    if (checked !== undefined) verified.push({ ...checked, partition });
    options.onProgress?.(index + 1, selected.length, partition);
  }
  const whole = !verified.some(({ tablesMissing }) => tablesMissing);
  // The deltas of a table that is missing may still come back.
  if (options.partition === undefined) await verifyLoads(options, repair && whole);
  if (options.partition === undefined && whole) await verifyCheckpoints(options);
  const identity =
    options.identity === true ? await verifyIdentity(options, options.found, whole) : NO_IDENTITY;
  const closings = options.closings === true ? await proveClosings(options) : undefined;
  return {
    ...identity,
    ...(closings && { closings }),
    ...sumsOf(verified),
    repaired: verified.filter(({ repaired }) => repaired).map(({ partition }) => partition),
  };
}

function sumsOf(checked: readonly Checked[]): Pick<VerifyReport, "partitions" | "invoices" | "groups"> {
  return {
    partitions: checked.length,
    invoices: checked.reduce((sum, { invoices }) => sum + invoices, 0),
    groups: checked.reduce((sum, { groups }) => sum + groups, 0),
  };
}

interface Verified extends Checked {
  readonly partition: string;
  readonly repaired: boolean;
}

/** @returns undefined when the partition was detached meanwhile */
async function verifyPartition(
  options: VerifyOptions & ProofOptions,
  partitionId: number,
): Promise<Omit<Verified, "partition"> | undefined> {
  const checked = await provePartition(options, partitionId);
  if (checked === undefined) return undefined;
  if (checked.diverges && !checked.tablesMissing && isRepair(options)) {
    return { ...checked, repaired: await repairPartition(options, partitionId) };
  }
  if (checked.rollupDiverges) await markStale(options, partitionId);
  return { ...checked, repaired: false };
}

/** Checks what belongs to no single partition: the queue and the ledger. */
async function verifyLoads(options: VerifyOptions & ProofOptions, mend: boolean): Promise<void> {
  await proveQueue(options);
  if (isRepair(options)) await withSession(options, deleteOrphans);
  const findings = await proveLedger(options);
  if (mend) await withTransaction(options, (tx) => acknowledge(tx, findings));
}

/** Checkpoints follow from the deltas, so wrong ones are made anew. */
async function verifyCheckpoints(options: VerifyOptions & ProofOptions): Promise<void> {
  const right = await proveCheckpoints(options);
  if (!right && isRepair(options)) await remakeCheckpoints(options);
}

const NO_IDENTITY = { takenOut: null, withoutIdentity: [] } as const;

/** @param whole whether all tables are there, so that statements may be taken out of them */
async function verifyIdentity(
  options: VerifyOptions,
  found: OnDivergence,
  whole: boolean,
): Promise<Pick<VerifyReport, "takenOut" | "withoutIdentity">> {
  const [only] = options.partition === undefined ? [] : await selectPartitions(options);
  const all = only === undefined ? await withSession(options, listPartitions) : [only];
  const withoutIdentity = all
    .filter(({ state }) => state === "detached" || state === "dropped")
    .map(({ partition, state }) => ({ partition, state }));
  const dates = new Set<string>();
  await withSession(options, (session) =>
    checkIdentity(session, only, (divergence) => {
      found(divergence);
      if (divergence.kind !== "identity") return;
      for (const { newest, createdOn } of divergence.statements) if (!newest) dates.add(createdOn);
    }),
  );
  if (options.repair !== "newest" || !whole) return { takenOut: null, withoutIdentity };
  if (dates.size === 0) return { takenOut: NOTHING_OLDER, withoutIdentity };
  return { takenOut: await takeOutOlder({ ...options, only, dates }), withoutIdentity };
}

const NOTHING_OLDER: TakenOut = { loadId: null, statements: 0, closed: [] };

function refuseDropped({ partition, state }: Partition): void {
  if (state !== "dropped") return;
  throw new RollbookError({
    code: "usage",
    message: `the invoices of partition ${partition} were dropped for good, so no statement can be taken out of it; its totals stay as they are.`,
  });
}

function isRepair({ repair }: VerifyOptions): boolean {
  return repair === true || repair === "newest";
}
