import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import { makeFolder } from "../../db/testing/folder.ts";
import { until } from "../../db/testing/own_server.ts";
import { jsonLines, type Run, rollbook, rollbookHere, startRollbook } from "../testing/cli.ts";
import { hostileFileNames } from "../testing/hostile.ts";
import { invoiceId, writeDrop } from "../testing/lines.ts";
import { type InboxFile, type LeftFile, listInbox } from "./list.ts";
import { keepsLocalTime } from "./local_time.ts";
import { findReadyDrops } from "./ready.ts";
import { followSettling } from "./settle.ts";

/** Listing an inbox asks no database. */
const NOWHERE = { PGHOST: "/nowhere/at/all", PGUSER: "nobody" };
const SETTLE_MS = 100;

function makeInbox(): {
  readonly folder: string;
  readonly inbox: string;
  readonly list: (...args: string[]) => Promise<Run>;
} {
  const folder = makeFolder();
  const inbox = join(folder, "inbox");
  mkdirSync(inbox);
  const list = (...args: string[]) =>
    rollbookHere(["inbox", "list", "inbox", "--settle", "1", ...args], { environment: NOWHERE, folder });
  return { folder, inbox, list };
}

function find(
  folder: string,
  options: { readonly waitMs?: number; readonly onLeft?: (left: LeftFile) => void } = {},
) {
  return findReadyDrops({ folder, waitMs: 0, intervalMs: SETTLE_MS, settleMs: SETTLE_MS, ...options });
}

function namesOf(files: readonly InboxFile[]): readonly string[] {
  return files.map(({ name }) => name);
}

/** Writes to a file again and again until the test is over. */
function keepWriting(path: string): void {
  const timer = setInterval(() => appendFileSync(path, "more\n"), 10);
  onTestFinished(() => clearInterval(timer));
}

test("where the clock of the file system is unknown, a file is settled when it was seen the same for the settle time", async () => {
  const inbox = makeFolder();
  const path = writeDrop(inbox, "a_2026-01-05.csv", ["one"]);
  writeDrop(inbox, "b_2026-01-04.csv", ["two"]);
  for (const name of ["a_2026-01-05.csv", "b_2026-01-04.csv"]) utimesSync(join(inbox, name), 1, 1);
  const { observe, nextMs } = followSettling(1000);
  const look = async (afterMs: number) => {
    const files = (await listInbox(inbox)).files.map((file) => ({ ...file, changedNs: undefined }));
    return namesOf(observe(files, performance.now() + afterMs));
  };
  expect(nextMs()).toBe(Number.POSITIVE_INFINITY);
  expect(await look(0)).toEqual([]);
  expect(nextMs()).toBeLessThanOrEqual(1000);
  expect(await look(500)).toEqual([]);
  appendFileSync(path, "more");
  expect(await look(1500)).toEqual(["b_2026-01-04.csv"]);
  expect(await look(1500)).toEqual(["b_2026-01-04.csv", "a_2026-01-05.csv"]);
  expect(nextMs()).toBe(Number.POSITIVE_INFINITY);
  utimesSync(join(inbox, "b_2026-01-04.csv"), 2, 2);
  expect(await look(1500)).toEqual(["a_2026-01-05.csv"]);
  rmSync(path);
  writeDrop(inbox, "a_2026-01-05.csv", ["another"]);
  expect(await look(1500)).toEqual(["b_2026-01-04.csv"]);
});

/** Elsewhere nothing says whose clock it is. */
const linuxTest = test.runIf(process.platform === "linux");

linuxTest(
  "by this machine's clock a file is settled that stood still before it was seen, whatever its modification time says",
  async () => {
    const inbox = makeFolder();
    const path = writeDrop(inbox, "a_2026-01-05.csv", ["one"]);
    const look = async (settleMs: number) => {
      const lookedAt = performance.now();
      return namesOf(followSettling(settleMs).observe((await listInbox(inbox)).files, lookedAt));
    };
    expect(await look(60_000)).toEqual([]);
    await sleep(400);
    expect(await look(300)).toEqual(["a_2026-01-05.csv"]);
    expect(await look(60_000)).toEqual([]);
    const since = performance.now();
    // Whoever copies a file with its old time writes it now.
    utimesSync(path, 1, 1);
    const found = await look(300);
    if (performance.now() - since < 300) expect(found).toEqual([]);
    expect(await keepsLocalTime("/proc")).toBe(false);
    expect(await keepsLocalTime(join(inbox, "gone"))).toBe(false);
  },
);

linuxTest(
  "what comes together is ready together, though one file was written earlier than the other",
  async () => {
    const inbox = makeFolder();
    writeDrop(inbox, "a_2026-01-05.csv", ["one"]);
    await sleep(300);
    writeDrop(inbox, "b_2026-01-05.csv", ["two"]);
    const found = await findReadyDrops({ folder: inbox, waitMs: 0, intervalMs: 60_000, settleMs: 400 });
    expect(namesOf(found)).toEqual(["a_2026-01-05.csv", "b_2026-01-05.csv"]);
  },
);

test("a change time that is still to come does not count", async () => {
  const inbox = makeFolder();
  writeDrop(inbox, "a_2026-01-05.csv", ["one"]);
  const { files } = await listInbox(inbox);
  const ahead = files.map((file) => ({ ...file, changedNs: BigInt(Date.now() + 3_600_000) * 1_000_000n }));
  const { observe } = followSettling(1000);
  expect(observe(ahead, performance.now())).toEqual([]);
  expect(observe(ahead, performance.now() + 500)).toEqual([]);
  expect(namesOf(observe(ahead, performance.now() + 1500))).toEqual(["a_2026-01-05.csv"]);
});

test("a clock that is set back makes no file younger than it was seen", async () => {
  const inbox = makeFolder();
  writeDrop(inbox, "a_2026-01-05.csv", ["one"]);
  const { files } = await listInbox(inbox);
  const changedNs = BigInt(Date.now() + 900) * 1_000_000n;
  const aheadALittle = files.map((file) => ({ ...file, changedNs }));
  const { observe } = followSettling(1000);
  expect(observe(aheadALittle, performance.now())).toEqual([]);
  expect(namesOf(observe(aheadALittle, performance.now() + 1500))).toEqual(["a_2026-01-05.csv"]);
});

test("with a settle time of 0 a file is taken as soon as it is seen", async () => {
  const inbox = makeFolder();
  writeDrop(inbox, "a_2026-01-05.csv", ["one"]);
  expect(
    namesOf(await findReadyDrops({ folder: inbox, waitMs: 0, intervalMs: 60_000, settleMs: 0 })),
  ).toEqual(["a_2026-01-05.csv"]);
});

test("a sender that pauses for less than the settle time is waited for, also where the wait is shorter", async () => {
  const inbox = makeFolder();
  const path = writeDrop(inbox, "a_2026-01-05.csv", ["half"]);
  const found = findReadyDrops({ folder: inbox, waitMs: 60_000, intervalMs: 50, settleMs: 2000 });
  await sleep(1000);
  appendFileSync(path, "and half\n");
  const [file] = await found;
  expect(file?.bytes).toBe(14n);
  const options = { folder: inbox, waitMs: 0, intervalMs: 60_000, settleMs: 300 };
  expect(namesOf(await findReadyDrops(options))).toEqual(["a_2026-01-05.csv"]);
});

test("the settle time is the flag's, else that of the environment, which must be whole seconds", async () => {
  const { folder, inbox } = makeInbox();
  writeDrop(inbox, "a_2026-01-05.csv", ["x"]);
  const list = (settle: string, ...args: string[]) =>
    rollbookHere(["inbox", "list", "inbox", ...args], {
      environment: { ...NOWHERE, ROLLBOOK_SETTLE: settle },
      folder,
    });
  expect((await list("0")).stdout).toContain("a_2026-01-05.csv");
  expect((await list("3600", "--settle", "0")).stdout).toContain("a_2026-01-05.csv");
  expect(await list("soon")).toEqual({
    code: 2,
    stdout: "",
    stderr: "rollbook: ROLLBOOK_SETTLE is soon. Give whole seconds, for example 2.\n",
  });
});

test("a drop that grows is not ready, holds up no other, and is ready when it stands still", async () => {
  const inbox = makeFolder();
  const growing = writeDrop(inbox, "a_2026-01-04.csv", ["one"]);
  writeDrop(inbox, "b_2026-01-05.csv", ["two"]);
  const timer = setInterval(() => appendFileSync(growing, "more\n"), 10);
  onTestFinished(() => clearInterval(timer));
  expect(namesOf(await find(inbox))).toEqual(["b_2026-01-05.csv"]);
  clearInterval(timer);
  expect(namesOf(await find(inbox))).toEqual(["a_2026-01-04.csv", "b_2026-01-05.csv"]);
});

test("a drop that is renamed from .part is ready, and so is one that takes the place of another", async () => {
  const inbox = makeFolder();
  const part = writeDrop(inbox, "a_2026-01-05.csv.part", ["one"]);
  expect(await find(inbox)).toEqual([]);
  renameSync(part, join(inbox, "a_2026-01-05.csv"));
  expect(namesOf(await find(inbox))).toEqual(["a_2026-01-05.csv"]);
});

test("drops without a date, or with two, come last; what is no drop is reported once and left", async () => {
  const inbox = makeFolder();
  for (const name of [
    "c.csv",
    "b_2026-01-05_2026-01-06.csv",
    "a_2026-01-05.CSV",
    "z_20260104.csv.GZ",
    "notes.txt",
  ]) {
    writeDrop(inbox, name, ["x"]);
  }
  writeDrop(inbox, ".hidden_2026-01-05.csv", ["x"]);
  writeDrop(inbox, "archive/a_2026-01-01.csv", ["x"]);
  const left: LeftFile[] = [];
  expect(namesOf(await find(inbox, { onLeft: (file) => left.push(file) }))).toEqual([
    "z_20260104.csv.GZ",
    "a_2026-01-05.CSV",
    "b_2026-01-05_2026-01-06.csv",
    "c.csv",
  ]);
  expect(left).toEqual([{ name: "notes.txt", reason: "not_csv" }]);
});

test("the wait ends when a drop is there, whole; without one it ends in time and nothing is ready", async () => {
  const inbox = makeFolder();
  expect(await find(inbox, { waitMs: 250 })).toEqual([]);
  keepWriting(writeDrop(inbox, "growing_2026-01-01.csv", ["x"]));
  expect(await find(inbox, { waitMs: 250 })).toEqual([]);
  const found = find(inbox, { waitMs: 60_000 });
  await sleep(300);
  writeDrop(inbox, "a_2026-01-05.csv", ["x"]);
  expect(namesOf(await found)).toEqual(["a_2026-01-05.csv"]);
});

/** Hidden files are left out. */
const HOSTILE = hostileFileNames("_2026-01-05.csv").filter((name) => !name.startsWith("."));

test("hostile names come through as they are for programs, and harmless for people", async () => {
  const { inbox, list } = makeInbox();
  for (const name of HOSTILE) writeDrop(inbox, name, ["x"]);
  const { code, stdout, stderr } = await list("--json");
  expect([code, stderr]).toEqual([0, ""]);
  expect(jsonLines(stdout)).toEqual([
    {
      files: HOSTILE.toSorted().map((name) => join(inbox, name)),
      bytes: 2 * HOSTILE.length,
      syncedFrom: "2026-01-05",
      syncedTo: "2026-01-05",
      label: `${HOSTILE.length} drops of 2026-01-05`,
    },
  ]);
  for (const name of HOSTILE) rmSync(join(inbox, name));
  writeDrop(inbox, "new\nline_2026-01-05.csv", ["x"]);
  const [one] = jsonLines((await list("--json")).stdout);
  expect(one).toMatchObject({ label: "new\\u{a}line_2026-01-05.csv" });
  expect((await list()).stdout).toContain("new\\u{a}line_2026-01-05.csv");
});

test("labels tell the dates of a batch, as far as there are any", async () => {
  const { inbox, list } = makeInbox();
  const label = async () => jsonLines((await list("--json")).stdout).map((batch) => batch.label);
  writeDrop(inbox, "one.csv", ["x"]);
  expect(await label()).toEqual(["one.csv"]);
  writeDrop(inbox, "two.csv", ["x"]);
  expect(await label()).toEqual(["2 drops without a sync date"]);
  writeDrop(inbox, "a_2026-01-05.csv", ["x"]);
  writeDrop(inbox, "b_2026-01-07.csv", ["x"]);
  expect(await label()).toEqual(["4 drops of 2026-01-05 to 2026-01-07"]);
});

test("a sync date that is given is that of all files, whatever their names say", async () => {
  const { inbox, list } = makeInbox();
  writeDrop(inbox, "export.csv", ["x"]);
  writeDrop(inbox, "a_2026-01-05.csv", ["x"]);
  expect(jsonLines((await list("--json", "--synced-on", "2026-01-07")).stdout)).toMatchObject([
    { syncedFrom: "2026-01-07", syncedTo: "2026-01-07", label: "2 drops of 2026-01-07" },
  ]);
  expect((await list("--synced-on", "yesterday")).code).toBe(2);
});

test("nothing ready is no output and no failure; people are informed", async () => {
  const { inbox, list } = makeInbox();
  writeDrop(inbox, "notes.txt", ["x"]);
  const message =
    "notes.txt: no CSV file, so it stays where it is: its name does not end in .csv or .csv.gz.\n";
  expect(await list("--json", "--wait", "2")).toEqual({ code: 0, stdout: "", stderr: message });
  expect(await list()).toEqual({ code: 0, stdout: "No file is ready.\n", stderr: message });
});

test("two thousand small drops are at most eight batches, all in order; a limit takes the oldest", async () => {
  const { inbox, list } = makeInbox();
  const names = Array.from({ length: 2000 }, (_, n) => {
    const day = new Date(Date.UTC(2026, 0, 1) + (n % 365) * 86_400_000).toISOString().slice(0, 10);
    return `venue-${String(n).padStart(4, "0")}_${day}.csv`;
  });
  for (const name of names) writeFileSync(join(inbox, name), "v1\n");
  const { code, stdout, stderr } = await list("--json");
  expect([code, stderr]).toEqual([0, ""]);
  const batches = jsonLines(stdout) as { files: string[]; syncedFrom: string; syncedTo: string }[];
  expect(batches).toHaveLength(8);
  const dated = (path: string) => `${path.slice(-14)} ${path}`;
  const wanted = names.map((name) => join(inbox, name)).sort((a, b) => (dated(a) < dated(b) ? -1 : 1));
  expect(batches.flatMap(({ files }) => files)).toEqual(wanted);
  expect([batches.at(0)?.syncedFrom, batches.at(-1)?.syncedTo]).toEqual(["2026-01-01", "2026-12-31"]);
  const limited = await list("--json", "--limit", "30", "--batches", "2");
  expect(jsonLines(limited.stdout).flatMap(({ files }) => files)).toEqual(wanted.slice(0, 30));
  expect(limited.stderr).toBe("1,970 more files ready; the oldest come first\n");
});

test("a folder that is none is a usage error, and so are files for archive and decide that lie elsewhere", async () => {
  const { folder, inbox } = makeInbox();
  const run = (...args: string[]) => rollbookHere(["inbox", ...args], { environment: NOWHERE, folder });
  writeDrop(inbox, "a_2026-01-05.csv", ["x"]);
  writeDrop(folder, "elsewhere_2026-01-05.csv", ["x"]);
  for (const args of [
    ["list", "outbox"],
    ["list", "inbox/a_2026-01-05.csv"],
    ["rejected", "outbox"],
    ["archive", "inbox", "elsewhere_2026-01-05.csv"],
    ["archive", "inbox", "inbox/../elsewhere_2026-01-05.csv"],
    ["archive", "inbox", "inbox/archive/a_2026-01-05.csv"],
    ["archive", "inbox", "inbox/gone/a_2026-01-05.csv"],
    ["decide", "inbox", "inbox/a_2026-01-05.csv", "--as", "keep"],
    ["decide", "inbox", "inbox/rejected/a_2026-01-05.csv", "--as", "keep"],
    ["decide", "inbox", "inbox/rejected/a_2026-01-05.csv", "--as", "burn"],
    ["decide", "inbox", "inbox/rejected/a_2026-01-05.csv"],
  ]) {
    expect(await run(...args), args.join(" ")).toMatchObject({ code: 2, stdout: "" });
  }
  expect(readdirSync(inbox)).toEqual(["a_2026-01-05.csv"]);
});

test("as a process: a file that this user may not read is left, and the others are listed", async () => {
  const { folder, inbox } = makeInbox();
  writeDrop(inbox, "a_2026-01-05.csv", ["x"]);
  chmodSync(writeDrop(inbox, "secret_2026-01-05.csv", ["x"]), 0o000);
  // Root may read everything, unless it does without the capability to.
  const caps = "-dac_override,-dac_read_search";
  const wrapper = process.getuid?.() === 0 ? ["setpriv", `--bounding-set=${caps}`, `--inh-caps=${caps}`] : [];
  const { code, stdout, stderr } = await rollbook(["inbox", "list", "inbox", "--settle", "1", "--json"], {
    environment: {},
    folder,
    wrapper,
  });
  expect(code).toBe(0);
  expect(jsonLines(stdout)).toMatchObject([{ files: [join(inbox, "a_2026-01-05.csv")] }]);
  expect(stderr).toBe(
    "secret_2026-01-05.csv: this user may not read it, so it stays where it is. Let this user read it (chmod, chown).\n",
  );
});

test("as a process: SIGTERM ends the wait at once with 143, and makes no warehouse", async () => {
  const { folder, inbox } = makeInbox();
  writeDrop(inbox, "notes.txt", [invoiceId(1)]);
  const { child, ended } = startRollbook(["inbox", "list", "inbox", "--wait", "3600", "--json"], {
    environment: {},
    folder,
  });
  let stderr = "";
  child.stderr.on("data", (text) => {
    stderr += text;
  });
  await until("it has looked", () => stderr.includes("notes.txt"));
  child.kill("SIGTERM");
  expect(await ended).toMatchObject({ code: 143, stdout: "" });
  expect(existsSync(join(folder, ".rollbook"))).toBe(false);
});
