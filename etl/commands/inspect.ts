import { basename } from "node:path";
import { type Command, Option } from "commander";
import { IANAZone } from "luxon";
import type { Settings } from "../../db/schema.ts";
import { DEFAULT_SETTINGS } from "../../db/settings.ts";
import { printable } from "../escape.ts";
import { type InspectOptions, type InspectProgress, inspectFile } from "../inspect/inspect.ts";
import { suggestSource } from "../inspect/suggest/suggest.ts";
import { note, write, writeJson, writeLine } from "../output.ts";
import { chooseSource } from "../sources/choose.ts";
import { pathsOf } from "../sources/place.ts";
import type { FileSource } from "../sources/source.ts";
import { shorten } from "../terminal/format.ts";
import { describeInspecting, describeInspection, jsonInspection } from "../terminal/inspection.ts";
import { openProgress } from "../terminal/progress.ts";
import { widthOf } from "../terminal/width.ts";
import { type Context, EXIT, resolvePath, usageError } from "./context.ts";
import { jsonOption, parseDate, parseTimeOfDay, syncedOnOption } from "./flags.ts";
import { presentFiles } from "./given_files.ts";
import { declareKind } from "./kind.ts";
import { addFormatOptions, type FormatFlags } from "./load_flags.ts";
import {
  type ChosenSources,
  chooseSources,
  findInbox,
  inboxOption,
  openSources,
  type SourceFlags,
  sourcesOption,
} from "./sources.ts";

interface InspectFlags
  extends SourceFlags,
    FormatFlags,
    Pick<Settings, "timeZone" | "dayStarts" | "earliest"> {
  readonly source?: string;
  readonly suggest?: boolean;
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
    .addOption(sourcesOption())
    .addOption(inboxOption())
    .option("--source <name>", "read all files by this source, whatever its globs say")
    .addOption(
      new Option(
        "--suggest",
        "write a source for the first file to standard output, to be mended by hand and saved as NAME.yaml in the folder of sources; comments give the reasons",
      ).conflicts(["json", "source"]),
    )
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
  if (flags.suggest === true) return suggest(context, present, flags);
  const chosen =
    flags.source === undefined
      ? await chooseSources(context, present, flags)
      : await chooseNamed(context, present, { ...flags, source: flags.source });
  let outcome: keyof typeof EXIT = "done";
  for (const [index, file] of present.entries()) {
    const inspection = await withProgress(
      context,
      file,
      { number: index + 1, of: present.length },
      (onProgress) =>
        inspectFile({ ...optionsFor(context, file, flags), source: chosen.get(file), onProgress }),
    );
    if (flags.json) await writeJson(context, jsonInspection(file, inspection));
    else {
      const text = describeInspection(file, inspection, widthOf(context.stdout));
      await writeLine(context, index === 0 ? text : `\n${text}`);
    }
    if (inspection.refusal !== null) outcome = "rejected";
  }
  return EXIT[outcome];
}

async function suggest(context: Context, files: readonly string[], flags: InspectFlags): Promise<number> {
  const [file = "", ...others] = files;
  if (others.length > 0) note(context, `--suggest looks at the first file only: ${printable(file)}`);
  const options = optionsFor(context, file, flags);
  const inbox = await findInbox(context, options.path, flags);
  const [pathInInbox, ...more] = pathsOf({ path: options.path, inbox });
  const text = await withProgress(context, file, { number: 1, of: 1 }, (onProgress) =>
    suggestSource({ ...options, onProgress, ...(more.length === 0 && { pathInInbox }) }),
  );
  await write(context, text);
  return EXIT.done;
}

/** The source of a name, with what it says of each file. */
async function chooseNamed(
  context: Context,
  files: readonly string[],
  flags: SourceFlags & { readonly source: string },
): Promise<ChosenSources> {
  const findSources = openSources(context, flags);
  const chosen = new Map<string, FileSource>();
  for (const file of files) {
    const path = resolvePath(context, file);
    const { sources, inbox } = await findSources(path);
    const named = sources.find(({ name }) => name === flags.source);
    if (named === undefined) {
      const names = sources.map(({ name }) => name).join(", ") || "none; name their folder with --sources";
      throw usageError(`there is no source ${flags.source}. There are: ${names}.`);
    }
    const choice = chooseSource({ sources: [{ ...named, files: ANY_FILE }], path, inbox });
    if (choice.kind === "refused") throw usageError(choice.message);
    if (choice.kind === "source") chosen.set(file, choice.source);
  }
  return chosen;
}

/** Globs that fit all, hidden files, too. */
const ANY_FILE = ["**", "**/.*"];

function requireZone(name: string): void {
  if (IANAZone.isValidZone(name)) return;
  throw usageError(`--time-zone ${name} is no time zone that Node.js knows. Give a name like Europe/Berlin.`);
}

function optionsFor(context: Context, file: string, flags: InspectFlags): InspectOptions {
  const { syncedOn, decimalComma, syncSlack } = flags;
  const path = resolvePath(context, file);
  return { path, settings: flags, syncedOn, decimalComma, syncSlack, signal: context.signal };
}

async function withProgress<T>(
  context: Context,
  file: string,
  place: { readonly number: number; readonly of: number },
  work: (onProgress: (progress: InspectProgress) => void) => Promise<T>,
): Promise<T> {
  const bar = openProgress(context);
  const title = `${place.of > 1 ? `${place.number} of ${place.of}: ` : ""}${shorten(printable(basename(file)), 24)}`;
  return work((progress) => {
    const share = progress.totalBytes === 0 ? 1 : progress.bytes / progress.totalBytes;
    bar.update((place.number - 1 + share) / place.of, describeInspecting(title, progress));
  }).finally(() => bar.stop());
}
