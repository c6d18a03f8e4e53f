/** Loads a year of real till lines through a source, and compares the totals by store and day. */
import { execFile } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { openDuckDb } from "../../run/columnar.ts";
import { type Comparison, compareTotals } from "./compare.ts";
import { type Drops, SOURCE, writeDrops } from "./drops.ts";

const COMMAND = fileURLToPath(new URL("../../../dist/rollbook.js", import.meta.url));

export interface TillsReport extends Comparison, Pick<Drops, "lines" | "late"> {
  readonly files: number;
  /** Invoices that the loads inserted: one for each basket. */
  readonly inserted: number;
  readonly loadSeconds: number;
}

export interface ProveOptions {
  /** The till lines. */
  readonly parquet: string;
  /** Where the files are written; empty, or missing. */
  readonly folder: string;
  /** Makes a rollbook process use an empty warehouse, of any time zone. */
  readonly environment: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal | undefined;
  readonly onNote: (note: string) => void;
}

/**
 * Makes drops of the lines, loads them by the command line, proves the warehouse by `verify`, and compares.
 *
 * @throws Error when a command fails
 */
export async function proveTills(options: ProveOptions): Promise<TillsReport> {
  const { parquet, folder, onNote } = options;
  await mkdir(join(folder, "sources"), { recursive: true });
  await writeFile(join(folder, "sources", "tills.yaml"), SOURCE);
  const { connection, close } = await openDuckDb(":memory:");
  try {
    const { paths, lines, late } = await writeDrops(connection, { parquet, folder: join(folder, "inbox") });
    onNote(`${lines} till lines in ${paths.length} files, ${late} of them a week late`);
    const started = performance.now();
    const loads = await rollbook(["load", "--json", "--sources", "sources", ...paths], options);
    const loadSeconds = Math.round((performance.now() - started) / 1000);
    onNote(`loaded in ${loadSeconds} s`);
    await rollbook(["verify"], options);
    const totals = join(folder, "totals.csv");
    await writeFile(totals, await rollbook(["totals", "--by", "venue,day", "--format", "csv"], options));
    const comparison = await compareTotals(connection, totals);
    return { files: paths.length, lines, late, inserted: countInserted(loads), loadSeconds, ...comparison };
  } finally {
    close();
  }
}

/** Runs the built command in the folder, and returns what it printed. */
export async function rollbook(
  args: readonly string[],
  options: Pick<ProveOptions, "environment" | "folder" | "signal">,
): Promise<string> {
  const { environment, folder, signal } = options;
  const { PATH = "" } = process.env;
  const { stdout } = await promisify(execFile)(process.execPath, [COMMAND, ...args], {
    cwd: folder,
    env: { PATH, HOME: folder, ...environment },
    maxBuffer: 2 ** 28,
    ...(signal && { signal }),
  });
  return stdout;
}

/** Of the objects that `load --json` printed. */
function countInserted(printed: string): number {
  const loads = printed
    .trim()
    .split("\n")
    .map((line): { readonly rows: { readonly inserted: number } } => JSON.parse(line));
  return loads.reduce((sum, { rows }) => sum + rows.inserted, 0);
}
