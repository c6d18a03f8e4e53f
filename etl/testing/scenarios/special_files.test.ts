/** What is no regular file, or no longer the one that was listed: refused, neither followed nor waited for. */
import { execFileSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { createTestDatabase } from "../../../db/testing/database.ts";
import { makeFolder, makeFolderElsewhere } from "../../../db/testing/folder.ts";
import { hashDrop, openRegularFile } from "../../drop/file.ts";
import { type InboxFile, type LeftFile, lookAt } from "../../inbox/list.ts";
import { moveDrop, moveFile } from "../../inbox/move.ts";
import { findReadyDrops } from "../../inbox/ready.ts";
import { findReason, type Reason, reasonPath, unknownReason } from "../../inbox/rejection.ts";
import { loadDrop } from "../../load/load.ts";
import { jsonLines, rollbookHere } from "../cli.ts";
import { invoiceId, writeDrop } from "../lines.ts";

const GOOD = `v1,${invoiceId(1)},2026-01-01,1.00`;
const SECRET = "root:secret:of:somebody";
const NAME = "a_2026-01-05.csv";

function makePipe(path: string): string {
  execFileSync("mkfifo", [path]);
  return path;
}

async function makeSocket(path: string): Promise<string> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(path, resolve));
  onTestFinished(() => void server.close());
  return path;
}

/** A file that only this user may read, outside of any inbox. */
function makeSecret(): string {
  return writeDrop(makeFolder(), "secret", [SECRET]);
}

async function lookAtFile(path: string): Promise<InboxFile> {
  const file = await lookAt(path);
  if (file === undefined) throw new Error("nothing there");
  return file;
}

/** An inbox with one of each, and one drop. */
async function fillInbox(inbox: string): Promise<readonly LeftFile[]> {
  writeDrop(inbox, NAME, [GOOD]);
  symlinkSync(makeSecret(), join(inbox, "link_2026-01-05.csv"));
  symlinkSync("/nowhere", join(inbox, "broken_2026-01-05.csv"));
  symlinkSync(inbox, join(inbox, "round_2026-01-05.csv"));
  mkdirSync(join(inbox, "folder_2026-01-05.csv"));
  makePipe(join(inbox, "pipe_2026-01-05.csv"));
  await makeSocket(join(inbox, "socket_2026-01-05.csv"));
  const left = (name: string, reason: LeftFile["reason"]) => ({ name: `${name}_2026-01-05.csv`, reason });
  return [
    left("broken", "link"),
    left("folder", "folder"),
    left("link", "link"),
    left("pipe", "pipe"),
    left("round", "link"),
    left("socket", "socket"),
  ];
}

test("what is no regular file stays in the inbox, and is told of once", async () => {
  const inbox = makeFolder();
  const expected = await fillInbox(inbox);
  mkdirSync(join(inbox, "archive"));
  symlinkSync("/nowhere", join(inbox, ".hidden"));
  const left: LeftFile[] = [];
  const onLeft = (file: LeftFile) => left.push(file);
  const ready = await findReadyDrops({ folder: inbox, waitMs: 0, intervalMs: 50, settleMs: 50, onLeft });
  expect(ready.map(({ name }) => name)).toEqual([NAME]);
  expect(left.toSorted((a, b) => (a.name < b.name ? -1 : 1))).toEqual(expected);
});

test("watch and the steps of the inbox take the drop, say why the others stay, and leave them", async () => {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  const inbox = join(folder, "inbox");
  mkdirSync(inbox);
  const expected = await fillInbox(inbox);
  const run = (...args: string[]) => rollbookHere(args, { environment: warehouse.environment, folder });
  const listed = await run("inbox", "list", "inbox", "--interval", "1", "--json");
  expect(jsonLines(listed.stdout)).toMatchObject([{ files: [join(inbox, NAME)] }]);
  const watched = await run("watch", "inbox", "--once", "--interval", "1", "--json");
  expect(watched.code).toBe(0);
  for (const { stderr } of [listed, watched]) {
    for (const { name } of expected) expect(stderr.split(`${name}: a`)).toHaveLength(2);
    expect(stderr.trim().split("\n")).toHaveLength(expected.length);
  }
  const moved = await run("inbox", "archive", "inbox", ...expected.map(({ name }) => join(inbox, name)));
  expect([moved.code, moved.stdout]).toEqual([0, ""]);
  expect(readdirSync(inbox)).toEqual([...expected.map(({ name }) => name), "archive"].sort());
  expect(readdirSync(join(inbox, "archive"))).toEqual([NAME]);
});

test("load refuses what is no file, at once; a link that is named is followed, unless --no-follow", async () => {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  const load = (...args: string[]) =>
    rollbookHere(["load", ...args], { environment: warehouse.environment, folder });
  await fillInbox(folder);
  symlinkSync("/dev/zero", join(folder, "endless_2026-01-05.csv"));
  symlinkSync(NAME, join(folder, "good_2026-01-06.csv"));
  const refused = ["/dev/zero", "/dev/null", "endless", "folder", "pipe", "socket", "broken", "round"].map(
    (name) => (name.startsWith("/") ? name : `${name}_2026-01-05.csv`),
  );
  for (const name of refused) {
    for (const flags of [[], ["--no-follow"]]) {
      const { code, stdout, stderr } = await load(...flags, name, NAME);
      expect([code, stdout], name).toEqual([2, ""]);
      expect(stderr).toMatch(/^rollbook: .* Nothing was loaded\./);
    }
  }
  const strict = await load("--no-follow", "good_2026-01-06.csv");
  expect(strict).toMatchObject({ code: 2, stdout: "" });
  expect(strict.stderr).toContain("good_2026-01-06.csv is a symbolic link");
  // What took a drop's place after it was listed holds up no other.
  const passed = await load("--no-follow", "--ignore-missing", "--json", ...refused, NAME);
  expect([passed.code, jsonLines(passed.stdout)]).toMatchObject([0, [{ file: NAME, outcome: "loaded" }]]);
  expect(passed.stderr.match(/: no regular file, skipped\n/g)).toHaveLength(refused.length);
  const followed = await load("--json", "good_2026-01-06.csv");
  expect(jsonLines(followed.stdout)).toMatchObject([{ outcome: "loaded", syncedOn: "2026-01-06" }]);
});

test("opening never waits for a pipe, nor opens a device; it may refuse links and any other file than the one listed", async () => {
  const folder = makeFolder();
  const path = writeDrop(folder, NAME, ["one"]);
  const link = join(folder, "link");
  symlinkSync(path, link);
  const unreadable = (place: string, message: string) =>
    expect(openRegularFile(place)).rejects.toMatchObject({
      code: "file_unreadable",
      message: expect.stringContaining(message),
    });
  await unreadable(makePipe(join(folder, "pipe")), "no regular file");
  await unreadable(await makeSocket(join(folder, "socket")), "pipes, devices and sockets");
  await unreadable("/dev/zero", "no regular file");
  await unreadable(folder, "name a file, not a folder");
  await (await openRegularFile(link)).close();
  await expect(openRegularFile(link, { follow: false })).rejects.toMatchObject({
    code: "file_unreadable",
    message: expect.stringContaining("it is a symbolic link"),
  });
  const listed = await lookAtFile(path);
  await (await openRegularFile(path, { listed })).close();
  writeDrop(folder, "new", ["two"]);
  renameSync(join(folder, "new"), path);
  await expect(hashDrop({ path, listed })).rejects.toMatchObject({ code: "file_changed" });
});

test.each([
  ["a link to a file of somebody else", (path: string) => symlinkSync(makeSecret(), path), "file_unreadable"],
  ["a pipe", (path: string) => void makePipe(path), "file_unreadable"],
  ["a folder", (path: string) => mkdirSync(path), "file_unreadable"],
  ["another file", (path: string) => writeFileSync(path, `${SECRET}\n`), "file_changed"],
])(
  "a drop that becomes %s after it was listed is not loaded, and nothing of that is kept",
  async (_, become, code) => {
    const warehouse = await createTestDatabase();
    const { database, settings } = warehouse;
    const path = writeDrop(makeFolder(), NAME, [GOOD]);
    const listed = await lookAtFile(path);
    unlinkSync(path);
    become(path);
    const report = await loadDrop({ database, settings, path, maxRejects: 1, follow: false, listed });
    expect(report).toMatchObject({ outcome: "failed", error: { code } });
    expect(await warehouse.query("select from warehouse.rejects")).toEqual([]);
  },
);

/** A reason that swaps the file while it is written: the last moment before the move. */
function swappingReason(path: string, swap: () => void): Reason {
  const reason = unknownReason(path);
  return Object.defineProperty({ ...reason }, "file", {
    enumerable: true,
    get: () => {
      swap();
      return reason.file;
    },
  });
}

const SWAPS = [
  ["a link to a file of somebody else", (path: string) => symlinkSync(makeSecret(), path)],
  ["another drop", (path: string) => writeFileSync(path, "another\n")],
] as const;

test.each(SWAPS)(
  "a drop that becomes %s in the last moment before it is moved is put back",
  async (_, become) => {
    const inbox = makeFolder();
    const path = writeDrop(inbox, NAME, ["one"]);
    const file = await lookAtFile(path);
    const folder = join(inbox, "rejected");
    let swapped = false;
    const reason = swappingReason(path, () => {
      if (swapped) return;
      swapped = true;
      unlinkSync(path);
      become(path);
    });
    expect(await moveDrop({ file, folder, loadId: 1, reason })).toBeUndefined();
    expect(swapped).toBe(true);
    expect(readdirSync(folder)).toEqual([]);
    expect(readdirSync(inbox)).toEqual([NAME, "rejected"]);
    expect(readFileSync(path, "utf8")).toMatch(/another|secret/);
  },
);

test.for(SWAPS)("nor is %s copied to another file system in its place", async ([, become], context) => {
  const folder = makeFolderElsewhere(context);
  const path = writeDrop(makeFolder(), NAME, ["one"]);
  const file = await lookAtFile(path);
  let swapped = false;
  const reason = swappingReason(path, () => {
    if (swapped) return;
    swapped = true;
    unlinkSync(path);
    become(path);
  });
  expect(await moveDrop({ file, folder, loadId: 1, reason })).toBeUndefined();
  expect(readdirSync(folder)).toEqual([]);
  expect(readFileSync(path, "utf8")).toMatch(/another|secret/);
});

test("the longest name goes to another file system, too", async (context) => {
  const folder = makeFolderElsewhere(context);
  const name = `${"n".repeat(240)}_2026-01-05.csv`;
  const path = writeDrop(makeFolder(), name, ["one"]);
  expect(await moveFile({ path, folder, loadId: 1 })).toBe(join(folder, name));
  expect([readdirSync(folder), existsSync(path)]).toEqual([[name], false]);
});

test.each(["archive", "rejected"])("nothing is moved through a link in the place of %s/", async (place) => {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  const inbox = join(folder, "inbox");
  const elsewhere = join(folder, "elsewhere");
  mkdirSync(elsewhere);
  const path = writeDrop(inbox, NAME, [GOOD]);
  symlinkSync(elsewhere, join(inbox, place));
  const run = (...args: string[]) => rollbookHere(args, { environment: warehouse.environment, folder });
  for (const args of [
    ["watch", "inbox", "--once", "--interval", "1"],
    ["inbox", "list", "inbox", "--interval", "1"],
    ["inbox", "archive", "inbox", path],
    ["inbox", "rejected", "inbox"],
    ["inbox", "decide", "inbox", join(inbox, "rejected", NAME), "--as", "retry"],
  ]) {
    const { code, stdout, stderr } = await run(...args);
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toContain(`${place} is a symbolic link, and drops are not moved through one.`);
  }
  // And where it is made while a command runs.
  const made = moveFile({ path, folder: join(inbox, place), loadId: 1 });
  await expect(made).rejects.toMatchObject({ code: "configuration" });
  expect([readdirSync(elsewhere), existsSync(path)]).toEqual([[], true]);
});

test("a reason is read from a file alone, not through a link, and no pipe is waited for", async () => {
  const folder = makeFolder();
  const path = join(folder, NAME);
  makePipe(reasonPath(path));
  expect(await findReason(path)).toBeUndefined();
  unlinkSync(reasonPath(path));
  const elsewhere = writeDrop(makeFolder(), "reason", [JSON.stringify(unknownReason(path))]);
  symlinkSync(elsewhere, reasonPath(path));
  expect(await findReason(path)).toBeUndefined();
  unlinkSync(reasonPath(path));
  renameSync(elsewhere, reasonPath(path));
  expect(await findReason(path)).toEqual(unknownReason(path));
});
