/**
 * `npm run airflow`: Airflow with the DAGs of this folder on this machine, without Docker. The entry: reads argv and the environment,
 * prints, sets the exit code.
 */
import { mkdirSync, realpathSync } from "node:fs";
import { join, resolve } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { Command, CommanderError, InvalidArgumentError } from "commander";
import { buildCommand } from "../../build.ts";
import { RollbookError } from "../../db/errors.ts";
import { printable } from "../../etl/escape.ts";
import { ARCHIVE, REJECTED } from "../../etl/inbox/list.ts";
import { catchInterrupts, Interruption } from "../../etl/interrupts.ts";
import { defaultSources } from "../../etl/sources/place.ts";
import { readSources } from "../../etl/sources/read.ts";
import { CHECKOUT, COMPOSE_FILE, ENV_FILE } from "./checkout.ts";
import { AirflowError } from "./errors.ts";
import { ingestOnce, listDrops, type OnceOptions, type OnceReport } from "./once.ts";
import { findPort } from "./ports.ts";
import { ensurePython } from "./python.ts";
import { type Airflow, startAirflow } from "./runner.ts";
import { followRuns } from "./runs.ts";
import { readSettings } from "./settings.ts";
import { openWarehouse } from "./warehouse.ts";

const LOOK_EVERY_MS = 2_000;
const DEFAULT_PORT = 8080;

interface Flags {
  readonly inbox: string;
  readonly sources?: string;
  readonly home: string;
  readonly port?: number;
  readonly once?: boolean;
}

const say = (text: string) => console.log(text);
const note = (text: string) => console.error(`airflow: ${text}`);

async function main(): Promise<void> {
  const { signal } = catchInterrupts({
    onFirst: ({ exitCode }) => {
      process.exitCode = exitCode;
    },
    // The guardian and the keeper of the database see to the rest.
    onSecond: ({ exitCode }) => process.exit(exitCode),
  });
  process.stdout.on("error", () => {});
  process.stderr.on("error", () => {});

  let exitCode = 0;
  try {
    const flags = readFlags();
    exitCode = await runAirflow(flags, signal);
  } catch (error) {
    if (!(signal.reason instanceof Interruption)) exitCode = explain(error);
  }
  const { reason } = signal;
  process.exitCode = reason instanceof Interruption ? reason.exitCode : exitCode;
}

function readFlags(): Flags {
  const program = new Command("npm run airflow --")
    .description("Run Airflow with Rollbook's DAGs on this machine, without Docker, until Ctrl-C.")
    .option("--inbox <folder>", "where drops are put; made if it is not there", "inbox")
    .option(
      "--sources <folder>",
      "of NAME.yaml files that say how the files of other senders are read (default: sources/ beside the inbox, if one is there)",
    )
    .option("--port <number>", "of Airflow's pages (default: 8080, or the next that is free)", parsePort)
    .option("--home <folder>", "where Python, Airflow, its database and its logs are kept", ".airflow")
    .option("--once", "take in what is in the inbox now, then stop")
    .exitOverride()
    .addHelpText(
      "after",
      `
The warehouse is where the rollbook command has it: DATABASE_URL, or PGHOST or PGSERVICE with the other PG* variables; else the
embedded PostgreSQL in ROLLBOOK_HOME (default .rollbook). ROLLBOOK_PYTHON names the Python to use.

Settings that docker-compose.yml names (ROLLBOOK_MAX_REJECTS, AIRFLOW_CONN_ROLLBOOK_ALERTS and so on) are read from the environment, else
from .env in the checkout. Its secrets are not used; inbox, sources and port are the flags above. A value with a # in it needs single quotes.
`,
    );
  return program.parse(process.argv).opts<Flags>();
}

function parsePort(text: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
  if (!(port >= 1 && port <= 65535)) throw new InvalidArgumentError("Give a number from 1 to 65535.");
  return port;
}

async function runAirflow(flags: Flags, signal: AbortSignal): Promise<number> {
  // Before anything is made or installed. It is looked for again when it is needed.
  if (flags.port !== undefined) await findPort(flags.port, false);
  const folder = workingFolder();
  const inbox = resolve(folder, flags.inbox);
  const home = resolve(folder, flags.home);
  for (const each of [inbox, join(inbox, ARCHIVE), join(inbox, REJECTED)])
    mkdirSync(each, { recursive: true });
  const named = flags.sources !== undefined;
  const folderOfSources = named ? resolve(folder, flags.sources ?? "") : defaultSources(inbox);
  const sources = await readSources({ folder: folderOfSources, named });
  const drops = flags.once ? await listDrops(inbox, sources) : [];
  if (flags.once && drops.length === 0) {
    say(
      `No CSV file${sources.length > 0 ? ", and none that a source reads," : ""} is in ${inbox}: nothing to do.`,
    );
    return 0;
  }
  // Before anything is installed, should they be wrong.
  const variables = readSettings({
    composeFile: COMPOSE_FILE,
    envFile: ENV_FILE,
    environment: process.env,
  });
  // The tasks run the built command, and it may be older than the sources.
  await buildCommand();
  const python = await ensurePython({
    home,
    requirements: join(CHECKOUT, "dags"),
    environment: process.env,
    signal,
    onProgress: note,
  });
  const warehouse = await openWarehouse({ environment: process.env, folder, signal, onProgress: note });
  const since = Date.now();
  try {
    const airflow = await startAirflow({
      home,
      inbox: realpathSync(inbox),
      sources: named || sources.length > 0 ? realpathSync(folderOfSources) : undefined,
      python,
      warehouse: warehouse.database,
      port: flags.port ?? DEFAULT_PORT,
      orNextPort: flags.port === undefined,
      // Who waits for it wants to know soon what is wrong.
      variables: { ...(flags.once && { ROLLBOOK_RETRIES: "1" }), ...variables },
      environment: process.env,
      signal,
      onLog: note,
    });
    try {
      return await (flags.once
        ? once(airflow, { inbox, sources, drops, since, signal })
        : follow(airflow, inbox, since, signal));
    } finally {
      note("stopping");
      await airflow.stop();
    }
  } finally {
    await warehouse.close();
  }
}

async function follow(airflow: Airflow, inbox: string, since: number, signal: AbortSignal): Promise<number> {
  say(`Airflow runs: ${airflow.url}  user ${airflow.user}, password ${airflow.password}`);
  say(`Put CSV files into ${inbox}. Stop with Ctrl-C.`);
  const follower = followRuns({ rest: airflow.rest, since, onRun: say });
  let told = false;
  while (!signal.aborted) {
    await follower.look().then(
      () => {
        told = false;
      },
      (error) => {
        if (!told) note(error instanceof Error ? error.message : String(error));
        told = true;
      },
    );
    await pause(LOOK_EVERY_MS, undefined, { signal }).catch(() => {});
  }
  return 0;
}

async function once(
  { rest }: Airflow,
  options: Pick<OnceOptions, "inbox" | "sources" | "drops" | "since" | "signal">,
): Promise<number> {
  const follower = followRuns({ rest, since: options.since, onRun: say });
  const report = await ingestOnce({ ...options, rest, onPoll: () => follower.look() });
  await follower.look();
  return tell(report);
}

function tell({ archived, rejected, gone, left, failure }: OnceReport): number {
  for (const name of archived) say(`${printable(name)}: archived`);
  for (const name of rejected)
    say(`${printable(name)}: rejected, see ${REJECTED}/${printable(name)}.reason.json`);
  for (const name of gone) say(`${printable(name)}: gone from the inbox`);
  for (const name of left) say(`${printable(name)}: still in the inbox`);
  if (failure !== undefined) note(failure);
  return failure === undefined && left.length === 0 ? 0 : 1;
}

/** npm runs the script in the checkout; the paths a user gives are relative to where the user is. */
function workingFolder(): string {
  const throughNpm = process.env.npm_lifecycle_event === "airflow";
  return (throughNpm && process.env.INIT_CWD) || process.cwd();
}

function explain(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  if (error instanceof RollbookError || error instanceof AirflowError) {
    note(error.message);
    return error.code === "configuration" ? 2 : 1;
  }
  note(error instanceof Error ? (error.stack ?? error.message) : String(error));
  return 1;
}

await main();
