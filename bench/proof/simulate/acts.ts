/** The acts that are not loads or refreshes: what other sessions, the operator and the server do. */
import { setTimeout as sleep } from "node:timers/promises";
import { LOCK } from "../../../db/locks.ts";
import { initWarehouse } from "../../../db/migrate.ts";
import { attachPartition } from "../../../db/partitions/attach.ts";
import { ensurePartitions } from "../../../db/partitions/create.ts";
import { closePeriod } from "../../../etl/closings/close.ts";
import { periodOf } from "../../../etl/closings/period.ts";
import { dismissRejects } from "../../../etl/load/dismiss.ts";
import { makeCheckpoints } from "../../../etl/reports/checkpoints.ts";
import { detachRefreshed, dropVerified } from "../../../etl/retire.ts";
import { pruneStatements } from "../../../etl/undo/prune.ts";
import type { Divergence } from "../../../etl/verify/divergence.ts";
import { verifyWarehouse } from "../../../etl/verify/verify.ts";
import { dateOf } from "./content.ts";
import type { Act } from "./history.ts";
import type { Stage } from "./jobs.ts";
import type { OpenRejects } from "./observe.ts";

/**
 * Verifies while everything goes on; what is not as it should be, identities apart.
 *
 * @param repair takes the older statements of invoices under several keys out, too
 */
export async function runVerify(
  { warehouse }: Stage,
  identity: boolean,
  repair?: "newest",
): Promise<{ readonly divergences: readonly Divergence[]; readonly split: readonly string[] }> {
  const divergences: Divergence[] = [];
  const split: string[] = [];
  const { database, settings } = warehouse;
  await verifyWarehouse({
    database,
    settings,
    identity,
    closings: true,
    repair,
    onDivergence: (found) => {
      if (found.kind === "identity") split.push(found.invoiceId);
      else divergences.push(found);
    },
  });
  return { divergences, split };
}

/** The same by slices, of which each proves one part, until all had their turn. */
export async function runSlices({
  warehouse,
}: Stage): Promise<{ readonly divergences: readonly Divergence[] }> {
  const divergences: Divergence[] = [];
  const { database, settings } = warehouse;
  const onDivergence = (found: Divergence) => divergences.push(found);
  let parts = 1;
  for (let done = 0; done < parts; done += 1) {
    const { slice } = await verifyWarehouse({ database, settings, sliceMs: 0, closings: true, onDivergence });
    if (done === 0) parts += slice?.left ?? 0;
  }
  return { divergences };
}

export function runInit({ warehouse }: Stage): Promise<unknown> {
  return initWarehouse({ database: warehouse.database });
}

export function runEnsure({ warehouse }: Stage, day: number): Promise<unknown> {
  const { database, settings } = warehouse;
  return ensurePartitions({ database, granularity: settings.granularity, dates: [dateOf(day)] });
}

export function runClose({ warehouse }: Stage, { day, days }: Act & { do: "close" }): Promise<unknown> {
  const { database, settings } = warehouse;
  const period = periodOf({ from: dateOf(day - days), to: dateOf(day) });
  return closePeriod({ database, settings, period });
}

export function runDismiss({ warehouse }: Stage, { load_id: loadId, reason }: OpenRejects): Promise<unknown> {
  const { database } = warehouse;
  return dismissRejects({ database, loadId, reason, because: "the simulation says so" });
}

export function refuseClosed({ warehouse }: Stage, refuse: boolean): Promise<unknown> {
  return initWarehouse({ database: warehouse.database, refuseClosed: refuse });
}

/** As if all that is in had come two days earlier; unless closings say when it became known. */
export function passTwoDays({ warehouse }: Stage): Promise<unknown> {
  return warehouse.query(
    `with earlier as (
       update warehouse.loads set known_at = known_at - interval '2 days'
       where known_at is not null and not exists (select from warehouse.closings))
     update warehouse.checkpoints set known_at = known_at - interval '2 days'
     where not exists (select from warehouse.closings)`,
  );
}

export function runCheckpoint({ warehouse }: Stage): Promise<unknown> {
  return makeCheckpoints({ database: warehouse.database });
}

/** Forgets what was kept more than a day ago. */
export async function runPrune({ warehouse }: Stage): Promise<void> {
  const { database, settings } = warehouse;
  await initWarehouse({ database, keepStatements: 1 });
  await pruneStatements({ database, settings });
}

/** Moves a partition out of the live tables, back, or away. */
export async function runMove(
  { warehouse }: Stage,
  move: "detach" | "attach" | "drop",
  partition: string,
): Promise<void> {
  const { database, settings } = warehouse;
  switch (move) {
    case "detach":
      await detachRefreshed({ database, partition });
      break;
    case "attach":
      await attachPartition({ database, partition });
      break;
    case "drop":
      await dropVerified({ database, settings, partition });
      break;
  }
}

/** Rows in the order in which loads lock them, or this session were the one that a deadlock ends. */
const HOLD: Readonly<Record<(Act & { do: "hold" })["what"], string>> = {
  pending: "lock table warehouse.venue_day_pending in share mode",
  rollup: "lock table warehouse.venue_day_rollup in share mode",
  invoices: "lock table warehouse.invoices in share mode",
  partitions: "select from warehouse.partitions order by partition for update",
  known_at: `select pg_advisory_xact_lock(${LOCK.knownAt}, 0)`,
};

/** Another session holds a lock for a while. */
export async function runHold({ warehouse, onFault }: Stage, act: Act & { do: "hold" }): Promise<void> {
  const client = await warehouse.database.pool.connect();
  const ignore = () => {};
  client.on("error", ignore);
  let broken = true;
  try {
    await client.query("begin");
    await client.query(HOLD[act.what]);
    await sleep(act.ms);
    await client.query("rollback");
    broken = false;
    onFault(`lock held: ${act.what}`);
  } finally {
    client.off("error", ignore);
    client.release(broken);
  }
}

let triggers = 0;

/**
 * Makes the server raise an error in the first statements that write to a table. A sequence counts them: it
 * is not rolled back with them.
 *
 * @returns what ends it, and tells how often it was raised
 */
export async function raiseErrors(
  { warehouse }: Stage,
  act: Act & { do: "error" },
): Promise<() => Promise<number>> {
  triggers += 1;
  const name = `provoked_${triggers}`;
  await warehouse.query(`create sequence public.${name}`);
  await warehouse.query(`
    create function public.${name}() returns trigger language plpgsql as $$
    begin
      if nextval('public.${name}') <= ${act.times} then
        raise exception 'provoked' using errcode = '${act.state}';
      end if;
      return null;
    end $$`);
  await warehouse.query(
    `create trigger ${name} after insert or update or delete on warehouse.${act.table}
     for each statement execute function public.${name}()`,
  );
  return async () => {
    await warehouse.query(`drop trigger ${name} on warehouse.${act.table}`);
    const [row] = await warehouse.query<{ raised: number }>(
      `select case when is_called then least(last_value, ${act.times})::int else 0 end as raised from public.${name}`,
    );
    await warehouse.query(`drop function public.${name}()`);
    await warehouse.query(`drop sequence public.${name}`);
    return row?.raised ?? 0;
  };
}
