/**
 * The whole job: the services of docker-compose.yml as processes, drops put into the inbox, totals compared with an independent sum; then
 * everything that can be killed is killed in the middle of a load.
 */
import { spawnSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createWriteStream, readFileSync } from "node:fs";
import {
  chmod,
  copyFile,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { TestWarehouse } from "../../db/testing/database.ts";
import { isRunning, type OwnServer, openOwnServer, readProcess, until } from "../../db/testing/own_server.ts";
import { rollbook } from "../../etl/testing/cli.ts";
import { commandLines } from "../../etl/testing/command_lines.ts";
import { disagreements } from "../../etl/testing/warehouse.ts";
import { CHECKOUT } from "../local/checkout.ts";
import { type Airflow, startAirflow } from "../local/runner.ts";
import { type DagRun, INGEST, listRuns, listTasks, readLog } from "../local/runs.ts";
import { INSTALLED_WITHIN_MS, installPython } from "../local/testing.ts";

const MINUTE = 60_000;
/** Far beyond what it takes, also after a kill, when the task is tried again after half a minute. */
const TAKEN_IN_WITHIN_MS = 5 * MINUTE;

const WAREHOUSE_PASSWORD = "q7Zk3vXwp@ss:w/rd%?#'\" &x9Lm2TbR";

/** A DAG of dags/examples/, which is nobody's until it is copied. */
const EXAMPLE = "partition_report";
const BUNDLES = [
  ["dags-folder", {}],
  ["examples", { path: join(CHECKOUT, "dags", "examples") }],
].map(([name, kwargs]) => ({
  name,
  classpath: "airflow.dag_processing.bundles.local.LocalDagBundle",
  kwargs,
}));

let folder: string;
let inbox: string;
let server: OwnServer;
let warehouse: TestWarehouse;
let airflow: Airflow;

beforeAll(
  async () => {
    const python = await installPython();
    folder = await mkdtemp(join(tmpdir(), "rollbook airflow-"));
    // So that root can hand the embedded servers in it over to an ordinary user.
    await chmod(folder, 0o711);
    inbox = join(folder, "in box");
    await mkdir(inbox);
    server = await openOwnServer();
    warehouse = await server.makeWarehouse();
    const { PGHOST = "", PGPORT, PGUSER = "", PGDATABASE = "" } = warehouse.environment;
    airflow = await startAirflow({
      home: join(folder, "home"),
      inbox,
      python,
      warehouse: {
        host: PGHOST,
        port: Number(PGPORT),
        user: PGUSER,
        database: PGDATABASE,
        // The server does not ask for it: what counts is where it turns up.
        password: WAREHOUSE_PASSWORD,
      },
      overrides: { AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST: JSON.stringify(BUNDLES) },
      environment: process.env,
    });
  },
  INSTALLED_WITHIN_MS + 5 * MINUTE,
);

afterAll(async () => {
  await airflow?.stop();
  await server?.close();
  if (folder !== undefined)
    await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
}, MINUTE);

test("thirty day files become the totals of their manifest", { timeout: 10 * MINUTE }, async () => {
  const drops = join(folder, "drops");
  const made = await runProgram([
    "bench/generate.ts",
    "--out",
    drops,
    "--rows",
    "20k",
    "--days",
    "30",
    "--odd",
    "0.1",
  ]);
  expect(made.code, made.output).toBe(0);
  const names = (await readdir(drops)).filter((name) => name.endsWith(".csv") && name !== "totals.csv");
  expect(names).toHaveLength(30);
  for (const name of names) await put(name, join(drops, name));
  await untilTakenIn(names);

  const totals = await rollbook(["totals", "--format", "csv"], {
    environment: warehouse.environment,
    folder,
  });
  expect(totals.stdout).toBe(await readFile(join(drops, "totals.csv"), "utf8"));
  expect((await readdir(join(inbox, "archive"))).sort()).toEqual(names.sort());
  expect(await disagreements(warehouse)).toEqual([]);

  const ingest = await lastRunWithDrops();
  const labels = (await listTasks(airflow.rest, ingest)).flatMap(({ task_id, rendered_map_index }) =>
    rendered_map_index === null ? [] : [`${task_id}: ${rendered_map_index}`],
  );
  expect(labels).toEqual([expect.stringMatching(/^take_drops: 30 drops of 2026-/)]);
});

test("a correction of one month runs a DAG downstream for that month alone, with its totals", {
  timeout: 10 * MINUTE,
}, async () => {
  const take = async (name: string, lines: readonly string[]) => {
    const path = join(folder, name);
    await writeFile(path, `${lines.join("\n")}\n`);
    await put(name, path);
    await untilTakenIn([name]);
  };
  const [march, april] = [randomUUID(), randomUUID()];
  const other = `months,${april},2019-04-07T12:00:00Z,5.00`;
  await take("months_2026-10-03.csv", [`months,${march},2019-03-07T12:00:00Z,1.00`, other]);
  expect(await untilReports(2)).toEqual(["2019-03: 1 invoices, 1.00", "2019-04: 1 invoices, 5.00"]);
  await take("months_2026-10-04.csv", [`months,${march},2019-03-07T12:00:00Z,2.50`]);
  expect(await untilReports(3)).toEqual([
    "2019-03: 1 invoices, 1.00",
    "2019-03: 1 invoices, 2.50",
    "2019-04: 1 invoices, 5.00",
  ]);
});

interface Report {
  readonly value: { readonly partition: string; readonly invoices: number; readonly total: string };
}

/** What the runs of the example DAG that have ended well say of partitions of 2019. */
async function listReports(): Promise<readonly string[]> {
  const runs = (await listRuns(airflow.rest, EXAMPLE)).filter(({ state }) => state === "success");
  const reports = await Promise.all(
    runs.map(({ dag_run_id }) =>
      airflow.rest.get<Report>(
        `/dags/${EXAMPLE}/dagRuns/${encodeURIComponent(dag_run_id)}/taskInstances/report/xcomEntries/return_value?deserialize=true`,
      ),
    ),
  );
  return reports
    .map(({ value: { partition, invoices, total } }) => `${partition}: ${invoices} invoices, ${total}`)
    .filter((line) => line.startsWith("2019-"))
    .toSorted();
}

async function untilReports(count: number): Promise<readonly string[]> {
  let found: readonly string[] = [];
  await until(
    `${count} runs of the DAG downstream have ended`,
    async () => {
      found = await listReports();
      return found.length >= count;
    },
    TAKEN_IN_WITHIN_MS,
  );
  return found;
}

test("a rejected drop leaves the run green, and a person may have its good lines loaded", {
  timeout: 10 * MINUTE,
}, async () => {
  const name = "half bad {{ 7*7 }} 2026-10-01.csv";
  const good = csvLines({ prefix: "review", rows: 8 });
  const bad = Array.from({ length: 4 }, () => "review-00,no-uuid,2026-10-01T10:00:00Z,1.00");
  const path = join(folder, "bad.csv");
  await writeFile(path, `${[...good.lines, ...bad].join("\n")}\n`);
  await put(name, path);
  await untilTakenIn([name]);
  expect(await readdir(join(inbox, "rejected"))).toEqual([name, `${name}.reason.json`]);
  expect((await lastRunWithDrops()).state).toBe("success");
  expect(await totalsOf("review")).toEqual({ invoices: 0, cents: 0n });

  // The event of the rejected drop starts the review, which asks.
  let question: Question | undefined;
  await until(
    "a question is asked",
    async () => {
      question = await findQuestion();
      return question !== undefined;
    },
    TAKEN_IN_WITHIN_MS,
  );
  expect(question?.subject).toBe(`Rejected: ${name}`);
  expect(question?.body).toContain("no-uuid");
  await respond(question ?? fail(), "Load the good lines");
  await until(
    "the drop is in the archive",
    async () => (await readdir(join(inbox, "archive"))).includes(name),
    TAKEN_IN_WITHIN_MS,
  );
  // It has its name there before it has been taken away here, and its reason after it.
  await until(
    "nothing is left in rejected/",
    async () => (await readdir(join(inbox, "rejected"))).length === 0,
    TAKEN_IN_WITHIN_MS,
  );
  expect(await totalsOf("review")).toEqual(good.sum);
});

test("a load is taken back once a person has approved, and not when it is rejected", {
  timeout: 10 * MINUTE,
}, async () => {
  const name = "mistake 2026-10-02.csv";
  const { lines, sum } = csvLines({ prefix: "mistake", rows: 50 });
  const path = join(folder, "mistake.csv");
  await writeFile(path, `${lines.join("\n")}\n`);
  await put(name, path);
  await untilTakenIn([name]);
  const [loaded] = await warehouse.query<{ load_id: number }>(
    "select load_id from warehouse.loads where file_name = $1",
    [name],
  );
  const conf = { load: loaded?.load_id, reason: "a test system's file" };
  const trigger = (given: unknown) =>
    airflow.rest.post<DagRun>("/dags/take_back/dagRuns", { logical_date: null, conf: given });
  await expect(trigger({ ...conf, reason: " " })).rejects.toThrow(/reason/);

  expect(await takeBack(await trigger(conf), "Reject")).toEqual({
    dry_run: "success",
    approve: "success",
    undo: "skipped",
    refresh: "skipped",
  });
  expect(await totalsOf("mistake")).toEqual(sum);

  const states = await takeBack(await trigger(conf), "Approve");
  expect(new Set(Object.values(states))).toEqual(new Set(["success"]));
  expect(await totalsOf("mistake")).toEqual({ invoices: 0, cents: 0n });
  const undos = await warehouse.query("select undo_of, because from warehouse.loads where status = 'undo'");
  expect(undos).toEqual([{ undo_of: loaded?.load_id, because: "a test system's file (approved by admin)" }]);
  const pending = await warehouse.query("select from warehouse.venue_day_pending");
  expect(pending).toEqual([]);
  expect(await disagreements(warehouse)).toEqual([]);
});

test("the last month is closed by a DAG that is paused until somebody switches it on", {
  timeout: 10 * MINUTE,
}, async () => {
  expect(await airflow.rest.get("/dags/close")).toMatchObject({ is_paused: true });
  await airflow.rest.patch("/dags/close", { is_paused: false });
  const { dag_run_id } = await airflow.rest.post<DagRun>("/dags/close/dagRuns", { logical_date: null });
  await until(
    "the run has ended well",
    async () => {
      const runs = await listRuns(airflow.rest, "close");
      return runs.find((run) => run.dag_run_id === dag_run_id)?.state === "success";
    },
    TAKEN_IN_WITHIN_MS,
  );
  await airflow.rest.patch("/dags/close", { is_paused: true });
  const closed = await warehouse.query(
    "select period = to_char(now() - interval '1 month', 'YYYY-MM') as is_last from reports.closings",
  );
  expect(closed).toEqual([{ is_last: true }]);
});

/** Answers what a run of `take_back` asks; returns the states of its tasks when it has ended. */
async function takeBack(run: DagRun, answer: string): Promise<Readonly<Record<string, string | null>>> {
  let question: Question | undefined;
  await until(
    "a question is asked",
    async () => {
      question = await findQuestion();
      return question?.task_instance.dag_run_id === run.dag_run_id;
    },
    TAKEN_IN_WITHIN_MS,
  );
  expect(question?.body).toContain("- 50 invoices go: nothing else is known of them");
  await respond(question ?? fail(), answer);
  let state: string | undefined;
  await until(
    "the run has ended",
    async () => {
      const runs = await listRuns(airflow.rest, "take_back");
      state = runs.find(({ dag_run_id }) => dag_run_id === run.dag_run_id)?.state;
      return state === "success" || state === "failed";
    },
    TAKEN_IN_WITHIN_MS,
  );
  expect(state).toBe("success");
  return Object.fromEntries(
    (await listTasks(airflow.rest, run)).map(({ task_id, state }) => [task_id, state]),
  );
}

test.each<{ readonly victim: string; readonly prefix: string; readonly kill: () => Promise<void> }>([
  {
    victim: "the scheduler, whose workers run on",
    prefix: "scheduler",
    kill: async () => {
      await airflow.kill("airflow-scheduler", { all: false });
      airflow.restart("airflow-scheduler");
    },
  },
  {
    victim: "the scheduler with all of its workers",
    prefix: "group",
    kill: async () => {
      await airflow.kill("airflow-scheduler");
      airflow.restart("airflow-scheduler");
    },
  },
  {
    victim: "the worker of the task",
    prefix: "worker",
    kill: async () => {
      const command = findLoadCommand();
      const scheduler = airflow.pids()["airflow-scheduler"] ?? fail();
      for (const pid of ancestorsOf(command, scheduler)) process.kill(pid, "SIGKILL");
      await until("the command has ended by itself", () => !isRunning(command));
    },
  },
  { victim: "PostgreSQL", prefix: "postgres", kill: async () => server.kill() },
  {
    victim: "the triggerer and the API server",
    prefix: "others",
    kill: async () => {
      for (const service of ["airflow-triggerer", "airflow-apiserver"] as const) {
        await airflow.kill(service);
        airflow.restart(service);
      }
    },
  },
])(
  "SIGKILL of $victim in the middle of a load loses nothing and loads nothing twice",
  {
    timeout: 12 * MINUTE,
  },
  async ({ prefix, kill }) => {
    const name = `${prefix}_2026-10-20.csv`;
    const path = join(folder, name);
    const sum = await writeBigDrop(path, prefix, 400_000);
    await put(name, path);
    await until("the load is in the middle", isLoading, TAKEN_IN_WITHIN_MS);
    const killedAt = Date.now();
    await kill();
    await untilTakenIn([name]);
    console.log(`${prefix}: archived ${((Date.now() - killedAt) / 1000).toFixed(1)} s after the kill`);

    expect(await totalsOf(prefix)).toEqual(sum);
    expect(await disagreements(warehouse)).toEqual([]);
    const loads = await warehouse.query<{ status: string; inserted: string }>(
      "select status, inserted from warehouse.loads where file_name = $1 and status = 'loaded'",
      [name],
    );
    expect(loads.map(({ inserted }) => Number(inserted))).toEqual([400_000]);
    expect(await readdir(join(inbox, "archive"))).toContain(name);
    expect((await readdir(inbox)).sort()).toEqual(["archive", "rejected"]);
  },
);

// What a scheduler leaves behind that is killed in a transaction: its workers hold its connection open.
/** A run that goes on, for the scheduler has to wait for that; now and then there is none for a moment. */
async function lockRunningRun(client: pg.Client): Promise<void> {
  await until("a run is locked", async () => {
    await client.query("begin");
    const locked = await client.query("select state from dag_run for update");
    if (locked.rows.some(({ state }) => state === "running")) return true;
    await client.query("rollback");
    return false;
  });
}

test("locks that a dead scheduler left in Airflow's database end by themselves", {
  timeout: 12 * MINUTE,
}, async () => {
  const dead = new pg.Client(airflow.metadata);
  const errors: string[] = [];
  dead.on("error", ({ message }) => errors.push(message));
  await dead.connect();
  await lockRunningRun(dead);
  const name = "locked 2026-10-21.csv";
  const path = join(folder, name);
  const sum = await writeBigDrop(path, "locked", 10);
  await put(name, path);
  await untilTakenIn([name]);
  expect(errors.join("\n")).toContain("idle-in-transaction");
  expect(await totalsOf("locked")).toEqual(sum);
});

test("no password is in any log, on a command line, or in Airflow's database", async () => {
  const home = join(folder, "home");
  const secrets = [
    ...Object.entries(JSON.parse(readFileSync(join(home, "secrets.json"), "utf8"))),
    // Either end: what quotes or encodes it leaves them.
    ["the warehouse's", WAREHOUSE_PASSWORD.slice(0, 8)],
    ["the warehouse's", WAREHOUSE_PASSWORD.slice(-8)],
  ];
  expect(secrets.length).toBeGreaterThan(5);
  const folders = [airflow.taskLogs, join(home, "logs")];
  const logs = await Promise.all(
    folders.map((each) => readdir(each, { recursive: true, withFileTypes: true })),
  );
  const files = logs.flat().filter((entry) => entry.isFile());
  const texts = await Promise.all(files.map((entry) => readFile(join(entry.parentPath, entry.name), "utf8")));
  expect(texts.length).toBeGreaterThan(10);
  texts.push(await readFile(join(home, "postgres", "server.log"), "utf8"), commandLines());
  texts.push(...(await metadataTexts()));
  for (const [secret, value] of secrets) {
    const forms = [String(value), Buffer.from(String(value)).toString("hex")];
    expect(
      texts.some((text) => forms.some((form) => text.includes(form))),
      String(secret),
    ).toBe(false);
  }
});

test("only their owner can reach secrets, Airflow's settings and logs", async () => {
  const modeOf = async (...path: string[]) =>
    ((await stat(join(folder, "home", ...path))).mode & 0o777).toString(8);
  expect([await modeOf("secrets.json"), await modeOf("home"), await modeOf("logs")]).toEqual([
    "600",
    "700",
    "700",
  ]);
  expect(await modeOf("postgres", "data")).toBe("700");
});

/** Every row of Airflow's database, XComs and rendered fields among them. */
async function metadataTexts(): Promise<readonly string[]> {
  const { host, port, user, database } = airflow.metadata;
  const client = new pg.Client({ host, port, user, database, ssl: false });
  await client.connect();
  try {
    const tables = await client.query("select tablename from pg_tables where schemaname = 'public'");
    const names = tables.rows.map(({ tablename }) => String(tablename));
    expect(names).toEqual(expect.arrayContaining(["xcom", "rendered_task_instance_fields", "log"]));
    const texts: string[] = [];
    for (const name of names) {
      const { rows } = await client.query(`select t::text from ${client.escapeIdentifier(name)} t`);
      texts.push(JSON.stringify(rows));
    }
    expect(texts.join("").length).toBeGreaterThan(10_000);
    return texts;
  } finally {
    await client.end();
  }
}

interface Question {
  readonly subject: string;
  readonly body: string;
  readonly response_received: boolean;
  readonly task_instance: {
    readonly dag_id: string;
    readonly dag_run_id: string;
    readonly task_id: string;
    readonly map_index: number;
  };
}

async function findQuestion(): Promise<Question | undefined> {
  const { hitl_details } = await airflow.rest.get<{ readonly hitl_details: readonly Question[] }>(
    "/dags/~/dagRuns/~/hitlDetails",
  );
  return hitl_details.find(({ response_received }) => !response_received);
}

async function respond({ task_instance }: Question, option: string): Promise<void> {
  // Nobody answers within a second, for which Airflow is not made: it takes the task for failed, and asks again.
  await pause(3000);
  const { dag_id, dag_run_id, task_id, map_index } = task_instance;
  await airflow.rest.patch(
    `/dags/${dag_id}/dagRuns/${encodeURIComponent(dag_run_id)}/taskInstances/${task_id}/${map_index}/hitlDetails`,
    { chosen_options: [option], params_input: {} },
  );
}

/** As a sender does it who knows the inbox: under another name until it is whole. */
async function put(name: string, from: string): Promise<void> {
  const part = join(inbox, `${name}.part`);
  await copyFile(from, part);
  await rename(part, join(inbox, name));
}

/** Until the drops have left the inbox, and nothing of them is pending. */
async function untilTakenIn(names: readonly string[]): Promise<void> {
  await until(
    `${names.length} drops are taken in`,
    async () => {
      const there = new Set(await readdir(inbox));
      return !names.some((name) => there.has(name));
    },
    TAKEN_IN_WITHIN_MS,
  ).catch(async (error) => {
    throw new Error(`${error.message}\n${await explain()}`);
  });
  await until("nothing is pending", async () => {
    const [row] = await warehouse.query<{ pending: boolean }>(
      "select exists (select from warehouse.venue_day_pending) as pending",
    );
    return row?.pending === false;
  });
}

/** What the newest runs say, for a test that failed. */
async function explain(): Promise<string> {
  const said: string[] = [];
  for (const run of (await listRuns(airflow.rest, INGEST)).slice(0, 3)) {
    said.push(`${run.dag_run_id}: ${run.state}`);
    for (const task of await listTasks(airflow.rest, run)) {
      said.push(`  ${task.task_id} ${task.map_index}: ${task.state}, try ${task.try_number}`);
      if (task.state === "failed" || task.state === "up_for_retry")
        said.push(await readLog(airflow.rest, run, task));
    }
  }
  return said.join("\n");
}

/** The newest run that loaded drops, when it has ended. */
async function lastRunWithDrops(): Promise<DagRun> {
  let found: DagRun | undefined;
  await until("a run with drops has ended", async () => {
    for (const run of await listRuns(airflow.rest, INGEST)) {
      const tasks = await listTasks(airflow.rest, run);
      const taking = tasks.find(({ task_id }) => task_id === "take_drops")?.state;
      if (taking == null || taking === "skipped" || taking === "scheduled") continue;
      found = run;
      return run.end_date !== null;
    }
    return false;
  });
  return found ?? fail();
}

interface Sum {
  readonly invoices: number;
  readonly cents: bigint;
}

/** Lines without a header, of 40 venues and the 60 days before 2026-10-01, with their sum. */
function csvLines({ prefix, rows }: { readonly prefix: string; readonly rows: number }): {
  readonly lines: readonly string[];
  readonly sum: Sum;
} {
  let cents = 0n;
  const lines = Array.from({ length: rows }, (_, index) => {
    const amount = 100 + ((index * 7919) % 99_900);
    cents += BigInt(amount);
    const day = new Date(Date.UTC(2026, 7, 1 + (index % 60))).toISOString().slice(0, 10);
    const total = `${Math.floor(amount / 100)}.${String(amount % 100).padStart(2, "0")}`;
    return `${prefix}-${index % 40},${randomUUID()},${day}T12:00:00Z,${total}`;
  });
  return { lines, sum: { invoices: rows, cents } };
}

async function writeBigDrop(path: string, prefix: string, rows: number): Promise<Sum> {
  const { lines, sum } = csvLines({ prefix, rows });
  const file = createWriteStream(path);
  for (let at = 0; at < lines.length; at += 10_000)
    file.write(`${lines.slice(at, at + 10_000).join("\n")}\n`);
  file.end();
  await once(file, "close");
  return sum;
}

async function totalsOf(prefix: string): Promise<Sum> {
  const [row] = await warehouse.query<{ invoices: string; total: string }>(
    `select coalesce(sum(invoices), 0) as invoices, coalesce(sum(total), 0)::numeric(20, 2) as total
     from reports.venue_totals where venue_id like $1`,
    [`${prefix}-%`],
  );
  return { invoices: Number(row?.invoices), cents: BigInt((row?.total ?? "").replace(".", "")) };
}

/** Whether a load has begun to write. */
async function isLoading(): Promise<boolean> {
  const [row] = await warehouse.query<{ loading: boolean }>(
    `select exists (
       select from pg_stat_activity
       where datname = current_database() and state = 'active' and pid <> pg_backend_pid() and query ilike 'copy %'
     ) as loading`,
  );
  return row?.loading === true;
}

/** The process of a `rollbook inbox take` of this inbox. */
function findLoadCommand(): number {
  const { stdout } = spawnSync("ps", ["-A", "-ww", "-o", "pid=,args="], { encoding: "utf8" });
  const line = stdout
    .split("\n")
    .find((one) => one.includes("dist/rollbook.js inbox take ") && one.includes(inbox));
  return line === undefined ? fail() : Number.parseInt(line, 10);
}

/** Processes between a command and the scheduler: the task's runner and its supervisor. */
function ancestorsOf(pid: number, scheduler: number): readonly number[] {
  const parent = readProcess(pid)?.parent ?? 0;
  return parent === scheduler || parent <= 1 ? [] : [parent, ...ancestorsOf(parent, scheduler)];
}

async function runProgram(
  args: readonly string[],
): Promise<{ readonly code: number | null; readonly output: string }> {
  const { status, stdout, stderr } = spawnSync(process.execPath, ["--import", "tsx", ...args], {
    cwd: CHECKOUT,
    encoding: "utf8",
  });
  return { code: status, output: stdout + stderr };
}

function fail(): never {
  throw new Error("not found");
}
