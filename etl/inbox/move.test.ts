import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { makeFolder, makeFolderElsewhere } from "../../db/testing/folder.ts";
import { endingOf, loadNumberIn, withoutLoadNumber } from "../drop/place.ts";
import { writeDrop } from "../testing/lines.ts";
import { lookAt } from "./list.ts";
import { moveDrop, moveFile } from "./move.ts";
import { findReason, type Reason, reasonPath, unknownReason } from "./rejection.ts";

function filesIn(folder: string): string[] {
  return readdirSync(folder).sort();
}

test("a drop is put away as it was looked at; another file of its name that came since is nobody's to move", async () => {
  const inbox = makeFolder();
  const path = writeDrop(inbox, "a_2026-01-05.csv", ["one"]);
  const file = await lookAt(path);
  if (file === undefined) throw new Error("nothing there");
  writeDrop(inbox, "new.part", ["another"]);
  renameSync(join(inbox, "new.part"), path);
  const folder = join(inbox, "archive");
  expect(await moveDrop({ file, folder, loadId: 1 })).toBeUndefined();
  expect(readFileSync(path, "utf8")).toBe("another\n");
  const fresh = await lookAt(path);
  if (fresh === undefined) throw new Error("nothing there");
  expect(await moveDrop({ file: fresh, folder, loadId: 1 })).toBe(join(folder, "a_2026-01-05.csv"));
  expect(await moveDrop({ file: fresh, folder, loadId: 1 })).toBeUndefined();
  expect(filesIn(folder)).toEqual(["a_2026-01-05.csv"]);
});

test("a move that fails leaves nothing behind", async () => {
  const folder = makeFolder();
  const target = join(folder, "archive");
  await expect(
    moveFile({ path: join(folder, "gone_2026-01-05.csv"), folder: target, loadId: 1 }),
  ).rejects.toThrow("ENOENT");
  expect(filesIn(target)).toEqual([]);
});

test("a move to another file system is a copy, whole or not there", async (context) => {
  const from = makeFolder();
  const to = makeFolderElsewhere(context);
  expect((await stat(from)).dev).not.toBe((await stat(to)).dev);
  const path = writeDrop(from, "a_2026-01-05.csv", ["one"]);
  const { mtimeMs } = await stat(path);
  expect(await moveFile({ path, folder: to, loadId: null })).toBe(join(to, "a_2026-01-05.csv"));
  expect([filesIn(from), filesIn(to)]).toEqual([[], ["a_2026-01-05.csv"]]);
  expect(readFileSync(join(to, "a_2026-01-05.csv"), "utf8")).toBe("one\n");
  expect((await stat(join(to, "a_2026-01-05.csv"))).mtimeMs).toBeCloseTo(mtimeMs, -1);
  await moveFile({ path: writeDrop(from, "a_2026-01-05.csv", ["two"]), folder: to, loadId: null });
  expect(filesIn(to)).toEqual(["a_2026-01-05.2.csv", "a_2026-01-05.csv"]);
});

test("a reason is there before its drop, and takes no name that is taken", async () => {
  const inbox = makeFolder();
  const rejected = join(inbox, "rejected");
  mkdirSync(rejected);
  writeFileSync(join(rejected, "a_2026-01-05.csv.reason.json"), "somebody else's");
  const path = writeDrop(inbox, "a_2026-01-05.csv", ["one"]);
  const reason: Reason = { ...unknownReason(path), loadId: 7, error: { code: "bad_header", message: "no" } };
  const target = await moveFile({ path, folder: rejected, loadId: 7, reason });
  expect(filesIn(rejected)).toEqual([
    "a_2026-01-05.csv.reason.json",
    "a_2026-01-05.load-7.csv",
    "a_2026-01-05.load-7.csv.reason.json",
  ]);
  expect(await findReason(target)).toEqual(reason);
  expect(readFileSync(join(rejected, "a_2026-01-05.csv.reason.json"), "utf8")).toBe("somebody else's");
  await expect(
    moveFile({ path: join(inbox, "gone.csv"), folder: rejected, loadId: 8, reason }),
  ).rejects.toThrow("ENOENT");
  expect(filesIn(rejected)).toHaveLength(3);
});

test("the longest name has room for the load's number and for its reason", async () => {
  const inbox = makeFolder();
  const folder = join(inbox, "rejected");
  for (const name of [`${"é".repeat(120)}_2026-01-05.csv`, `${"n".repeat(251)}.csv`]) {
    const reason = unknownReason(join(inbox, name));
    const targets: string[] = [];
    for (const loadId of [5, 5, 5]) {
      const path = writeDrop(inbox, name, ["one"]);
      targets.push(await moveFile({ path, folder, loadId, reason }));
    }
    expect(new Set(targets).size).toBe(3);
    for (const target of targets) expect(await findReason(target)).toEqual(reason);
  }
});

test("what was edited by hand so that it is no reason any more counts as none", async () => {
  const folder = makeFolder();
  const path = join(folder, "a.csv");
  for (const text of ["", "[]", "null", "{", '{"file":"a.csv"}', '{"file":1,"loadId":1,"syncedOn":null}']) {
    writeFileSync(reasonPath(path), text);
    expect(await findReason(path)).toBeUndefined();
  }
});

test.each([
  ["a.csv", ".csv", "a.load-7.csv"],
  ["a.csv.gz", ".csv.gz", "a.load-7.csv.gz"],
  ["a.TXT", ".TXT", "a.load-7.TXT"],
  ["a.txt.gz", ".txt.gz", "a.load-7.txt.gz"],
  ["a_2026.10.05.gz", ".gz", "a_2026.10.05.load-7.gz"],
  ["a", "", "a.load-7"],
])("%s gets the load's number before its ending, and is known by it", async (name, ending, numbered) => {
  const folder = makeFolder();
  const place = join(folder, "archive");
  mkdirSync(place);
  writeFileSync(join(place, name), "first");
  const path = writeDrop(folder, name, ["second"]);
  expect(endingOf(name)).toBe(ending);
  expect(await moveFile({ path, folder: place, loadId: 7 })).toBe(join(place, numbered));
  expect(loadNumberIn(numbered)).toBe(7);
  expect(loadNumberIn(name)).toBeNull();
  expect(withoutLoadNumber(numbered)).toBe(name);
});
