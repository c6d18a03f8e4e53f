/** What a command gets: where it runs, and how it opens the warehouse and gives it back. */
import { resolve } from "node:path";
import { InvalidArgumentError, Option } from "commander";
import { readConfig } from "../../db/connection/config.ts";
import type { Environment } from "../../db/connection/environment.ts";
import { RollbookError } from "../../db/errors.ts";
import { printable } from "../escape.ts";
import { note, type Streams } from "../output.ts";
import {
  type OpenDatabase,
  type OpenOptions,
  openConfigured,
  openWarehouse,
  type Warehouse,
} from "../warehouse.ts";
import type { VerbKind } from "./kind.ts";

export const EXIT = { done: 0, failed: 1, usage: 2, rejected: 3 } as const;

export interface Context extends Streams {
  readonly environment: Environment;
  /** The folder that paths are relative to. */
  readonly folder: string;
  /** Aborts at Ctrl-C, SIGTERM, or the end of the parent. */
  readonly signal: AbortSignal;
  /** Takes the kind of the verb that begins to run. */
  readonly begin: (kind: VerbKind) => void;
  /** Takes the exit code of the verb that ran. */
  readonly finish: (exitCode: number) => void;
  /** Ends this process, too, when its parent is gone. */
  readonly endWithParent: () => void;
}

/** After an interrupt a stop of the embedded server may take this long; then it is cut short, which loses nothing. */
const STOP_WITHIN_MS = 3000;

/** Runs `work` on the open warehouse, and closes it whatever happens. */
export async function withWarehouse<T>(
  context: Context,
  options: { readonly create?: boolean; readonly reportsOnly?: boolean },
  work: (warehouse: Warehouse) => Promise<T>,
): Promise<T> {
  const warehouse = await opening(context, (where) => openWarehouse({ ...where, ...options }));
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

/** What the embedded server is busy with is told when it takes longer than this. */
const TELL_AFTER_MS = 1000;

async function opening<T>(context: Context, open: (options: OpenOptions) => Promise<T>): Promise<T> {
  const config = readConfig({ environment: context.environment, folder: context.folder });
  let timer: NodeJS.Timeout | undefined;
  const onProgress = (message: string) => {
    clearTimeout(timer);
    timer = setTimeout(() => note(context, printable(message)), TELL_AFTER_MS);
  };
  try {
    return await open({ config, signal: context.signal, onProgress });
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

export function resolvePath(context: Context, path: string): string {
  return resolve(context.folder, path);
}

export function usageError(message: string): RollbookError {
  return new RollbookError({ code: "usage", message });
}

/** Refuses dates that hold nothing. */
export function refuseEmptyRange({
  from,
  to,
}: {
  readonly from?: string | undefined;
  readonly to?: string | undefined;
}): void {
  if (from === undefined || to === undefined || from < to) return;
  throw usageError(`--from ${from} is not before --to ${to}; --to is the first date that no longer counts.`);
}

export const jsonOption = () => new Option("--json", "one JSON object per line, for programs");

/** An ISO date that exists. */
export function parseDate(text: string): string {
  const time = /^\d{4}-\d\d-\d\d$/.test(text) ? Date.parse(`${text}T00:00:00Z`) : Number.NaN;
  if (Number.isNaN(time) || new Date(time).toISOString().slice(0, 10) !== text || text < "0001-01-02") {
    throw new InvalidArgumentError("Give a date as YYYY-MM-DD, for example 2026-10-05.");
  }
  return text;
}

/** A share between 0 and 1. */
export function parseShare(text: string): number {
  const share = /^\d*\.?\d+$|^\d+\.$/.test(text) ? Number(text) : Number.NaN;
  if (!(share >= 0 && share <= 1)) {
    throw new InvalidArgumentError("Give a number from 0 to 1, for example 0.01 for one percent.");
  }
  return share;
}

/** A whole number, at least `least`. */
export function parseWhole(least: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= least)) throw new InvalidArgumentError(`Give a whole number, ${least} or more.`);
    return value;
  };
}
