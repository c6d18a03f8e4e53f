/** A stdout that takes nothing any more: what works goes on to its end, what only reads ends. */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { createTestDatabase, type TestWarehouse } from "../../../db/testing/database.ts";
import { makeFolder } from "../../../db/testing/folder.ts";
import { kindOf } from "../../commands/kind.ts";
import { runnableVerbs } from "../../program.ts";
import { describeProgram } from "../../usage.ts";
import { COMMAND, type Run, rollbookHere } from "../cli.ts";
import { uuidOf } from "../drops.ts";
import { writeDrop } from "../lines.ts";
import { disagreements } from "../warehouse.ts";

const LINE = (number: number) => `v-${number},${uuidOf(number)},2026-03-01,1.00`;

interface Scene {
  readonly warehouse: TestWarehouse;
  readonly folder: string;
  /** Runs `rollbook ARGS REDIRECTION`, for example `| head -1`. stdout: what the reader saw; code: rollbook's own. */
  readonly run: (args: readonly string[], redirection: string) => Run;
}

async function setScene(): Promise<Scene> {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  const run = (args: readonly string[], redirection: string): Run => {
    const status = join(makeFolder(), "status");
    const [pipe, file] = redirection.startsWith("|") ? [redirection, ""] : ["", redirection];
    const script = `{ "$@" ${file}; echo $? > "$0"; } ${pipe}`;
    const { stdout, stderr } = spawnSync("sh", ["-c", script, status, ...COMMAND, ...args], {
      cwd: folder,
      env: { PATH: process.env.PATH, HOME: folder, ...warehouse.environment },
      encoding: "utf8",
    });
    return { code: Number(readFileSync(status, "utf8")), stdout, stderr };
  };
  return { warehouse, folder, run };
}

/** Closed at once, closed after the first line, and a full disk. */
const CLOSED = existsSync("/dev/full") ? ["| true", "| head -1", "> /dev/full"] : ["| true", "| head -1"];

test("every verb declares whether it works or only reads", async () => {
  const kinds = { works: [] as string[], reads: [] as string[] };
  for (const verb of runnableVerbs(await describeProgram())) {
    const parent = verb.parent?.parent ? `${verb.parent.name()} ` : "";
    kinds[kindOf(verb)].push(`${parent}${verb.name()}`);
  }
  expect(kinds).toEqual({
    works: [
      "init",
      "load",
      "refresh",
      "watch",
      "inbox take",
      "inbox archive",
      "inbox check",
      "inbox decide",
      "rejects retry",
      "rejects dismiss",
      "undo",
      "close",
      "server",
      "serve",
      "verify",
      "partitions ensure",
      "partitions detach",
      "partitions attach",
      "partitions drop",
      "prune",
      "checkpoint",
    ],
    reads: [
      "inspect",
      "inbox list",
      "inbox rejected",
      "totals",
      "explain-total",
      "status",
      "loads",
      "rejects list",
      "silent",
      "closings list",
      "closings show",
      "restated",
      "sql",
      "partitions list",
    ],
  });
});

test.each([["> /dev/full"], ["| true"], ["| head -1", "--json"]])(
  "inbox archive of nine loaded files archives nine: %s %s",
  async (output, ...flags) => {
    if (!CLOSED.includes(output)) return;
    const { warehouse, folder, run } = await setScene();
    const files = Array.from({ length: 9 }, (_, index) => {
      const name = `inbox/drop_2026-03-0${index + 1}.csv`;
      writeDrop(folder, name, [LINE(index)]);
      return name;
    });
    const loaded = await rollbookHere(["load", ...files], { environment: warehouse.environment, folder });
    expect(loaded.code, loaded.stderr).toBe(0);
    const { code, stderr } = run(["inbox", "archive", "inbox", ...files, ...flags], output);
    expect(readdirSync(join(folder, "inbox", "archive"))).toHaveLength(9);
    expect(code).toBe(0);
    expect(stderr).toMatch(
      /^(rollbook: the output cannot be written \((its reader is gone|ENOSPC)\); the work goes on without it\n)?$/,
    );
    expect(output === "| head -1" || stderr !== "").toBe(true);
  },
);

test.each(CLOSED)(
  "a load of several files loads them all, and its exit code says how: %s",
  async (output) => {
    const { warehouse, folder, run } = await setScene();
    writeDrop(folder, "a_2026-03-30.csv", [LINE(1)]);
    writeDrop(folder, "undated.csv", [LINE(2)]);
    writeDrop(folder, "b_2026-03-31.csv", [LINE(3)]);
    const { code, stderr } = run(["load", "a_2026-03-30.csv", "undated.csv", "b_2026-03-31.csv"], output);
    expect(code).toBe(3);
    expect(stderr).not.toMatch(/^\s+at /m);
    expect(await warehouse.query("select count(*)::int from reports.venue_totals")).toEqual([{ count: 2 }]);
    expect(await warehouse.query("select from warehouse.venue_day_pending")).toEqual([]);
    expect(await disagreements(warehouse)).toEqual([]);
  },
);

test("verify without a reader still says by its exit code that something diverges", async () => {
  const { warehouse, folder, run } = await setScene();
  writeDrop(folder, "a_2026-03-30.csv", [LINE(1)]);
  await rollbookHere(["load", "a_2026-03-30.csv"], { environment: warehouse.environment, folder });
  expect(run(["verify"], "| true").code).toBe(0);
  await warehouse.query("update warehouse.venue_day_rollup set total = 7");
  expect(run(["verify"], "| true").code).toBe(1);
});

test("totals | head -1 ends quietly and with 0; on a full disk it fails and says so", async () => {
  const { warehouse, folder, run } = await setScene();
  writeDrop(
    folder,
    "many_2026-03-31.csv",
    Array.from({ length: 30_000 }, (_, number) => LINE(number)),
  );
  await rollbookHere(["load", "many_2026-03-31.csv"], { environment: warehouse.environment, folder });
  for (const redirection of ["| head -1", "2>&1 | head -1"]) {
    expect(run(["totals", "--format", "csv"], redirection)).toEqual({
      code: 0,
      stdout: "venue_id,created_on,invoices,total\n",
      stderr: "",
    });
  }
  if (!existsSync("/dev/full")) return;
  const full = run(["totals", "--format", "csv"], "> /dev/full");
  expect(full.code).toBe(1);
  expect(full.stderr).toMatch(/^rollbook: the output cannot be written \(ENOSPC\)/);
});
