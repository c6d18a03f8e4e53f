/** Flags that several verbs have, and the values that they take. */
import { InvalidArgumentError, Option } from "commander";
import { FILE_DATE } from "../drop/name.ts";
import { printable } from "../escape.ts";
import type { RejectLimit } from "../load/task.ts";
import { readRejectLimit } from "../sources/reject_limit.ts";
import { type Context, usageError } from "./context.ts";

export const jsonOption = () => new Option("--json", "one JSON object per line, for programs");

export const syncedOnOption = () =>
  new Option(
    "--synced-on <date>",
    "sync date of these files, whatever their names say; mtime: the date of each file's last change",
  ).argParser(parseSyncDate);

export const recursiveOption = () =>
  new Option("--recursive", "also files in folders below; archive/ and rejected/ get the same folders");

const DEFAULT_SETTLE_SECONDS = 2;

export const settleOption = () =>
  new Option("--settle <seconds>", "a file is complete when its size and time stood still for so long")
    .argParser(parseWhole(0))
    .default(undefined, `ROLLBOOK_SETTLE, or ${DEFAULT_SETTLE_SECONDS}`);

/** How long a file must stand still: as the flag says, or the environment. */
export function settleTimeMs({ environment }: Context, settle: number | undefined): number {
  return (settle ?? readSettle(environment.ROLLBOOK_SETTLE || `${DEFAULT_SETTLE_SECONDS}`)) * 1000;
}

function readSettle(text: string): number {
  try {
    return parseWhole(0)(text);
  } catch {
    throw usageError(`ROLLBOOK_SETTLE is ${printable(text)}. Give whole seconds, for example 2.`);
  }
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

/** An ISO date that exists. */
export function parseDate(text: string): string {
  const time = /^\d{4}-\d\d-\d\d$/.test(text) ? Date.parse(`${text}T00:00:00Z`) : Number.NaN;
  if (Number.isNaN(time) || new Date(time).toISOString().slice(0, 10) !== text || text < "0001-01-02") {
    throw new InvalidArgumentError("Give a date as YYYY-MM-DD, for example 2026-10-05.");
  }
  return text;
}

/** An ISO date, or the word for that of the file itself. */
function parseSyncDate(text: string): string {
  return text === FILE_DATE ? text : parseDate(text);
}

/** A time of day, `HH:MM`. */
export function parseTimeOfDay(text: string): string {
  if (!/^(?:[01]\d|2[0-3]):[0-5]\d$/.test(text)) {
    throw new InvalidArgumentError("Give a time as HH:MM, for example 04:00.");
  }
  return text;
}

/** A share between 0 and 1, and after a plus a number of lines. */
export function parseRejectLimit(text: string): RejectLimit {
  const limit = readRejectLimit(text);
  if (limit === undefined) {
    throw new InvalidArgumentError(
      "Give a number from 0 to 1, for example 0.01 for one percent, or 0.01+3 for three lines in any case.",
    );
  }
  return limit;
}

/** Why somebody takes a load back: a text that is not empty. */
export function requireBecause(because: string | undefined): string {
  if (because === undefined) throw usageError("why? Say it: --because TEXT. The ledger keeps it.");
  if (because.trim() === "") throw usageError("--because is empty. Say why.");
  return because.trim();
}

/** A whole number, at least `least`, and at most `most` where that is given. */
export function parseWhole(least: number, most?: number): (text: string) => number {
  const range = most === undefined ? `, ${least} or more` : ` from ${least} to ${most}`;
  return (text) => {
    const value = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= least && value <= (most ?? value))) {
      throw new InvalidArgumentError(`Give a whole number${range}.`);
    }
    return value;
  };
}
