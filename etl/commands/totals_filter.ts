/** Flags of the verbs that ask for totals: which of them. */
import type { Command } from "commander";
import { parseDate } from "./flags.ts";

export function addTotalsFilter(command: Command): Command {
  return command
    .option("--from <date>", "first creation date (inclusive)", parseDate)
    .option("--to <date>", "end of the creation dates (exclusive)", parseDate)
    .option("--venue <id>", "only this venue")
    .option(
      "--as-known-on <moment>",
      "what the reports showed then: a date (means its end) or a timestamp, in the warehouse's zone unless it has an offset",
    );
}
