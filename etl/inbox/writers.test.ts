import { linkSync, mkdirSync, renameSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { makeFolder } from "../../db/testing/folder.ts";
import { rollbookHere } from "../testing/cli.ts";
import { writeDrop } from "../testing/lines.ts";
import { startSender } from "../testing/sender.ts";
import { listInbox } from "./list.ts";
import { findWriters } from "./writers.ts";

/** Only Linux shows what other processes have open. */
const linuxTest = test.runIf(process.platform === "linux");

async function writersOf(inbox: string): Promise<readonly (readonly [string, string])[]> {
  return [...(await findWriters((await listInbox(inbox)).files))].toSorted();
}

linuxTest(
  "a file that another process has open for writing is found, also after a rename, until it is closed",
  async () => {
    const inbox = makeFolder();
    const path = writeDrop(inbox, "a_2026-01-05.csv", ["one"]);
    writeDrop(inbox, "sub/b_2026-01-05.csv", ["another file of a name that is written to elsewhere"]);
    writeDrop(inbox, "b_2026-01-05.csv", ["one"]);
    expect(await writersOf(inbox)).toEqual([]);
    const sender = await startSender(path);
    await startSender(join(inbox, "b_2026-01-05.csv"), "read");
    await startSender(join(inbox, "sub/b_2026-01-05.csv"));
    expect(await writersOf(inbox)).toEqual([[path, `bash (process ${sender.pid})`]]);
    const renamed = join(inbox, "c_2026-01-05.csv");
    renameSync(path, renamed);
    expect(await writersOf(inbox)).toEqual([[renamed, `bash (process ${sender.pid})`]]);
    await sender.end();
    expect(await writersOf(inbox)).toEqual([]);
  },
);

linuxTest("a file that is open is not ready, is told of once, and holds up no other", async () => {
  const folder = makeFolder();
  const inbox = join(folder, "inbox");
  mkdirSync(inbox);
  const path = join(inbox, "a_2026-01-05.csv");
  const sender = await startSender(path);
  await sender.write("half");
  const list = (...args: string[]) =>
    rollbookHere(["inbox", "list", "inbox", "--settle", "0", "--interval", "1", ...args], {
      environment: {},
      folder,
    });
  const told = `a_2026-01-05.csv: bash (process ${sender.pid}) has it open for writing, so it stays until that is over.\n`;
  expect(await list("--wait", "2")).toEqual({ code: 0, stdout: "No file is ready.\n", stderr: told });
  linkSync(writeDrop(folder, "b.csv", ["x"]), join(inbox, "b_2026-01-05.csv"));
  const both = await list();
  expect([both.stdout.includes("b_2026-01-05.csv"), both.stdout.includes("a_2026")]).toEqual([true, false]);
  expect(both.stderr).toBe(told);
  await sender.end();
  expect((await list()).stdout).toContain("2 drops");
});
