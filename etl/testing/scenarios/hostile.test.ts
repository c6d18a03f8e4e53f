/** Venue ids and names of files from strangers, through every verb: kept to the letter, and harmless wherever they are shown. */
import { execFile } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { parse } from "csv-parse/sync";
import { describe, expect, onTestFinished, test } from "vitest";
import { createTestDatabase, type TestWarehouse } from "../../../db/testing/database.ts";
import { makeFolder } from "../../../db/testing/folder.ts";
import { EXIT } from "../../commands/context.ts";
import { loadWithProgress } from "../../commands/show_load.ts";
import { printable } from "../../escape.ts";
import { NO_LINEAGE } from "../../lineage/lineage.ts";
import { loadDrop } from "../../load/load.ts";
import { readTotals, type Total } from "../../reports/totals.ts";
import { jsonLines, type Run, rollbookHere } from "../cli.ts";
import { CANARY, HOSTILE_TEXTS, hostileFileNames, unsafeIn } from "../hostile.ts";
import { invoiceId } from "../lines.ts";
import { disagreements } from "../warehouse.ts";

const NOWHERE = { PGHOST: "/nowhere/at/all", PGUSER: "nobody" };
const NAME = "venues_2026-10-05.csv";

/** Runs a verb, and looks for traces of names in all that it says to people. */
function saferRun(environment: Readonly<Record<string, string>>, folder: string) {
  return async (...args: string[]): Promise<Run> => {
    const run = await rollbookHere(args, { environment, folder });
    const isCsv = args.includes("csv");
    expect(unsafeIn(isCsv ? run.stderr : run.stdout + run.stderr), args.join(" ")).toEqual([]);
    return run;
  };
}

/** Nothing but what is expected lies in a folder, and no canary anywhere near. */
function expectOnly(folder: string, names: readonly string[]): void {
  expect(readdirSync(folder).sort()).toEqual([...names].sort());
  for (const place of [folder, join(folder, ".."), process.cwd()]) {
    expect(existsSync(join(place, CANARY))).toBe(false);
  }
}

function quote(text: string): string {
  return `"${text.replaceAll('"', '""')}"`;
}

interface Group {
  readonly venue: string;
  /** In cents: its own, so that no two venues can be taken for each other. */
  readonly cents: number;
}

const GROUPS: readonly Group[] = HOSTILE_TEXTS.filter(({ venue }) => venue === "loaded").map(
  ({ text }, index) => ({ venue: text, cents: 100 + index }),
);

function euros(cents: number): string {
  return `${Math.floor(cents / 100)}.${String(cents % 100).padStart(2, "0")}`;
}

/** Every text as a venue, among ordinary lines so that the direct way takes it. */
function venueDrop(): string {
  let next = 0;
  const line = (venue: string, total: string) =>
    `${venue},${invoiceId(next++)},2026-10-0${1 + (next % 5)}T10:00:00Z,${total}\n`;
  const cents = new Map(GROUPS.map((group) => [group.venue, group.cents]));
  const hostile = HOSTILE_TEXTS.map(({ text }) => line(quote(text), euros(cents.get(text) ?? 1)));
  const plain = Array.from({ length: 2000 }, () => line("ordinary", "1.00"));
  return [...plain, ...hostile].join("");
}

function isFlag(index: number): boolean {
  return EXPECTED[index]?.venue_id.startsWith("-") === true;
}

function byBytes(one: string, other: string): number {
  return Buffer.compare(Buffer.from(one), Buffer.from(other));
}

const SORTED = GROUPS.toSorted((one, other) => byBytes(one.venue, other.venue));
const EXPECTED = SORTED.map(({ venue, cents }) => ({ venue_id: venue, invoices: 1, total: euros(cents) }));

async function loadVenues({ careful = false } = {}): Promise<{
  readonly warehouse: TestWarehouse;
  readonly folder: string;
  readonly run: (...args: string[]) => Promise<Run>;
}> {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  const path = join(folder, NAME);
  writeFileSync(path, venueDrop());
  const { database, settings } = warehouse;
  const report = await loadDrop({ database, settings, path, careful, maxRejects: 1 });
  const refused = HOSTILE_TEXTS.length - GROUPS.length;
  expect(report).toMatchObject({
    outcome: "loaded",
    rows: { inserted: 2000 + GROUPS.length, rejected: refused },
  });
  expect("insert" in report.timings).toBe(!careful);
  return { warehouse, folder, run: saferRun(warehouse.environment, folder) };
}

describe("venue ids", () => {
  test.each([
    ["the direct way", false],
    ["the careful way", true],
  ])("are kept to the letter in SQL, JSON and CSV, and shown without harm, %s", async (_, careful) => {
    const { warehouse, folder, run } = await loadVenues({ careful });
    expect(
      await warehouse.query(`
        select venue_id, invoices::int, total::text from reports.venue_totals
        where venue_id <> 'ordinary' order by venue_id collate "C"`),
    ).toEqual(EXPECTED);
    const others = (rows: readonly Record<string, unknown>[]) =>
      rows.filter((row) => row.venue_id !== "ordinary");

    const json = await run("totals", "--by", "venue", "--format", "json");
    expect(others(jsonLines(json.stdout))).toEqual(EXPECTED);
    const csv = await run("totals", "--by", "venue", "--format", "csv");
    const cast = (value: string, { column }: { readonly column: unknown }) =>
      column === "invoices" ? Number(value) : value;
    expect(others(parse(csv.stdout, { columns: true, cast }))).toEqual(EXPECTED);
    const table = await run("totals", "--by", "venue");
    expect(table.stdout.split("\n")).toHaveLength(EXPECTED.length + 3);
    expect((await run("refresh")).code).toBe(0);
    expect((await run("status")).stdout).toContain(`${2000 + GROUPS.length} invoices`.replace("2", "2,"));
    expect((await run("loads")).code).toBe(0);
    expect((await run("verify")).code).toBe(0);
    expect(await disagreements(warehouse)).toEqual([]);
    expectOnly(folder, [NAME]);
  });

  test("are found by themselves alone", async () => {
    const { warehouse, run } = await loadVenues();
    for (const { venue_id: venue, invoices, total } of EXPECTED) {
      const found: Total[] = [];
      await readTotals({ ...warehouse, by: "venue", venue }, async (one) => void found.push(one));
      expect(found).toEqual([{ venue_id: venue, invoices, total }]);
    }
    for (const { venue_id: venue, total } of EXPECTED.filter(
      (_, index) => index % 8 === 0 || isFlag(index),
    )) {
      // A venue may look like a flag: both ways of giving a value take it as it is.
      const own = await run("totals", "--by", "venue", "--venue", venue, "--json");
      expect(jsonLines(own.stdout)).toEqual([{ venue_id: venue, invoices: 1, total }]);
      const made = await run("explain-total", `--venue=${venue}`, "--json");
      expect(jsonLines(made.stdout)).toMatchObject([{ fileName: NAME, invoices: 1, total }]);
      expect((await run("totals", "--venue", venue)).code).toBe(0);
    }
  });

  test("that are refused are in quarantine to the letter, and shown without harm", async () => {
    const { run } = await loadVenues();
    const rejects = jsonLines((await run("rejects", "--load", "1", "--json")).stdout);
    const raw = rejects.map((reject) => reject.raw).join("\n");
    for (const { what, text, venue } of HOSTILE_TEXTS) {
      if (venue === "loaded") continue;
      expect(raw, what).toContain(quote(text));
      const line = text.split(/\r?\n/)[0] ?? "";
      const [own] = rejects.filter((reject) => String(reject.raw).startsWith(`"${line}`));
      expect(own?.reason, what).toBe(venue);
    }
    expect((await run("rejects", "--load", "1")).code).toBe(0);
    expect((await run("rejects")).code).toBe(0);
  });

  test("that diverge are named without harm, and mended", async () => {
    const { warehouse, run } = await loadVenues();
    await run("refresh");
    await warehouse.query("update warehouse.venue_day_rollup set total = total + 1");
    await warehouse.query("update warehouse.partitions set rollup_total = rollup_total where true");
    const told = await run("verify");
    expect(told.code).toBe(1);
    const json = jsonLines((await run("verify", "--json")).stdout);
    const named = json.filter(({ kind }) => kind === "group").map(({ venueId }) => venueId);
    expect(new Set(named)).toEqual(new Set([...GROUPS.map(({ venue }) => venue), "ordinary"]));
    for (const { venue } of GROUPS) expect(told.stdout).toContain(printable(venue));
    expect((await run("verify", "--repair")).code).toBe(0);
    expect(await disagreements(warehouse)).toEqual([]);
  });
});

test("for a spreadsheet no venue id is a formula, none is lost, and numbers stay numbers", async () => {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  const run = saferRun(warehouse.environment, folder);
  writeFileSync(join(folder, NAME), `${venueDrop()}"=refund",${invoiceId(9999)},2026-10-05,-5.00\n`);
  expect((await run("load", NAME, "--max-rejects", "1")).code).toBe(0);
  const plain = await run("totals", "--by", "venue", "--format", "csv");
  const guarded = await run("totals", "--by", "venue", "--format", "csv", "--guard-formulas");
  expect(plain.stdout).toContain("\n=refund,1,-5.00\n");
  expect(guarded.stdout).toContain(`\n"'=refund",1,-5.00\n`);
  expect(guarded.stdout.startsWith("venue_id,invoices,total\n")).toBe(true);
  const read = (text: string): Record<string, string>[] => parse(text, { columns: true });
  const ids = read(guarded.stdout).map((row) => row.venue_id ?? "");
  for (const id of ids) expect(id.trim()).not.toMatch(/^[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]/);
  // Each field in quotes: no delimiter of another country begins a cell inside of it.
  for (const line of guarded.stdout.trim().split("\n").slice(1))
    expect(line).toMatch(/^".*",\d+,-?\d+\.\d\d$/s);
  expect(ids.map((id) => id.replace(/^'/, ""))).toEqual(read(plain.stdout).map((row) => row.venue_id));
  expect(await run("totals", "--guard-formulas")).toMatchObject({ code: 2, stdout: "" });
  const days = await run("totals", "--by", "day", "--format", "csv");
  expect((await run("totals", "--by", "day", "--format", "csv", "--guard-formulas")).stdout).toBe(
    days.stdout,
  );
});

describe("names of files", () => {
  const NAMES = hostileFileNames();
  /** Hidden files are nobody's business. */
  const INBOX_NAMES = NAMES.filter((name) => !name.startsWith("."));
  /** Refused by its lines. */
  const BAD = "v1,no-uuid,2026-10-01,1.00\n";
  const good = (number: number) => `v${number},${invoiceId(number)},2026-10-01,1.00\n`;

  async function makeInbox() {
    const warehouse = await createTestDatabase();
    const folder = makeFolder();
    const inbox = join(folder, "inbox");
    mkdirSync(inbox);
    return { warehouse, folder, inbox, run: saferRun(warehouse.environment, folder) };
  }

  test("are kept to the letter by load, ledger and lineage, and shown without harm", async () => {
    const { warehouse, folder, inbox, run } = await makeInbox();
    for (const [index, name] of NAMES.entries()) writeFileSync(join(inbox, name), good(index));
    // From inside the folder, where they look like flags.
    const here = saferRun(warehouse.environment, inbox);
    const loaded = await here("load", "--json", "--no-follow", "--", ...NAMES);
    expect([loaded.code, loaded.stderr]).toEqual([0, ""]);
    expect(jsonLines(loaded.stdout).map(({ file, outcome }) => [file, outcome])).toEqual(
      NAMES.map((name) => [name, "loaded"]),
    );
    const ledger = await warehouse.query<{ file_name: string }>(
      "select file_name from warehouse.loads order by load_id",
    );
    expect(ledger.map((row) => row.file_name)).toEqual(NAMES);
    const loads = jsonLines((await run("loads", "--limit", "1000", "--json")).stdout);
    expect(loads.map(({ fileName }) => fileName)).toEqual(NAMES.toReversed());
    const made = jsonLines((await run("explain-total", "--json")).stdout);
    expect(made.map(({ fileName }) => fileName)).toEqual(NAMES);
    const again = await here("load", "--", ...NAMES.map((name) => `./${name}`));
    expect(again.stdout.match(/was loaded already/g)).toHaveLength(NAMES.length);
    for (const verb of ["loads", "explain-total", "status"]) expect((await run(verb)).code).toBe(0);
    expectOnly(inbox, NAMES);
    expectOnly(folder, ["inbox"]);
  });

  test("are names to a process, and to npm and the shell in between, too", async () => {
    const { warehouse, folder, inbox } = await makeInbox();
    const names = NAMES.filter((name) => /[$`|;&<>*?{}"'\\~!#\n]|^-/.test(name));
    for (const [index, name] of names.entries()) writeFileSync(join(inbox, name), good(index));
    const checkout = fileURLToPath(new URL("../../..", import.meta.url));
    const command = [
      "run",
      "--silent",
      "--prefix",
      checkout,
      "rollbook",
      "--",
      "load",
      "--json",
      "--",
      ...names,
    ];
    const { stdout, stderr } = await promisify(execFile)("npm", command, {
      cwd: inbox,
      env: { PATH: process.env.PATH, HOME: folder, ...warehouse.environment },
    });
    expect(stderr).toBe("");
    expect(jsonLines(stdout).map(({ file }) => file)).toEqual(names);
    expectOnly(inbox, names);
    // npm's own.
    rmSync(join(folder, ".npm"), { recursive: true, force: true });
    expectOnly(folder, ["inbox"]);
  });

  test("go through the steps of the inbox to the letter", async () => {
    const { folder, inbox, run } = await makeInbox();
    const paths = INBOX_NAMES.map((name) => join(inbox, name));
    const rejected = INBOX_NAMES.filter((_, index) => index % 2 === 1);
    for (const [index, path] of paths.entries()) writeFileSync(path, index % 2 === 1 ? BAD : good(index));
    const listed = await run("inbox", "list", "inbox", "--interval", "1", "--json");
    expect(jsonLines(listed.stdout)).toMatchObject([{ files: paths.toSorted((a, b) => (a < b ? -1 : 1)) }]);
    expect((await run("inbox", "list", "inbox", "--interval", "1")).code).toBe(0);
    expect((await run("load", "--no-refresh", "--no-follow", "--", ...paths)).code).toBe(3);
    const moved = await run("inbox", "archive", "--json", "--", "inbox", ...paths);
    expect([moved.code, moved.stderr]).toEqual([0, ""]);
    expect(jsonLines(moved.stdout).map(({ file, outcome }) => [file, outcome])).toEqual(
      paths.map((path, index) => [path, index % 2 === 1 ? "rejected" : "loaded"]),
    );
    // Where a reason has no room beside the longest names they are shortened.
    const fitting = (name: string) => Buffer.byteLength(name) <= 255 - ".reason.json".length;
    expect(readdirSync(join(inbox, "archive"))).toHaveLength(INBOX_NAMES.length - rejected.length);
    expect(readdirSync(join(inbox, "archive")).every((name) => INBOX_NAMES.includes(name))).toBe(true);
    const kept = readdirSync(join(inbox, "rejected"));
    for (const name of rejected.filter(fitting)) expect(kept).toContain(name);
    expect(kept).toHaveLength(2 * rejected.length);

    const waiting = jsonLines((await run("inbox", "rejected", "inbox", "--json")).stdout);
    expect(waiting.map(({ file }) => file).toSorted()).toEqual(rejected.toSorted());
    expect((await run("inbox", "rejected", "inbox")).code).toBe(0);
    const decisions = ["keep", "retry", "load"] as const;
    const counts = { keep: 0, retry: 0, load: 0 };
    for (const [index, { path }] of waiting.entries()) {
      const decision = decisions[index % 3] ?? "keep";
      counts[decision] += 1;
      const decided = await run("inbox", "decide", "--as", decision, "--", "inbox", String(path));
      expect(decided.code, decided.stderr).toBe(0);
    }
    expectOnly(folder, ["inbox"]);
    const back = readdirSync(inbox).filter((name) => name !== "archive" && name !== "rejected");
    expect(back.every((name) => rejected.includes(name))).toBe(true);
    expect(back).toHaveLength(counts.retry);
    expect(readdirSync(join(inbox, "rejected"))).toHaveLength(2 * counts.keep);
    expect(readdirSync(join(inbox, "archive"))).toHaveLength(
      INBOX_NAMES.length - rejected.length + counts.load,
    );
  });

  test("go through watch, also where they are taken; nothing is overwritten", async () => {
    const { warehouse, folder, inbox, run } = await makeInbox();
    const watch = () => run("watch", "inbox", "--once", "--interval", "1");
    const send = (round: number) => {
      for (const [index, name] of INBOX_NAMES.entries()) {
        writeFileSync(join(inbox, name), index % 2 === 1 ? `${BAD}${round}` : good(1000 * round + index));
      }
    };
    for (const round of [1, 2]) {
      send(round);
      expect((await watch()).code).toBe(3);
      expectOnly(inbox, ["archive", "rejected"]);
    }
    const bad = Math.floor(INBOX_NAMES.length / 2);
    const contents = readdirSync(join(inbox, "archive")).map((name) =>
      readFileSync(join(inbox, "archive", name), "utf8"),
    );
    expect(new Set(contents).size).toBe(2 * (INBOX_NAMES.length - bad));
    expect(readdirSync(join(inbox, "rejected"))).toHaveLength(4 * bad);
    expect(await disagreements(warehouse)).toEqual([]);
    expectOnly(folder, ["inbox"]);
  });

  test("that are no drop's stay, also with an ending as long as a name can be, and of each is told", async () => {
    const { inbox, run } = await makeInbox();
    const names = [`x.${"y".repeat(253)}`, `csv.${"z".repeat(200)}`, "archive"];
    for (const name of names) writeFileSync(join(inbox, name), "x\n");
    const { code, stderr } = await run("watch", "inbox", "--once", "--settle", "0");
    expect(code).toBe(0);
    for (const name of names) expect(stderr).toContain(`${name}: no CSV file, so it stays where it is`);
    expectOnly(inbox, names);
  });

  test("are harmless in the progress on a terminal", async () => {
    const { warehouse, inbox } = await makeInbox();
    const { database } = warehouse;
    for (const [index, name] of NAMES.entries()) {
      if (printable(name) === name) continue;
      writeFileSync(join(inbox, name), good(index));
      const stderr = Object.assign(new PassThrough(), { isTTY: true, columns: 400 });
      const context = {
        stdout: stderr as unknown as NodeJS.WriteStream,
        stderr: stderr as unknown as NodeJS.WriteStream,
        environment: {},
        folder: inbox,
        stdin: () => process.stdin,
        lendTerminal: <T>(work: () => Promise<T>) => work(),
        signal: new AbortController().signal,
        begin: () => {},
        finish: () => {},
        endWithParent: () => {},
      };
      await loadWithProgress(context, { ...warehouse, database, lineage: NO_LINEAGE }, name, {
        maxRejects: { share: 0, lines: 0 },
      });
      const shown = String(stderr.read());
      expect(shown).toContain(printable(name).slice(0, 12));
      // The bar's own sequences move the cursor, hide it, and erase its line.
      const own = ["7", "8", "[?25l", "[?25h", "[?7l", "[?7h", "[1G", "[0K", "[2K"];
      expect(unsafeIn(own.reduce((text, one) => text.replaceAll(`\u001b${one}`, ""), shown))).toEqual([]);
    }
  });
});

test("every text in every place of a command line is answered without harm, and runs nothing", async () => {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  const nowhere = saferRun(NOWHERE, folder);
  const here = saferRun(warehouse.environment, folder);
  // No argument has a NUL. Some paths are there.
  const texts = HOSTILE_TEXTS.map(({ text }) => text).filter(
    (text) => !text.includes("\0") && !existsSync(join(folder, text)) && !existsSync(text),
  );
  for (const [index, text] of texts.entries()) {
    const places = [
      ["load", "--ignore-missing", "--", text],
      ["load", "x_2026-10-05.csv", "--synced-on", text],
      ["totals", "--by", text],
      ["partitions", text],
      ["loads", text],
      ["inbox", "list", "--", text],
      ["inbox", "archive", "--", text, text],
      ["inbox", "decide", "--as", "keep", "--", folder, text],
      ["inbox", "decide", "--as", text, folder, "x"],
      ["watch", "--once", "--", text],
    ];
    const some = places.filter((_, place) => (place + index) % 3 === 0);
    for (const args of [
      [text],
      ["load", text],
      ["load", `--${text}`],
      ["totals", `--from=${text}`],
      ...some,
    ]) {
      // `--`, --help and --ignore-missing are right.
      const { code } = await nowhere(...args);
      expect([EXIT.done, EXIT.failed, EXIT.usage], args.join(" ")).toContain(code);
    }
    const asked = [
      ["totals", "--as-known-on", text],
      ["refresh", `--partition=${text}`],
      ["partitions", "attach", "--", text],
      ["partitions", "drop", "--yes", "--", text],
      ["partitions", "drop", "--", text],
      ["verify", `--partition=${text}`],
      ["init", "--time-zone", text],
    ];
    const args = asked[index % asked.length] ?? [];
    expect((await here(...args)).code, args.join(" ")).toBe(2);
  }
  expectOnly(folder, []);
});

test("text that the ledger keeps of what went wrong is shown without harm", async () => {
  const warehouse = await createTestDatabase();
  const folder = mkdtempSync(join(makeFolder(), "a\u202e\u001b[2J\n"));
  const run = saferRun(warehouse.environment, folder);
  const names = hostileFileNames(" no date.csv").slice(0, -3);
  for (const name of names) writeFileSync(join(folder, name), `${name}\n`);
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  // By their full paths, so that each message has the folder's name as well.
  expect((await run("load", "--", ...names.map((name) => join(folder, name)))).code).toBe(3);
  const { code, stdout } = await run("loads", "--status", "rejected", "--limit", "1000");
  expect(code).toBe(0);
  expect(stdout.match(/its name holds no sync date/g)).toHaveLength(names.length);
  renameSync(join(folder, names[0] ?? ""), join(folder, "gone"));
});
