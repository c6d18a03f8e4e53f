import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { makeServerHome } from "../db/testing/home.ts";
import { delta } from "./arms/delta.ts";
import { type ArmResult, type CellResult, readResults } from "./results.ts";
import { type Arm, totalsOf } from "./run/arm.ts";
import { planProfile } from "./run/profiles.ts";
import { runBench } from "./run/runner.ts";
import { openSession } from "./run/session.ts";

const BENCH = fileURLToPath(new URL("./bench.ts", import.meta.url));
const RUN_MS = 600_000;

/** One home for all tests of this file, so that histories are built once. */
let home: string;
beforeAll(() => {
  home = makeServerHome();
});
afterAll(() => rmSync(home, { recursive: true, force: true }));

interface Started {
  readonly child: ChildProcess;
  readonly output: Promise<string>;
  readonly ended: Promise<number | NodeJS.Signals | null>;
}

function startBench(...args: readonly string[]): Started {
  const child = spawn(
    process.execPath,
    ["--import", import.meta.resolve("tsx"), BENCH, "--profile", "smoke", "--home", home, ...args],
    { stdio: ["ignore", "pipe", "pipe"] },
  );
  const ended = once(child, "exit").then(([code, signal]) => signal ?? code);
  const output = Promise.all([text(child.stdout), text(child.stderr)]).then(([out, err]) => out + err);
  return { child, output, ended };
}

async function bench(...args: readonly string[]) {
  const { output, ended } = startBench(...args);
  return { code: await ended, output: await output };
}

const wrongArms = ({ arms }: CellResult) =>
  arms.filter(({ verdict }) => verdict?.exact === false).map(({ arm }) => arm);

/** Arms that are wrong by design: they miss what is late, and what is corrected. */
function expectedWrong({ cell, arms }: CellResult): readonly string[] {
  const measured = (name: string) => arms.some(({ arm }) => arm === name);
  return [
    ...(measured("lookback") && cell.lateness !== "none" ? ["lookback"] : []),
    ...(measured("duckdb") && cell.corrections > 0 ? ["duckdb"] : []),
  ];
}

const findArm = (result: CellResult | undefined, name: string): ArmResult => {
  const found = result?.arms.find(({ arm }) => arm === name);
  if (found === undefined) throw new Error(`no arm ${name}`);
  return found;
};

test(
  "the smoke profile measures every cell, and all ways that can be exact are",
  async () => {
    const out = join(home, "smoke");
    const { code, output } = await bench("--out", out);
    expect(output).toContain("exact");
    expect(code).toBe(0);
    const results = readResults(join(out, "results.json"));
    expect(results.finishedAt).not.toBeNull();
    expect(results.cells.map(({ cell }) => cell)).toEqual(planProfile("smoke").map(({ cell }) => cell));
    expect(results.cells.map((result) => [result.cell.id, wrongArms(result)])).toEqual(
      results.cells.map((result) => [result.cell.id, expectedWrong(result)]),
    );
    const unmeasured = results.cells.flatMap(({ arms }) =>
      arms.filter(({ samples, unavailable }) => samples.length < (unavailable === undefined ? 2 : 0)),
    );
    expect(unmeasured).toEqual([]);
    const baseline = results.cells.find(({ cell }) => cell.axis === "baseline");
    const unjudged = baseline?.arms.filter(
      ({ verdict, group, unavailable }) => verdict === null && group !== "floor" && unavailable === undefined,
    );
    expect(unjudged).toEqual([]);
    const [sample] = findArm(baseline, "delta").samples;
    expect(sample?.rows).toBe(10_000);
    expect(sample?.walBytes).toBeGreaterThan(0);
    expect(sample?.nodePeakBytes).toBeGreaterThan(0);
    expect(sample?.wallMs).toBeCloseTo(sample?.phases.reduce((sum, { ms }) => sum + ms, 0) ?? 0, 6);
    expect(findArm(baseline, "timescaledb")).toMatchObject({ samples: [], verdict: null });
  },
  RUN_MS,
);

/** A cell of all arms, with a small history. */
const SMALL = "history=20k batch=10k late=10% month";
/** A cell with few arms, of which one is wrong. */
const FEW = "history=100k batch=10k late=even month";

test(
  "an arm whose totals are off by a cent is reported as wrong",
  async () => {
    const offByACent: Arm = {
      name: "off_by_a_cent",
      title: "off by a cent",
      group: "other",
      site: "shared",
      open: (site) =>
        openSession(site, {
          run: async () => ({ phases: [{ name: "refresh", ms: 0 }] }),
        }),
      totals: () => `
      select created_on, venue_key, invoices,
             total + case row_number() over (order by created_on, venue_key) when 1 then 0.01 else 0 end as total
      from (${totalsOf("bench.truth")}) truth`,
    };
    const { results, interrupted } = await runBench({
      profile: "smoke",
      home,
      out: join(home, "wrong"),
      only: SMALL,
      arms: [delta, offByACent],
    });
    expect(interrupted).toBe(false);
    expect(findArm(results.cells[0], "off_by_a_cent").verdict).toEqual({
      exact: false,
      groups: 1,
      cents: "1",
    });
    expect(findArm(results.cells[0], "delta").verdict?.exact).toBe(true);
  },
  RUN_MS,
);

/** Waits until the run says this on its way. */
async function until(child: ChildProcess, said: RegExp): Promise<void> {
  let heard = "";
  child.stderr?.on("data", (chunk: Buffer) => {
    heard += chunk;
  });
  while (!said.test(heard)) {
    if (child.exitCode !== null) throw new Error(`the run ended before it said ${said}:\n${heard}`);
    await sleep(10);
  }
}

test(
  "after SIGKILL a run goes on where it stopped, and measures no cell again",
  async () => {
    const out = join(home, "killed");
    const path = join(out, "results.json");
    expect((await bench("--out", out, "--only", "pending=0")).code).toBe(0);
    const [before] = readResults(path).cells;
    const killed = startBench("--out", out, "--only", FEW);
    await until(killed.child, /touched_groups/);
    killed.child.kill("SIGKILL");
    expect(await killed.ended).toBe("SIGKILL");
    expect(readResults(path).cells).toEqual([before]);

    expect((await bench("--out", out, "--only", FEW)).code).toBe(0);
    const { cells } = readResults(path);
    expect(cells.find(({ cell }) => cell.axis === "reads")).toEqual(before);
    const measured = cells.find(({ cell }) => cell.axis === "lateness");
    expect(measured && wrongArms(measured)).toEqual(["lookback"]);
  },
  RUN_MS,
);

test(
  "SIGTERM ends a run soon, and it says how to go on",
  async () => {
    const stopped = startBench("--out", join(home, "stopped"), "--only", FEW);
    await until(stopped.child, /touched_groups/);
    stopped.child.kill("SIGTERM");
    expect(await stopped.ended).toBe(143);
    expect(await stopped.output).toContain("run the same command again");
  },
  RUN_MS,
);

test("an unknown cell is a usage error that lists the cells", async () => {
  const { code, output } = await bench("--only", "nonsense");
  expect(code).toBe(2);
  expect(output).toContain(planProfile("smoke")[0]?.cell.id);
});
