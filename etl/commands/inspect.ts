import { basename } from "node:path";
import { type Command, Option } from "commander";
import { IANAZone } from "luxon";
import type { Settings } from "../../db/schema.ts";
import { DEFAULT_SETTINGS } from "../../db/settings.ts";
import { printable } from "../escape.ts";
import { type Inspection, inspectFile } from "../inspect/inspect.ts";
import { writeJson, writeLine } from "../output.ts";
import { shorten } from "../terminal/format.ts";
import { describeInspecting, describeInspection, jsonInspection } from "../terminal/inspection.ts";
import { openProgress } from "../terminal/progress.ts";
import { widthOf } from "../terminal/width.ts";
import { type Context, EXIT, resolvePath, usageError } from "./context.ts";
import { jsonOption, parseDate, parseTimeOfDay, syncedOnOption } from "./flags.ts";
import { presentFiles } from "./given_files.ts";
import { declareKind } from "./kind.ts";
import { addFormatOptions, type FormatFlags } from "./load_flags.ts";

interface InspectFlags extends FormatFlags, Pick<Settings, "timeZone" | "dayStarts" | "earliest"> {
  readonly syncedOn?: string;
  readonly json?: boolean;
}

export function defineInspect(verb: Command, context: Context): void {
  const { timeZone, dayStarts, earliest } = DEFAULT_SETTINGS;
  const command = declareKind(verb, "reads")
    .description(
      "Read files as a load would, without a warehouse: nothing is stored and no PostgreSQL is needed. Shows what each is packed in and written like, the first rows as they would be loaded, what would be rejected and why, and the totals per day. They are of lines: lines of one invoice count once only when they are loaded. Dates follow the time-zone data of Node.js; in a warehouse those of PostgreSQL decide, and invoices of detached partitions are rejected, too.",
    )
    .argument("<file...>", "files, whatever their names are")
    .option("--time-zone <name>", "time zone of the warehouse", timeZone)
    .addOption(
      new Option("--day-starts <time>", "when a business day starts there, HH:MM")
        .argParser(parseTimeOfDay)
        .default(dayStarts),
    )
    .addOption(
      new Option("--earliest <date>", "its earliest creation date").argParser(parseDate).default(earliest),
    )
    .addOption(syncedOnOption());
  addFormatOptions(command)
    .addOption(jsonOption())
    .addHelpText(
      "after",
      "\nExample:\n  rollbook inspect --time-zone Europe/Berlin invoices_2026-10-05.csv\n",
    )
    .action(async (files: string[], flags: InspectFlags) =>
      context.finish(await inspect(context, files, flags)),
    );
}

async function inspect(context: Context, files: readonly string[], flags: InspectFlags): Promise<number> {
  requireZone(flags.timeZone);
  const present = await presentFiles(context, files, { follow: true });
  let outcome: keyof typeof EXIT = "done";
  for (const [index, file] of present.entries()) {
    const inspection = await inspectWithProgress(context, file, flags, {
      number: index + 1,
      of: present.length,
    });
    if (flags.json) await writeJson(context, jsonInspection(file, inspection));
    else {
      const text = describeInspection(file, inspection, widthOf(context.stdout));
      await writeLine(context, index === 0 ? text : `\n${text}`);
    }
    if (inspection.refusal !== null) outcome = "rejected";
  }
  return EXIT[outcome];
}

function requireZone(name: string): void {
  if (IANAZone.isValidZone(name)) return;
  throw usageError(`--time-zone ${name} is no time zone that Node.js knows. Give a name like Europe/Berlin.`);
}

async function inspectWithProgress(
  context: Context,
  file: string,
  flags: InspectFlags,
  place: { readonly number: number; readonly of: number },
): Promise<Inspection> {
  const bar = openProgress(context);
  const title = `${place.of > 1 ? `${place.number} of ${place.of}: ` : ""}${shorten(printable(basename(file)), 24)}`;
  const { syncedOn, decimalComma, syncSlack, signal } = { ...flags, ...context };
  return inspectFile({
    path: resolvePath(context, file),
    settings: flags,
    syncedOn,
    decimalComma,
    syncSlack,
    signal,
    onProgress: (progress) => {
      const share = progress.totalBytes === 0 ? 1 : progress.bytes / progress.totalBytes;
      bar.update((place.number - 1 + share) / place.of, describeInspecting(title, progress));
    },
  }).finally(() => bar.stop());
}
