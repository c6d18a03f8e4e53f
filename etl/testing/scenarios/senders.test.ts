/** Senders that pause, go on, and come back: in the end the totals are right. Each is a process, and so is the watch. */
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
} from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import { createTestDatabase, type TestWarehouse } from "../../../db/testing/database.ts";
import { makeFolder } from "../../../db/testing/folder.ts";
import { until } from "../../../db/testing/own_server.ts";
import { startRollbook } from "../cli.ts";
import { invoiceId } from "../lines.ts";
import { startSender } from "../sender.ts";
import { disagreements, totalsOf } from "../warehouse.ts";

const NAME = "slow_2026-01-05.csv";
const line = (number: number, total = "10.00") => `v1,${invoiceId(number)},2026-01-01,${total}\n`;
const lines = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, index) => line(from + index)).join("");

interface Scene {
  readonly warehouse: TestWarehouse;
  readonly inbox: string;
  readonly archive: string;
  /** What the watch has said so far, on both streams. */
  readonly said: () => string;
  /** Ends the watch. */
  readonly end: () => Promise<void>;
  readonly total: () => Promise<string | undefined>;
}

async function startWatch(): Promise<Scene> {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  const inbox = join(folder, "inbox");
  mkdirSync(inbox);
  const { child, ended } = startRollbook(["watch", "inbox", "--interval", "1", "--settle", "1"], {
    environment: warehouse.environment,
    folder,
  });
  onTestFinished(() => {
    child.kill("SIGKILL");
  });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (text) => {
      said += text;
    });
  }
  await until("the watch begins", () => said.includes("watching inbox"));
  return {
    warehouse,
    inbox,
    archive: join(inbox, "archive"),
    said: () => said,
    end: async () => {
      child.kill("SIGTERM");
      expect((await ended).code).toBe(143);
      expect(await disagreements(warehouse)).toEqual([]);
    },
    total: async () => {
      const [row] = await totalsOf(warehouse);
      return row && `${row.invoices} for ${row.total}`;
    },
  };
}

/** A file that is about to be moved there has its name already, and is empty. */
function filesIn(folder: string): readonly string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder).filter((name) => statSync(join(folder, name)).size > 0);
}

test.runIf(process.platform === "linux")(
  "one that stalls for longer than the settle time, in the middle of a number, is waited for while it has the file open",
  async () => {
    const { inbox, archive, said, end, total } = await startWatch();
    const sender = await startSender(join(inbox, NAME));
    await sender.write(`${lines(0, 100)}v1,${invoiceId(100)},2026-01-01,12`);
    await until("it is told of", () => said().includes("has it open for writing"));
    await sleep(3000);
    expect(filesIn(archive)).toEqual([]);
    await sender.write(`34.50\n${line(101)}`);
    await sender.end();
    await until("it is archived", () => filesIn(archive).includes(NAME));
    expect(await total()).toBe("102 for 2244.50");
    await end();
    expect(said().match(/has it open for writing/g)).toHaveLength(1);
    expect(said().match(/loaded \(load/g)).toHaveLength(1);
    expect(readFileSync(join(archive, NAME), "utf8").split("\n")).toHaveLength(103);
  },
);

test("one that closes the file in the middle of a number and opens it again appends to the archived file, which is loaded again", async () => {
  const { inbox, archive, said, end, total } = await startWatch();
  const first = await startSender(join(inbox, NAME));
  await first.write(`${lines(0, 100)}v1,${invoiceId(100)},2026-01-01,12`);
  await first.end();
  await until("it is archived", () => filesIn(archive).includes(NAME));
  expect(await total()).toBe("101 for 1012.00");
  const again = await startSender(join(archive, NAME));
  await again.write(`34.50\n${line(101)}`);
  await until("it is told of", () => said().includes("is not as it was loaded"));
  // It is in the inbox again, and the sender still has not finished.
  await again.write(line(102));
  await again.end();
  await until("it is right", async () => (await total()) === "103 for 2254.50");
  await until("it is archived again", () => filesIn(archive).includes(NAME));
  expect(readFileSync(join(archive, NAME), "utf8").split("\n")).toHaveLength(104);
  await end();
});

test("one that stalls with the file open, where nobody can see that, goes on in the archived file, which is loaded again", async () => {
  const { inbox, archive, said, end, total, warehouse } = await startWatch();
  const part = join(inbox, "hidden.part");
  const sender = await startSender(part);
  await sender.write(lines(0, 100));
  // Taken by a rename while it is written: as from another machine, the look at open files comes too late.
  copyFileSync(part, join(inbox, NAME));
  await until("it is archived", () => filesIn(archive).includes(NAME));
  renameSync(part, join(archive, NAME));
  await sender.write(lines(100, 150));
  await until("it is told of", () => said().includes("is not as it was loaded"));
  await sender.write(lines(150, 200));
  await sender.end();
  await until("it is right", async () => (await total()) === "200 for 2000.00");
  await until("it is archived again", () => filesIn(archive).includes(NAME));
  await end();
  expect(await warehouse.query("select from warehouse.loads where status <> 'loaded'")).toEqual([]);
});

test("one that writes under another name and renames is loaded once, whole, however long it pauses", async () => {
  const { inbox, archive, said, end, total } = await startWatch();
  const part = join(inbox, `${NAME}.part`);
  const sender = await startSender(part);
  await sender.write(lines(0, 100));
  await sleep(3000);
  expect(said()).not.toContain("loaded");
  await sender.write(lines(100, 200));
  await sender.end();
  renameSync(part, join(inbox, NAME));
  await until("it is archived", () => filesIn(archive).includes(NAME));
  expect(await total()).toBe("200 for 2000.00");
  await end();
  expect(said().match(/loaded \(load/g)).toHaveLength(1);
});
