import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { createTestDatabase, type TestWarehouse } from "../../db/testing/database.ts";
import { makeFolder } from "../../db/testing/folder.ts";
import { jsonLines, type Run, rollbook, rollbookHere } from "../testing/cli.ts";
import { invoiceId, writeDrop } from "../testing/lines.ts";
import { disagreements } from "../testing/warehouse.ts";
import { listInbox } from "./list.ts";

const GOOD = (number: number) => `v1,${invoiceId(number)},2026-01-01,1.00`;
const BAD = "v1,no-uuid,2026-01-01,1.00";
const NAME = "OrderDetails_2026-01-05.csv";

interface Scene {
  readonly warehouse: TestWarehouse;
  readonly folder: string;
  readonly inbox: string;
  readonly run: (...args: string[]) => Promise<Run>;
  readonly watch: (...args: string[]) => Promise<Run>;
  /** The files of the inbox and below, reasons left out, relative to it. */
  readonly files: () => readonly string[];
  readonly invoices: () => Promise<number>;
}

async function setScene(): Promise<Scene> {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  const inbox = join(folder, "inbox");
  mkdirSync(inbox);
  const run = (...args: string[]) => rollbookHere(args, { environment: warehouse.environment, folder });
  return {
    warehouse,
    folder,
    inbox,
    run,
    watch: (...args) => run("watch", "inbox", "--once", "--settle", "0", "--recursive", ...args),
    files: () => filesBelow(inbox).filter((path) => !path.endsWith(".reason.json")),
    invoices: async () => {
      expect(await disagreements(warehouse)).toEqual([]);
      return (await warehouse.query("select from warehouse.invoices")).length;
    },
  };
}

function filesBelow(folder: string): readonly string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((path) => statSync(join(folder, path)).isFile())
    .sort();
}

test("watch takes files in folders below, and archive/ and rejected/ get the same folders", async () => {
  const { inbox, watch, files, invoices } = await setScene();
  writeDrop(inbox, NAME, [GOOD(1)]);
  writeDrop(inbox, `20260105/${NAME}`, [GOOD(2)]);
  writeDrop(inbox, `a/archive/${NAME}`, [GOOD(3)]);
  writeDrop(inbox, "a/bad_2026-01-04.csv", [BAD]);
  writeDrop(inbox, "a/notes.txt", ["x"]);
  writeDrop(inbox, "upload.part/late_2026-01-05.csv", [GOOD(4)]);
  writeDrop(inbox, ".sync/hidden_2026-01-05.csv", [GOOD(5)]);
  const { code, stdout, stderr } = await watch("--json");
  expect(code).toBe(3);
  expect(stderr).toBe(
    "a/notes.txt: no CSV file, so it stays where it is: its name does not end in .csv or .csv.gz.\n",
  );
  expect(jsonLines(stdout).map(({ file }) => file)).toEqual([
    join(inbox, "a/bad_2026-01-04.csv"),
    join(inbox, `20260105/${NAME}`),
    join(inbox, NAME),
    join(inbox, `a/archive/${NAME}`),
  ]);
  const done = [
    ".sync/hidden_2026-01-05.csv",
    "a/notes.txt",
    `archive/20260105/${NAME}`,
    `archive/${NAME}`,
    `archive/a/archive/${NAME}`,
    "rejected/a/bad_2026-01-04.csv",
    "upload.part/late_2026-01-05.csv",
  ];
  expect(files()).toEqual(done);
  expect(existsSync(join(inbox, "rejected/a/bad_2026-01-04.csv.reason.json"))).toBe(true);
  expect(await watch()).toMatchObject({ code: 0, stdout: "" });
  expect(files()).toEqual(done);
  expect(await invoices()).toBe(3);
});

test("list, load and archive do the same step by step; without the flag files below are left alone", async () => {
  const { inbox, run, files } = await setScene();
  writeDrop(inbox, `20260105/${NAME}`, [GOOD(1)]);
  writeDrop(inbox, `20260106/deep/${NAME}`, [BAD]);
  const flat = await run("inbox", "list", "inbox", "--settle", "0", "--json");
  expect(flat.stdout).toBe("");
  expect(flat.stderr).toContain("20260105: a folder, so it stays where it is");
  const listed = await run("inbox", "list", "inbox", "--settle", "0", "--json", "--recursive");
  const paths = jsonLines(listed.stdout).flatMap((batch) => batch.files as string[]);
  expect(paths).toEqual([join(inbox, `20260105/${NAME}`), join(inbox, `20260106/deep/${NAME}`)]);
  await run("load", "--no-refresh", ...paths);
  expect(await run("inbox", "archive", "inbox", ...paths)).toMatchObject({ code: 2, stdout: "" });
  for (const outcomes of [
    ["loaded", "rejected"],
    ["missing", "missing"],
  ]) {
    const { code, stdout } = await run("inbox", "archive", "inbox", "--recursive", "--json", "--", ...paths);
    expect(code).toBe(0);
    expect(jsonLines(stdout).map(({ outcome }) => outcome)).toEqual(outcomes);
  }
  expect(files()).toEqual([`archive/20260105/${NAME}`, `rejected/20260106/deep/${NAME}`]);
});

test("a rejected file is decided on where it lies, and goes back to its folder or to that of the archive", async () => {
  const { inbox, run, watch, files, invoices } = await setScene();
  const rejected = join(inbox, "rejected/b", NAME);
  writeDrop(inbox, `b/${NAME}`, [GOOD(1), BAD]);
  await watch();
  expect(jsonLines((await run("inbox", "rejected", "inbox", "--json")).stdout)).toMatchObject([
    { path: rejected },
  ]);
  for (const outcome of ["returned", "already_returned"]) {
    const retried = await run("inbox", "decide", "inbox", rejected, "--as", "retry", "--json");
    expect(jsonLines(retried.stdout)).toMatchObject([{ outcome, movedTo: join(inbox, "b", NAME) }]);
  }
  rmSync(join(inbox, "rejected"), { recursive: true });
  await watch();
  for (const outcome of ["loaded", "already_loaded"]) {
    const loaded = await run("inbox", "decide", "inbox", rejected, "--as", "load", "--json");
    expect(jsonLines(loaded.stdout)).toMatchObject([{ outcome, movedTo: join(inbox, "archive/b", NAME) }]);
  }
  expect(files()).toEqual([`archive/b/${NAME}`]);
  expect(await invoices()).toBe(1);
});

test("check looks at the folders below archive/, and what grew goes back to its own folder", async () => {
  const { inbox, run, watch, files, invoices } = await setScene();
  for (const [number, folder] of ["x", "y"].entries()) writeDrop(inbox, `${folder}/${NAME}`, [GOOD(number)]);
  await watch();
  rmSync(join(inbox, "y"), { recursive: true });
  appendFileSync(join(inbox, "archive/y", NAME), `${GOOD(7)}\n`);
  const flat = await run("inbox", "check", "inbox", "--json");
  expect(jsonLines(flat.stdout)).toMatchObject([{ kind: "summary", files: 0 }]);
  const { stdout } = await run("inbox", "check", "inbox", "--recursive", "--json");
  expect(jsonLines(stdout)).toMatchObject([
    { outcome: "returned", movedTo: join(inbox, "y", NAME) },
    { kind: "summary", files: 2, returned: 1 },
  ]);
  await watch();
  expect(files()).toEqual([`archive/x/${NAME}`, `archive/y/${NAME}`]);
  expect(await invoices()).toBe(3);
});

test("no link is followed: neither to a folder of files, nor in the place of a folder of the archive", async () => {
  const { folder, inbox, watch, files } = await setScene();
  const elsewhere = join(folder, "elsewhere");
  writeDrop(elsewhere, NAME, [GOOD(1)]);
  symlinkSync(elsewhere, join(inbox, "linked"));
  mkdirSync(join(inbox, "real"));
  symlinkSync(elsewhere, join(inbox, "real/linked"));
  const { code, stdout, stderr } = await watch();
  expect([code, stdout]).toEqual([0, ""]);
  expect(stderr.split("\n").sort()).toEqual([
    "",
    "linked: a symbolic link, so it stays where it is: links are not followed. Put the file itself here.",
    "real/linked: a symbolic link, so it stays where it is: links are not followed. Put the file itself here.",
  ]);
  rmSync(join(inbox, "linked"));
  writeDrop(inbox, `c/d/${NAME}`, [GOOD(2)]);
  mkdirSync(join(inbox, "archive"));
  symlinkSync(elsewhere, join(inbox, "archive/c"));
  const refused = await watch();
  expect(refused.code).toBe(1);
  expect(refused.stderr).toContain("archive/c is a symbolic link, and drops are not moved through one");
  expect(filesBelow(elsewhere)).toEqual([NAME]);
  rmSync(join(inbox, "archive/c"));
  expect((await watch()).code).toBe(0);
  rmSync(join(inbox, "real"), { recursive: true });
  expect(files()).toEqual([`archive/c/d/${NAME}`]);
});

test("a folder that becomes a link while the inbox is listed is not read", async () => {
  const folder = makeFolder();
  const inbox = join(folder, "inbox");
  for (let number = 0; number < 300; number += 1) writeDrop(inbox, `z/${number}_2026-01-05.csv`, ["x"]);
  writeDrop(folder, `elsewhere/${NAME}`, ["secret"]);
  mkdirSync(join(inbox, "a"));
  // It is seen as a folder, and its turn comes later.
  const listed = listInbox(inbox, { recursive: true });
  await new Promise((resolve) => setImmediate(resolve));
  renameSync(join(inbox, "a"), join(inbox, "moved"));
  symlinkSync(join(folder, "elsewhere"), join(inbox, "a"));
  const { files } = await listed;
  expect(files.map(({ name }) => name)).not.toContain(NAME);
});

test("as a process: a folder that this user may not read is told of, and the others are listed", async () => {
  const folder = makeFolder();
  const inbox = join(folder, "inbox");
  writeDrop(inbox, `open/${NAME}`, ["x"]);
  writeDrop(inbox, `closed/${NAME}`, ["x"]);
  writeFileSync(join(inbox, "closed/more.csv"), "x");
  chmodSync(join(inbox, "closed"), 0o000);
  // Root may read everything, unless it does without the capability to.
  const caps = "-dac_override,-dac_read_search";
  const wrapper = process.getuid?.() === 0 ? ["setpriv", `--bounding-set=${caps}`, `--inh-caps=${caps}`] : [];
  const { code, stdout, stderr } = await rollbook(
    ["inbox", "list", "inbox", "--settle", "0", "--recursive", "--json"],
    { environment: {}, folder, wrapper },
  );
  chmodSync(join(inbox, "closed"), 0o700);
  expect(code).toBe(0);
  expect(jsonLines(stdout)).toMatchObject([{ files: [join(inbox, `open/${NAME}`)] }]);
  expect(stderr).toContain("closed: this user may not read it, so it stays where it is");
});
