/** Opens the warehouse for a command, and gives it back whatever happens. */
import { readConfig } from "../../db/connection/config.ts";
import { printable } from "../escape.ts";
import { type Lineage, NO_LINEAGE, openLineage } from "../lineage/lineage.ts";
import { readLineageTarget } from "../lineage/target.ts";
import { note } from "../output.ts";
import {
  type OpenDatabase,
  type OpenOptions,
  openConfigured,
  openWarehouse,
  type Warehouse,
} from "../warehouse.ts";
import type { Context } from "./context.ts";

/** After an interrupt a stop of the embedded server may take this long; then it is cut short, which loses nothing. */
const STOP_WITHIN_MS = 3000;

/** An open warehouse, and who wants to know what is done with it. */
export type FollowedWarehouse = Warehouse & { readonly lineage: Lineage };

/**
 * Runs `work` on the open warehouse as {@link withWarehouse} does, and tells OpenLineage of it where that is asked for. What is wrong with
 * the address is said before anything is opened.
 */
export async function withLineage<T>(
  context: Context,
  options: { readonly create?: boolean },
  work: (warehouse: FollowedWarehouse) => Promise<T>,
): Promise<T> {
  const target = readLineageTarget(context.environment);
  let lineage = NO_LINEAGE;
  return withWarehouse(context, options, (warehouse) => {
    if (target !== undefined) {
      const warn = (message: string) => note(context, `warning: ${printable(message)}`);
      lineage = openLineage({ ...warehouse, target, signal: context.signal, warn });
    }
    return work({ ...warehouse, lineage });
  }).finally(() => lineage.close());
}

/** Runs `work` on the open warehouse, and closes it whatever happens. */
export async function withWarehouse<T>(
  context: Context,
  options: { readonly create?: boolean; readonly reportsOnly?: boolean },
  work: (warehouse: Warehouse) => Promise<T>,
): Promise<T> {
  const warehouse = await opening(context, (where) => openWarehouse({ ...where, ...options }));
  if (warehouse.created) {
    const { timeZone, granularity, earliest } = warehouse.settings;
    note(
      context,
      `made a warehouse with the defaults: time zone ${timeZone}, one partition per ${granularity}, invoices from ${earliest} on. Until something is loaded, rollbook init --time-zone ... changes them.`,
    );
  }
  return closing(context, warehouse, () => work(warehouse));
}

/** The same for a database that may have no warehouse yet. */
export async function withDatabase<T>(
  context: Context,
  work: (open: OpenDatabase) => Promise<T>,
): Promise<T> {
  const open = await opening(context, openConfigured);
  return closing(context, open, () => work(open));
}

/** What the embedded server is doing is shown when it takes longer than this. */
const SHOW_AFTER_MS = 1000;

async function opening<T>(context: Context, open: (options: OpenOptions) => Promise<T>): Promise<T> {
  const config = readConfig({ environment: context.environment, folder: context.folder });
  let timer: NodeJS.Timeout | undefined;
  const onProgress = (message: string) => {
    clearTimeout(timer);
    timer = setTimeout(() => note(context, printable(message)), SHOW_AFTER_MS);
  };
  try {
    const onWait = ({ message }: { readonly message: string }) => note(context, printable(message));
    return await open({ config, signal: context.signal, onProgress, onWait });
  } finally {
    clearTimeout(timer);
  }
}

async function closing<T>(context: Context, open: OpenDatabase, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } finally {
    await open.close(context.signal.aborted ? { withinMs: STOP_WITHIN_MS } : {});
  }
}
