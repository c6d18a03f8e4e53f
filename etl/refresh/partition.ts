/** Refreshes one partition, under its lock. */
import pg from "pg";
import { type Database, type Transaction, withTransaction } from "../../db/client.ts";
import { LOCK, lockStatement } from "../../db/locks.ts";
import { byKey, PROBE_BY_KEY } from "../../db/plans.ts";
import type { Partition } from "../../db/schema.ts";
import { applyPending } from "./apply.ts";
import { rebuildRollup } from "./rebuild.ts";
import { NOTHING_WRITTEN, type RefreshReport, type Written } from "./report.ts";
import { type Choice, type Counted, type Plan, planRefresh } from "./strategy.ts";
import { countPending, findTargets, type Target } from "./targets.ts";

const OPENING = ["set local synchronous_commit = off", ...PROBE_BY_KEY];

/**
 * Refreshes one partition in a transaction of its own. Others that want the same partition wait for its lock.
 */
export async function refreshPartition(
  options: Choice & {
    readonly database: Database;
    readonly target: Target;
    readonly signal: AbortSignal | undefined;
  },
): Promise<RefreshReport> {
  const { target } = options;
  const opening = [...OPENING, lockStatement(LOCK.refreshPartition, target.partition.partitionId)];
  return withTransaction({ ...options, opening }, (tx) =>
    refreshProbing(tx, target.partition, options, target),
  );
}

/**
 * Finds the partition of a name and refreshes it, in one transaction: who refreshes only one spares the round trips
 * of counting before.
 *
 * @returns undefined where it is detached
 * @throws RollbookError `not_found`
 */
export async function refreshNamed(
  options: Choice & {
    readonly database: Database;
    readonly name: string;
    readonly signal: AbortSignal | undefined;
  },
): Promise<RefreshReport | undefined> {
  const { name, strategy } = options;
  const isNamed = `partition = ${pg.escapeLiteral(name)}`;
  const opening = [
    ...OPENING,
    `select pg_advisory_xact_lock(${LOCK.refreshPartition}, partition_id) from warehouse.partitions where ${isNamed}`,
  ];
  return withTransaction({ ...options, opening }, async (tx) => {
    const [target] = await findTargets(tx, { partitions: [name], strategy });
    if (target === undefined || target.state === "detached") return undefined;
    return refreshProbing(tx, target.partition, options, target);
  });
}

/** Refreshes a partition in a transaction that holds its refresh lock. */
export async function refreshLocked(tx: Transaction, partition: Partition): Promise<RefreshReport> {
  return byKey(tx, () => refreshProbing(tx, partition, { strategy: "auto", explicit: true }));
}

/** @param before what was counted before the lock was taken, if anything was */
async function refreshProbing(
  tx: Transaction,
  partition: Partition,
  choice: Choice,
  before?: Counted,
): Promise<RefreshReport> {
  const started = performance.now();
  const asPlanned = before && (await applyAsPlanned(tx, partition, planRefresh(before, choice)));
  const done = asPlanned ?? (await carryOut(tx, partition, await planLocked(tx, partition, choice)));
  const durationMs = Math.round(performance.now() - started);
  return { partition: partition.partition, ...done, durationMs };
}

/**
 * Applies deltas as they were planned before the lock. That is the usual case, and it saves the count under
 * the lock.
 *
 * @returns undefined for another plan, and where nothing was there to apply: then the partition is planned
 *   again
 */
async function applyAsPlanned(
  tx: Transaction,
  partition: Partition,
  plan: Plan,
): Promise<(Plan & Written) | undefined> {
  if (plan.method !== "delta") return undefined;
  const applied = await applyOrRebuild(tx, partition, plan);
  return applied.changes > 0 ? applied : undefined;
}

/** A partition that is gone is planned like one that is detached. */
const GONE: Counted = { state: "detached", changes: 0, invoices: 0 };

async function planLocked(tx: Transaction, { partition }: Partition, choice: Choice): Promise<Plan> {
  const [counted = GONE] = await countPending(tx, [partition]);
  return planRefresh(counted, choice);
}

async function carryOut(tx: Transaction, partition: Partition, plan: Plan): Promise<Plan & Written> {
  switch (plan.method) {
    case "none":
      return { ...plan, ...NOTHING_WRITTEN };
    case "rebuild":
      return { ...plan, ...(await rebuildRollup(tx, partition)) };
    case "delta":
      return applyOrRebuild(tx, partition, plan);
  }
}

/**
 * Takes what is pending into the rollup. If that leaves a group with fewer invoices than none, or with euros
 * and no invoice, somebody changed rollup or queue by hand. Then the partition is rebuilt in the same
 * transaction, and the report says so.
 */
async function applyOrRebuild(tx: Transaction, partition: Partition, plan: Plan): Promise<Plan & Written> {
  const { impossible, ...written } = await applyPending(tx, partition);
  if (impossible === 0) return { ...plan, ...written };
  const reason =
    `rollup and pending changes contradict each other in ${impossible} groups, so they were changed by hand: ` +
    "rebuilt from the source; run rollbook verify";
  const rebuilt = await rebuildRollup(tx, partition);
  return { ...plan, method: "rebuild", reason, ...rebuilt, changes: written.changes + rebuilt.changes };
}
