import type { Command } from "commander";
import type { MissingSyncDate, VenueActivity } from "../../db/schema.ts";
import { writeJson, writeLine } from "../output.ts";
import { readSilence, type Silence } from "../reports/silence.ts";
import { formatMissingSyncDates, formatSilentVenues } from "../terminal/silence.ts";
import { widthOf } from "../terminal/width.ts";
import { type Context, EXIT } from "./context.ts";
import { jsonOption, parseWhole } from "./flags.ts";
import { declareKind } from "./kind.ts";
import { withWarehouse } from "./open.ts";

interface Flags {
  readonly days?: number;
  readonly forget?: number;
  readonly fail?: boolean;
  readonly json?: boolean;
}

/** A venue that closed, and a file that will never come, are not told for ever. */
const DEFAULT_FORGET_DAYS = 90;

export function defineSilent(verb: Command, context: Context): void {
  declareKind(verb, "reads")
    .description(
      'What should have come and did not, as of today: venues of which nothing new has come for more than three times the days that are typical of them, and at least two days; and sync dates of which a source that else comes daily has no loaded file. How it is counted: docs/design.md, "Silence".',
    )
    .option(
      "--days <n>",
      "venues that have been silent for at least so many days, whatever their rhythm",
      parseWhole(0),
    )
    .option(
      "--forget <days>",
      `leave out venues that have been told for so many days, and dates that have been missing for longer (default: ${DEFAULT_FORGET_DAYS}; with --days nothing is left out)`,
      parseWhole(1),
    )
    .option("--fail", "exit code 1 when there is anything to tell, for alerts")
    .addOption(jsonOption())
    .addHelpText("after", "\nExamples:\n  rollbook silent\n  rollbook silent --days 3 --fail --json\n")
    .action(async (flags: Flags) => context.finish(await listSilent(context, flags)));
}

async function listSilent(context: Context, flags: Flags): Promise<number> {
  const { days, fail = false, json = false } = flags;
  const forget = flags.forget ?? (days === undefined ? DEFAULT_FORGET_DAYS : undefined);
  return withWarehouse(context, { reportsOnly: true }, async ({ database }) => {
    const silence = await readSilence({ database, days, forget, signal: context.signal });
    if (json) {
      for (const venue of silence.venues) await writeJson(context, jsonVenue(venue));
      for (const date of silence.missing) await writeJson(context, jsonDate(date));
    } else await show(context, silence);
    const quiet = silence.venues.length === 0 && silence.missing.length === 0;
    return fail && !quiet ? EXIT.failed : EXIT.done;
  });
}

function jsonVenue({ silent: _, ...venue }: VenueActivity): unknown {
  return { kind: "silent_venue", ...venue };
}

function jsonDate(date: MissingSyncDate): unknown {
  return { kind: "missing_sync_date", ...date };
}

async function show(context: Context, { venues, missing }: Silence): Promise<void> {
  const width = widthOf(context.stdout);
  if (venues.length === 0) await writeLine(context, "No venue is silent.");
  else await writeLine(context, formatSilentVenues(venues, width));
  if (missing.length === 0) await writeLine(context, "No sync date is missing.");
  else await writeLine(context, `\n${formatMissingSyncDates(missing, width)}`);
}
