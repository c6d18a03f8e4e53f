/** `npm run airflow` as a process, with real Airflow. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import { CHECKOUT } from "./checkout.ts";
import { findMarked, homeMark, killMarked } from "./processes.ts";
import type { Python } from "./python.ts";
import { INSTALLED_WITHIN_MS, installPython, makeFolder } from "./testing.ts";

let python: Python;
beforeAll(async () => {
  python = await installPython();
}, INSTALLED_WITHIN_MS);

const STARTED_WITHIN_MS = 480_000;

/**
 * A folder that has an inbox, a home with the Python that is installed already, and a checkout of its own: the settings in a developer's
 * .env count for that one's Airflow, not for ours.
 */
function makePlace() {
  const folder = makeFolder();
  const checkout = join(folder, "checkout");
  for (const part of ["db", "etl", "console", "dags", "docker-compose.yml", "package.json", "build.ts"]) {
    cpSync(join(CHECKOUT, part), join(checkout, part), {
      recursive: true,
      filter: (path) => !path.endsWith("__pycache__") && !path.endsWith(".test.ts"),
    });
  }
  symlinkSync(join(CHECKOUT, "node_modules"), join(checkout, "node_modules"));
  const home = join(folder, "home");
  mkdirSync(join(folder, "inbox"));
  mkdirSync(home);
  symlinkSync(python.venv, join(home, "venv"));
  const mark = `${homeMark(home)}:`;
  onTestFinished(() => killMarked(mark));
  return { folder, checkout, home, mark };
}

function runAirflow(
  folder: string,
  args: readonly string[],
  environment: NodeJS.ProcessEnv = {},
  checkout = CHECKOUT,
) {
  const { DATABASE_URL, PGHOST, PGSERVICE, ROLLBOOK_HOME, ...env } = process.env;
  const child = spawn(
    process.execPath,
    [
      "--import",
      join(CHECKOUT, "node_modules/tsx/dist/loader.mjs"),
      join(checkout, "dags/local/airflow.ts"),
      "--home=home",
      ...args,
    ],
    { cwd: folder, env: { ...env, ...environment }, stdio: ["ignore", "pipe", "pipe"] },
  );
  onTestFinished(() => {
    child.kill("SIGKILL");
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
  }
  const ended = once(child, "close").then(([code]) => ({ code: code as number | null, output }));
  const said = async (text: string) => {
    while (!output.includes(text)) {
      if (child.exitCode !== null) throw new Error(`ended without saying "${text}":\n${output}`);
      await pause(50);
    }
    return output;
  };
  return { child, ended, said };
}

/** The PostgreSQL servers in a folder that now run. */
function serversIn(folder: string): readonly number[] {
  return ["home/postgres/data", ".rollbook/data"].flatMap((data) => {
    const file = join(folder, data, "postmaster.pid");
    return existsSync(file) ? [Number(readFileSync(file, "utf8").split("\n")[0])] : [];
  });
}

async function untilNothingRuns(folder: string, mark: string): Promise<void> {
  const deadline = Date.now() + 30_000;
  while (findMarked(mark).length > 0 || serversIn(folder).length > 0) {
    if (Date.now() > deadline)
      throw new Error(`still running: ${[...findMarked(mark), ...serversIn(folder)]}`);
    await pause(100);
  }
}

async function isTaken(port: number): Promise<boolean> {
  const server = createServer();
  return new Promise((done) => {
    server.once("error", () => done(true));
    server.listen(port, "127.0.0.1", () => server.close(() => done(false)));
  });
}

test("--once with nothing in the inbox ends at once, and needs nothing", async () => {
  const folder = makeFolder();
  const { code, output } = await runAirflow(folder, ["--once"], { ROLLBOOK_PYTHON: "absent" }).ended;
  expect(code, output).toBe(0);
  expect(output).toContain("nothing to do");
  expect(readdirSync(join(folder, "inbox")).toSorted()).toEqual(["archive", "rejected"]);
});

test("without Python it says what to do", async () => {
  const { code, output } = await runAirflow(makeFolder(), [], { ROLLBOOK_PYTHON: "absent" }).ended;
  expect(code).toBe(1);
  expect(output).toContain("Airflow needs Python 3.11");
  expect(output).toContain("ROLLBOOK_PYTHON");
  expect(output).not.toMatch(/^\s+at /m);
});

test("its help names where settings come from", async () => {
  const { code, output } = await runAirflow(makeFolder(), ["--help"]).ended;
  expect(code, output).toBe(0);
  expect(output).toContain(".env in the checkout");
});

test("a flag that it does not know is a usage error", async () => {
  const { code, output } = await runAirflow(makeFolder(), ["--port=no"]).ended;
  expect(code).toBe(2);
  expect(output).toContain("Give a number from 1 to 65535");
});

test("a port that is taken is told with who holds it, before anything is made or installed", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const folder = makeFolder();
  const { code, output } = await runAirflow(folder, [`--port=${port}`], { ROLLBOOK_PYTHON: "absent" }).ended;
  expect(code, output).toBe(2);
  const holder = process.platform === "linux" ? ` by .* \\(process ${process.pid}\\)` : "";
  expect(output).toMatch(
    new RegExp(`^airflow: port ${port} is taken${holder}\\. Give another one: --port N\n$`),
  );
  expect(readdirSync(folder)).toEqual([]);
});

test("--once takes in what is in the inbox under the settings of .env, says what became of it, and leaves nothing behind", {
  timeout: STARTED_WITHIN_MS,
}, async () => {
  const { folder, checkout, mark } = makePlace();
  const inbox = join(folder, "inbox");
  const lines = ["venue_id,invoice_id,datetime_created,total"];
  lines.push(
    "11111111-1111-4111-8111-111111111111,22222222-2222-4222-8222-222222222222,2026-10-04T12:00:00Z,12.34",
  );
  writeFileSync(join(inbox, "sync 'a' 2026-10-05.csv"), `${lines.join("\n")}\n`);
  copyFileSync(join(CHECKOUT, "package.json"), join(inbox, "bad_2026-10-05.csv"));
  writeFileSync(join(inbox, "notes.txt"), "no drop");
  mkdirSync(join(folder, "sources"));
  writeFileSync(
    join(folder, "sources", "till.yaml"),
    "files: till/*.tsv\ndelimiter: tab\nsynced_on: mtime\n",
  );
  mkdirSync(join(inbox, "till"));
  writeFileSync(
    join(inbox, "till", "one.tsv"),
    `${lines.join("\n").replaceAll(",", "\t").replace("2222", "3333")}\n`,
  );

  // The environment wins over it.
  writeFileSync(join(checkout, ".env"), "ROLLBOOK_MAX_REJECTS=2\nWAREHOUSE_PASSWORD=secret\n");
  const wins = { ROLLBOOK_MAX_REJECTS: "0.01" };

  const { code, output } = await runAirflow(folder, ["--once", "--inbox=inbox"], wins, checkout).ended;
  expect(code, output).toBe(0);
  expect(output).toContain("invoice_ingest done after");
  expect(output).toContain("sync 'a' 2026-10-05.csv: archived");
  expect(output).toContain("bad_2026-10-05.csv: rejected");
  expect(output).toContain("till/one.tsv: archived");
  expect(readdirSync(inbox).toSorted()).toEqual(["archive", "notes.txt", "rejected", "till"]);
  expect(readdirSync(join(inbox, "archive/till"))).toEqual(["one.tsv"]);
  expect(findMarked(mark)).toEqual([]);
  expect(serversIn(folder)).toEqual([]);

  // What cannot be done without a change is told, with the end of the task's log.
  writeFileSync(join(inbox, "more_2026-10-06.csv"), `${lines.join("\n")}\n`);
  const failed = await runAirflow(folder, ["--once"], {}, checkout).ended;
  expect(failed.code, failed.output).toBe(1);
  expect(failed.output).toContain("invoice_ingest FAILED at take_drops");
  expect(failed.output).toContain("'--max-rejects <share[+lines]>' argument '2' is invalid");
  expect(failed.output).toContain("more_2026-10-06.csv: still in the inbox");
  expect(findMarked(mark)).toEqual([]);
});

test("a second one in the same home is refused; a signal ends the first in order, and SIGKILL leaves nothing either", {
  timeout: STARTED_WITHIN_MS,
}, async () => {
  const { folder, checkout, mark } = makePlace();
  const run = () => runAirflow(folder, [], {}, checkout);
  const first = run();
  const [, port] = /http:\/\/localhost:(\d+) {2}user admin/.exec(await first.said("Stop with Ctrl-C")) ?? [];
  expect(await isTaken(Number(port))).toBe(true);

  const second = await run().ended;
  expect(second.code).toBe(1);
  expect(second.output).toContain(`(process ${first.child.pid}, http://localhost:${port})`);
  expect(second.output).toContain("--home DIR");

  // As a terminal and npm do it: two signals at once are one.
  first.child.kill("SIGINT");
  first.child.kill("SIGINT");
  const { code, output } = await first.ended;
  expect(code, output).toBe(130);
  expect(findMarked(mark)).toEqual([]);
  expect(serversIn(folder)).toEqual([]);
  expect(await isTaken(Number(port))).toBe(false);

  const third = run();
  await third.said("Stop with Ctrl-C");
  third.child.kill("SIGKILL");
  await untilNothingRuns(folder, mark);
});
