/**
 * `npm run demo`: from drops in an inbox to exact totals and their proof, on the embedded PostgreSQL. `npm run demo -- --serve` then opens the
 * console on it.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { readFile, rm } from "node:fs/promises";
import { join, relative } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { generateDrops } from "./generate.ts";

const CHECKOUT = fileURLToPath(new URL("..", import.meta.url));
/** The demo's own warehouse, so that it leaves another in .rollbook alone. */
const FOLDER = join(CHECKOUT, ".rollbook", "demo");
const INBOX = join(FOLDER, "inbox");
const RANGE = ["--from", "2026-10-05", "--to", "2026-10-10"];

async function demo(): Promise<void> {
  await rm(FOLDER, { recursive: true, force: true });
  say(
    "Five days of invoices from six venues: some late, some corrected or sent again, a few lines broken.\n",
  );
  const { files } = await generateDrops({
    out: INBOX,
    seed: 2026,
    rows: 5000,
    days: 5,
    first: "2026-10-05",
    venues: 6,
    late: 0.1,
    lateDays: 400,
    corrections: 0.02,
    bad: 0.002,
  });
  const drops = files.map(({ name }) => join("inbox", name));
  for (const { name, rows } of files) say(`  inbox/${name}  ${rows.read} lines`);

  await show("init", "--time-zone", "Europe/Berlin");
  await show("load", ...drops);
  say("\nThe same drop once more changes nothing:");
  await show("load", ...drops.slice(0, 1));
  await show("totals", "--by", "venue,day", ...RANGE);
  await show("totals", "--by", "month");
  await show("verify");
  await compare();
  say(`
The warehouse stays in ${relative(CHECKOUT, FOLDER)}. To look around:
  ROLLBOOK_HOME=${relative(CHECKOUT, FOLDER)} npx rollbook status
  ROLLBOOK_HOME=${relative(CHECKOUT, FOLDER)} npx rollbook serve --inbox ${relative(CHECKOUT, INBOX)}    # in a browser
For a PostgreSQL of your own: set DATABASE_URL, then npx rollbook init`);
}

/** The generator knows what it wrote: its totals must be those of the warehouse, to the byte. */
async function compare(): Promise<void> {
  const [truth, totals] = await Promise.all([
    readFile(join(INBOX, "totals.csv"), "utf8"),
    rollbook(["totals", "--by", "venue,day", "--format", "csv"], "pipe"),
  ]);
  if (totals !== truth)
    throw new Error(`the totals are not those that were generated: compare with ${INBOX}/totals.csv`);
  say(
    `The ${truth.split("\n").length - 2} totals by venue and day are the ones that were generated, to the cent.`,
  );
}

/** Runs a command and shows it with its output. */
async function show(...args: readonly string[]): Promise<void> {
  say(`\n$ rollbook ${args.join(" ")}`);
  await rollbook(args, "inherit");
}

/** Runs a command as a user would, on the demo's warehouse; returns its output where that is piped. */
async function rollbook(args: readonly string[], output: "inherit" | "pipe"): Promise<string> {
  const child = startRollbook(args, output);
  const ended = new Promise<number | null>((resolve, reject) =>
    child.on("exit", resolve).on("error", reject),
  );
  const printed = child.stdout ? await text(child.stdout) : "";
  const code = await ended;
  if (code !== 0) throw new Error(`rollbook ${args[0]} ended with exit code ${code}`);
  return printed;
}

function startRollbook(args: readonly string[], output: "inherit" | "pipe"): ChildProcess {
  // What would point it at another database, or at npm's idea of the working folder, is left out.
  const { DATABASE_URL, PGHOST, PGSERVICE, npm_lifecycle_event, ...environment } = process.env;
  return spawn(
    process.execPath,
    ["--import", import.meta.resolve("tsx"), join(CHECKOUT, "etl/cli.ts"), ...args],
    {
      cwd: FOLDER,
      env: { ...environment, ROLLBOOK_HOME: FOLDER },
      stdio: ["ignore", output, "inherit"],
    },
  );
}

/** Opens the console, until it is ended. */
async function serve(): Promise<void> {
  say("\n$ rollbook serve --inbox inbox");
  const child = startRollbook(["serve", "--inbox", "inbox", "--exit-with-parent"], "inherit");
  // A Ctrl-C goes to both; the console ends in order.
  process.on("SIGINT", () => {});
  process.on("SIGTERM", () => child.kill("SIGTERM"));
  process.exitCode = await new Promise<number>((resolve, reject) =>
    child.on("exit", (code) => resolve(code ?? 1)).on("error", reject),
  );
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

const { values: flags } = parseArgs({ options: { serve: { type: "boolean", default: false } } });
await demo();
if (flags.serve) await serve();
