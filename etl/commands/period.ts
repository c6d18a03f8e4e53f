/** The period that a verb is about: by its name, or by its dates. */
import type { Command } from "commander";
import { type Period, parsePeriod, periodOf } from "../closings/period.ts";
import { printable } from "../escape.ts";
import { usageError } from "./context.ts";
import { parseDate, refuseEmptyRange } from "./flags.ts";

export interface PeriodFlags {
  readonly from?: string;
  readonly to?: string;
}

export function addPeriod(command: Command): Command {
  return command
    .argument(
      "[period]",
      "a month (2026-10), quarter (2026-Q3), year (2026), week (2026-W41) or date (2026-10-05)",
    )
    .option("--from <date>", "instead of a name: first creation date (inclusive)", parseDate)
    .option("--to <date>", "instead of a name: end of the creation dates (exclusive)", parseDate);
}

export function readPeriod(name: string | undefined, { from, to }: PeriodFlags): Period {
  refuseEmptyRange({ from, to });
  if (name === undefined) {
    if (from !== undefined && to !== undefined) return periodOf({ from, to });
    throw usageError("which period? Give its name, for example 2026-10, or --from <date> and --to <date>.");
  }
  if (from !== undefined || to !== undefined) {
    throw usageError("the period has a name and dates. Give one of them.");
  }
  const period = parsePeriod(name);
  if (period !== undefined) return period;
  throw usageError(
    `${printable(name)} is no period. Give a month (2026-10), a quarter (2026-Q3), a year (2026), a week (2026-W41), a date (2026-10-05), or --from <date> and --to <date>.`,
  );
}
