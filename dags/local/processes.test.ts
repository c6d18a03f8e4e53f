import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import { CHECKOUT } from "./checkout.ts";
import { endMarked, findMarked, killMarked, MARK, markOf, startProcess, tailOf } from "./processes.ts";
import { makeFolder } from "./testing.ts";

let marks = 0;

/** Starts a shell as a service, with a mark of its own, and waits until it has made the file `ready`. */
async function startShell(script: string, service = "shell") {
  marks += 1;
  const folder = makeFolder();
  const beginning = `test${process.pid}x${marks}:`;
  onTestFinished(() => killMarked(beginning));
  const log = join(folder, "log");
  const child = startProcess({
    command: ["sh", "-c", script],
    environment: {
      PATH: process.env.PATH ?? "",
      MARK,
      [MARK]: markOf({ home: beginning.slice(0, -1), run: "1", service }),
    },
    folder,
    log,
  });
  await until(() => existsSync(join(folder, "ready")));
  return { beginning, child, folder, log };
}

async function until(ask: () => boolean): Promise<void> {
  const deadline = Date.now() + 30_000;
  while (!ask()) {
    if (Date.now() > deadline) throw new Error("still not so");
    await pause(20);
  }
}

const PATIENCE = { leadersMs: 300, allMs: 300 };

test("a service ends with all that it has started, also with what ignores SIGTERM, hides its mark or has left its session", async () => {
  const { beginning, child } = await startShell(`
    sh -c 'trap "" TERM; while :; do sleep 1; done' &
    env -u "$MARK" sh -c 'sleep 1000; true' &
    (setsid sh -c 'trap "" TERM; touch ready; while :; do sleep 1; done' &)
    wait
  `);
  expect(findMarked(beginning).length).toBeGreaterThanOrEqual(4);
  await endMarked({ beginning, leaders: [child.pid ?? 0], patience: PATIENCE });
  expect(findMarked(beginning)).toEqual([]);
});

test("what is left of a killed service is found again", async () => {
  const { beginning, child } = await startShell("sh -c 'touch ready; sleep 1000' & wait");
  const gone = once(child, "exit");
  child.kill("SIGKILL");
  await gone;
  expect(findMarked(beginning)).not.toEqual([]);
  await killMarked(beginning);
  expect(findMarked(beginning)).toEqual([]);
});

test("processes with another mark are left alone", async () => {
  const one = await startShell("touch ready; sleep 1000");
  const other = await startShell("touch ready; sleep 1000");
  await killMarked(one.beginning);
  expect(findMarked(other.beginning)).not.toEqual([]);
});

test("a service that ends in order is not killed", async () => {
  const { beginning, child, folder } = await startShell(
    "trap 'touch done; exit 0' TERM; touch ready; while :; do sleep 0.05; done",
  );
  await endMarked({ beginning, leaders: [child.pid ?? 0], patience: { leadersMs: 10_000, allMs: 300 } });
  expect(existsSync(join(folder, "done"))).toBe(true);
});

test("what a service prints is in its log, of the start before in the old one", async () => {
  const { folder, log } = await startShell("echo first; echo second >&2; touch ready");
  await until(() => tailOf(log).includes("second"));
  const again = startProcess({ command: ["echo", "third"], environment: {}, folder, log });
  await once(again, "exit");
  expect(tailOf(log, 1)).toBe("third");
  expect(readFileSync(`${log}.old`, "utf8")).toBe("first\nsecond\n");
});

test("the guardian ends what is left when its parent is killed", async () => {
  const { beginning } = await startShell("sh -c 'trap \"\" TERM; touch ready; sleep 1000' & wait");
  // A parent that has a guardian as the runner has it, and is killed.
  const script = `
    import { spawn } from "node:child_process";
    const args = ["--import", "tsx", "dags/local/guardian.ts", process.argv.at(-1)];
    const child = spawn(process.execPath, args, { detached: true, stdio: ["pipe", "ignore", "inherit"] });
    console.log(child.pid);
    setInterval(() => {}, 1000);
  `;
  const parent = spawn(process.execPath, ["--input-type=module", "--eval", script, beginning], {
    cwd: CHECKOUT,
    stdio: ["ignore", "pipe", "inherit"],
  });
  await once(parent.stdout, "data");
  await pause(200);
  expect(findMarked(beginning)).not.toEqual([]);
  parent.kill("SIGKILL");
  await until(() => findMarked(beginning).length === 0);
});
