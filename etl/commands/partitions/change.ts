/** Changes the state of several partitions, one after the other, and shows it. */
import { describeUnknown } from "../../../db/partitions/catalog.ts";
import type { PartitionState } from "../../../db/schema.ts";
import { writeJson, writeLine } from "../../output.ts";
import { readFreshness } from "../../reports/status.ts";
import type { Warehouse } from "../../warehouse.ts";
import { type Context, EXIT, usageError } from "../context.ts";
import { withWarehouse } from "../open.ts";

export interface ChangeFlags {
  readonly json?: boolean;
}

/** Returns the state that the partition has now. */
export type Change = (context: Context, warehouse: Warehouse, partition: string) => Promise<PartitionState>;

const SAYING: Readonly<Record<PartitionState, string>> = {
  open: "attached",
  stale: "attached; stale",
  detached: "detached; the reports are without it until it is attached again",
  dropped: "dropped: its invoices are gone, its totals stay",
};

export async function change(
  context: Context,
  names: readonly string[],
  flags: ChangeFlags,
  carryOut: Change,
): Promise<number> {
  return withWarehouse(context, {}, async (warehouse) => {
    await refuseUnknown(context, warehouse, names);
    return changeEach(context, warehouse, names, flags, carryOut);
  });
}

export async function changeEach(
  context: Context,
  warehouse: Warehouse,
  names: readonly string[],
  { json = false }: ChangeFlags,
  carryOut: Change,
): Promise<number> {
  for (const partition of names) {
    const state = await carryOut(context, warehouse, partition);
    if (json) await writeJson(context, { partition, state });
    else await writeLine(context, `${partition}: ${SAYING[state]}`);
  }
  return EXIT.done;
}

/** Of several partitions nothing is changed when one is not there. */
async function refuseUnknown(
  context: Context,
  { database, settings }: Warehouse,
  names: readonly string[],
): Promise<void> {
  const known = await readFreshness({ database, settings, signal: context.signal });
  const missing = names.find((name) => !known.some(({ partition }) => partition === name));
  if (missing === undefined) return;
  throw usageError(describeUnknown(missing, "; nothing was changed"));
}
