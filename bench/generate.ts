/** `npm run generate`: writes drops. As a function: `generateDrops`. */
import { Command, InvalidArgumentError, Option } from "commander";
import { generateDrops } from "./generator/folder.ts";
import { MANIFEST, type Manifest } from "./generator/manifest.ts";
import { DEFAULT_DAYS, DEFAULT_LAST, DEFAULTS, type GenerateOptions } from "./generator/options.ts";
import { createProgress, parseArguments, runProgram } from "./program/terminal.ts";

export { generateDrops } from "./generator/folder.ts";
export { type Manifest, type ManifestFile, readManifest } from "./generator/manifest.ts";
export type { GenerateOptions, Recipe } from "./generator/options.ts";

/** The command, without its action. */
export function createCommand(): Command {
  return new Command("npm run generate --")
    .description(
      "Write realistic drops, one per sync day, with a manifest.json and a totals.csv that say what a " +
        "warehouse must show after loading them.",
    )
    .usage("--out DIR --rows N [options]")
    .requiredOption("--out <dir>", "folder for the drops; made when missing")
    .addOption(
      count(
        "--rows <n>",
        "lines of all files together, 1 to 1G; 100k and 5M will do, too",
      ).makeOptionMandatory(),
    )
    .addOption(count("--seed <n>", "same seed and options, same bytes").default(1))
    .addOption(
      count(
        "--days <n>",
        `sync days, one file each (default: all from --first to --last, else ${DEFAULT_DAYS})`,
      ),
    )
    .option("--first <date>", "first sync date (default: as many days before --last)")
    .option("--last <date>", `last sync date (default: ${DEFAULT_LAST}, or from --first on)`)
    .addOption(count("--venues <n>", `venues: few huge ones, many small ones (default: ${DEFAULTS.venues})`))
    .addOption(
      share("--new-venues <share>", `share of them that open over time (default: ${DEFAULTS.newVenues})`),
    )
    .option("--no-weekly", "weekends like other days")
    .option("--no-season", "all months alike")
    .option("--no-hours", "no lunch and dinner peaks")
    .addOption(share("--late <share>", "share of new invoices created 2 or more days before the sync date"))
    .addOption(count("--late-days <n>", "greatest lateness in days").default(DEFAULTS.lateDays))
    .addOption(
      new Option("--late-spread <how>", "tail: most within weeks; even: the same number on every date")
        .choices(["tail", "even"])
        .default(DEFAULTS.lateSpread),
    )
    .addOption(share("--corrections <share>", "lines that give an earlier file's invoice another total"))
    .addOption(share("--resent <share>", "lines that repeat an earlier file's invoice"))
    .addOption(share("--duplicates <share>", "lines whose key comes again in the same file"))
    .addOption(share("--bad <share>", "lines that break a rule"))
    .addOption(share("--odd <share>", "valid lines in a form that is not canonical"))
    .addOption(share("--refunds <share>", "invoices with a negative total"))
    .addOption(
      new Option("--order <how>", "lines in random order, or by datetime_created")
        .choices(["shuffled", "sorted"])
        .default(DEFAULTS.order),
    )
    .option("--gzip", "write .csv.gz")
    .option(
      "--after <dir>",
      "come after the drops in this folder: correct their invoices, go on from their totals",
    )
    .option("--overwrite", "replace drops that are in --out already")
    .addHelpText(
      "after",
      `
Example: a year of history, and a day after it, half of which is late
  npm run generate -- --out history --rows 10M --days 365
  npm run generate -- --out batch --after history --rows 100k --days 1 --late 0.5 --seed 2

docs/generator.md says what is realistic about the data.`,
    )
    .allowExcessArguments(false)
    .exitOverride();
}

function count(flags: string, description: string): Option {
  return new Option(flags, description).argParser(parseCount);
}

/**
 * Its default is that of the recipe; the venues' share has none, because drops that come after others keep
 * it.
 */
function share(flags: string, description: string): Option {
  const option = new Option(flags, description).argParser(parseShare);
  const name = option.attributeName() as keyof typeof DEFAULTS;
  return name === "newVenues" ? option : option.default(DEFAULTS[name]);
}

/** A whole number; `k`, `M` and `G` stand for thousands, millions and thousands of millions. */
function parseCount(text: string): number {
  const [, digits, unit = ""] = /^(\d[\d_]*)([kMG]?)$/.exec(text) ?? [];
  if (digits === undefined) throw new InvalidArgumentError("Give a whole number, like 500 or 100k.");
  return (
    Number(digits.replaceAll("_", "")) * (({ k: 1e3, M: 1e6, G: 1e9 } as Record<string, number>)[unit] ?? 1)
  );
}

function parseShare(text: string): number {
  if (!/^(0|1|[01]?\.\d+)$/.test(text)) throw new InvalidArgumentError("Give a share from 0 to 1, like 0.1.");
  return Number(text);
}

/** Does what the command line asks for; returns the exit code. */
export async function run(argv: readonly string[]): Promise<number> {
  const command = createCommand();
  const done = parseArguments(command, argv);
  if (done !== undefined) return done;
  const options = command.opts<GenerateOptions>();
  const progress = process.stderr.isTTY ? createProgress() : undefined;
  try {
    const manifest = await generateDrops({
      ...options,
      onProgress: ({ rows, totalRows, file }) =>
        progress?.show({ done: rows, total: totalRows, text: `${rows} of ${totalRows} lines, ${file}` }),
    });
    progress?.stop();
    process.stdout.write(`${summarize(options, manifest)}\n`);
    return 0;
  } finally {
    progress?.stop();
  }
}

function summarize(options: GenerateOptions, { files, totals }: Manifest): string {
  const lines = files.reduce((sum, file) => sum + file.rows.read, 0);
  const megabytes = files.reduce((sum, file) => sum + file.bytes, 0) / 1e6;
  const drops = `${files.length} ${files.length === 1 ? "drop" : "drops"}`;
  const sums = `${totals.invoices} invoices in ${totals.groups} groups, ${totals.total} in all`;
  return `${drops}, ${lines} lines, ${megabytes.toFixed(1)} MB in ${options.out}
${sums}; see ${options.out}/${MANIFEST}`;
}

await runProgram(import.meta.url, run);
