/** Each role through the command line and the functions behind it: what it does works as it does for a superuser, all else is refused in words. */
import { appendFileSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { Role } from "../../../db/roles/rights.ts";
import { createTestDatabase, type TestWarehouse } from "../../../db/testing/database.ts";
import { makeFolder } from "../../../db/testing/folder.ts";
import { expectFitting } from "../../../db/testing/partitions.ts";
import { loginAs } from "../../../db/testing/roles.ts";
import { loadDrop } from "../../load/load.ts";
import { refreshPartitions } from "../../refresh/refresh.ts";
import { STRATEGIES } from "../../refresh/strategy.ts";
import { verifyWarehouse } from "../../verify/verify.ts";
import { jsonLines, type Run, rollbookHere } from "../cli.ts";
import { invoiceId, writeDrop } from "../lines.ts";
import { disagreements, totalsOf } from "../warehouse.ts";

interface Place extends Readonly<Record<Role, TestWarehouse>> {
  readonly warehouse: TestWarehouse;
  readonly folder: string;
}

async function makePlace(): Promise<Place> {
  const warehouse = await createTestDatabase({ roles: true });
  const [steward, loader, reader, owner] = [
    await loginAs(warehouse, "steward"),
    await loginAs(warehouse, "loader"),
    await loginAs(warehouse, "reader"),
    await loginAs(warehouse, "owner"),
  ];
  return { warehouse, steward, loader, reader, owner, folder: makeFolder() };
}

/** Runs a verb as a role. */
function run(place: Place, role: Role, ...args: readonly string[]): Promise<Run> {
  return rollbookHere(args, { environment: place[role].environment, folder: place.folder });
}

const line = (venue: string, id: number, created: string, total: string) =>
  `${venue},${invoiceId(id)},${created},${total}`;

async function expectExact(place: Place): Promise<void> {
  expect(await disagreements(place.warehouse)).toEqual([]);
  const { owner } = await place.warehouse
    .query<{ owner: string }>(
      `select string_agg(distinct relowner::regrole::text, ', ') as owner from pg_class
       where relnamespace in ('warehouse'::regnamespace, 'reports'::regnamespace)`,
    )
    .then(([row]) => row ?? { owner: "" });
  expect(owner).toBe("rollbook_owner");
  await expectFitting(place.warehouse);
}

test("the loader loads by either way, corrects, rejects, refreshes by every strategy and proves it", async () => {
  const place = await makePlace();
  const { loader, folder } = place;
  const days = Array.from(
    { length: 60 },
    (_, index) => `2026-0${1 + (index % 3)}-${String(1 + (index % 27)).padStart(2, "0")}`,
  );
  for (const [number, careful] of [false, true].entries()) {
    const load = (name: string, lines: readonly string[], more = {}) =>
      loadDrop({ ...loader, path: writeDrop(folder, name, lines), careful, ...more });
    const sent = days.map((day, index) => line(`v${index % 5}`, number * 10_000 + index, day, "10.00"));
    expect(await load(`a${number}_2026-04-01.csv`, sent)).toMatchObject({
      outcome: "loaded",
      rows: { inserted: 60 },
    });
    // Two lines with one key, chunks apart, of a known venue: the direct way takes the earlier out again.
    const far = [
      ...days.map((day, index) => line("v0", 1000 + number * 100 + index, day, "1.00")),
      line("v0", 1000 + number * 100, days[0] ?? "", "2.00"),
    ];
    expect(await load(`b${number}_2026-04-02.csv`, far, { chunkLines: 16 })).toMatchObject({
      outcome: "loaded",
      rows: { inserted: 60, superseded: 1 },
    });
    const corrected = [
      ...sent.slice(0, 5).map((text) => text.replace("10.00", "12.50")),
      ...sent.slice(5, 10),
      "nonsense",
    ];
    expect(await load(`c${number}_2026-04-03.csv`, corrected, { maxRejects: 0.5 })).toMatchObject({
      outcome: "loaded",
      rows: { corrected: 5, unchanged: 5, rejected: 1 },
    });
    expect(await load(`d${number}_2026-04-04.csv`, ["bad", "worse"])).toMatchObject({ outcome: "rejected" });
    expect(await load(`e${number}.csv`, sent)).toMatchObject({
      outcome: "rejected",
      error: { code: "no_sync_date" },
    });
    expect(await load(`a${number}_2026-04-01.csv`, sent)).toMatchObject({ outcome: "already_loaded" });
    await expectExact(place);
  }
  for (const [index, strategy] of STRATEGIES.entries()) {
    const path = writeDrop(folder, `${strategy}_2026-05-01.csv`, [
      line(strategy, 5000 + index, "2026-01-05", "3.00"),
    ]);
    expect(await loadDrop({ ...loader, path })).toMatchObject({ outcome: "loaded" });
    const reports = await refreshPartitions({ database: loader.database, strategy });
    expect(reports.some(({ method }) => method !== "none")).toBe(true);
    await expectExact(place);
  }
  expect(await verifyWarehouse({ ...loader, identity: true })).toMatchObject({
    divergences: 0,
    partitions: 3,
  });
  expect(await totalsOf(place.reader)).toEqual(await totalsOf(place.warehouse));
});

test("a load that fails is entered in the ledger by the loader, too", async () => {
  const place = await makePlace();
  const path = writeDrop(place.folder, "a_2026-04-01.csv", [line("v", 1, "2026-03-01", "1.00")]);
  let written = false;
  const report = await loadDrop({
    ...place.loader,
    path,
    onProgress: ({ step }) => {
      if (step === "hash" || written) return;
      written = true;
      appendFileSync(path, "more\n");
    },
  });
  expect(report).toMatchObject({ outcome: "failed", error: { code: "file_changed" } });
  const [entry] = await place.warehouse.query<{ status: string }>("select status from warehouse.loads");
  expect(entry).toEqual({ status: "failed" });
});

test("to load a drop again that is in is the owner's", async () => {
  const place = await makePlace();
  const path = writeDrop(place.folder, "a_2026-04-01.csv", [line("v", 1, "2026-03-01", "1.00")]);
  expect((await run(place, "loader", "load", path)).code).toBe(0);
  const again = await run(place, "loader", "load", path, "--again");
  expect(again.code).toBe(2);
  expect(again.stderr).toContain("may not load drops again: that is for role rollbook_owner");
  expect((await run(place, "owner", "load", path, "--again")).code).toBe(0);
  await expectExact(place);
});

test("what was changed by hand the loader finds, marks stale and rebuilds; to repair is the owner's", async () => {
  const place = await makePlace();
  const path = writeDrop(place.folder, "a_2026-04-01.csv", [line("v", 1, "2026-03-01", "1.00")]);
  expect((await run(place, "loader", "load", path)).code).toBe(0);
  await place.warehouse.query("update warehouse.venue_day_rollup set total = 5");
  expect((await run(place, "loader", "verify")).code).toBe(1);
  const [stale] = jsonLines((await run(place, "loader", "partitions", "list", "--json")).stdout);
  expect(stale).toMatchObject({ partition: "2026-03", state: "stale" });
  expect((await run(place, "loader", "refresh")).code).toBe(0);
  expect((await run(place, "loader", "verify")).code).toBe(0);
  await expectExact(place);
  await place.warehouse.query("update warehouse.venue_day_deltas set total = 5");
  const refused = await run(place, "loader", "verify", "--repair");
  expect(refused.code).toBe(2);
  expect(refused.stderr).toMatch(
    /may not repair the warehouse: that is for role rollbook_owner.*grant "rollbook_owner" to "test loader"/,
  );
  expect((await run(place, "owner", "verify", "--repair")).code).toBe(0);
  await expectExact(place);
});

test.each(["loader", "steward"] as const)(
  "every verb of the loader works for the %s through the command line, watch among them",
  async (role) => {
    const place = await makePlace();
    const drop = writeDrop(place.folder, "a_2026-04-01.csv", [line("v", 1, "2026-03-01", "1.00"), "bad"]);
    const works = async (...args: readonly string[]) => {
      const { code, stdout, stderr } = await run(place, role, ...args);
      expect({ code, stderr: code === 0 ? "" : stderr }, args.join(" ")).toEqual({ code: 0, stderr: "" });
      return stdout;
    };
    await works("load", drop, "--max-rejects", "0.5");
    await works("partitions", "ensure", "--from", "2026-04-01", "--to", "2026-06-01");
    await works("partitions", "list");
    await works("refresh", "--strategy", "full");
    await works("verify");
    await works("status");
    await works("loads");
    expect(jsonLines(await works("rejects", "--load", "1", "--json"))).toMatchObject([{ line: 2 }]);
    expect(jsonLines(await works("rejects", "--json"))).toMatchObject([{ firstLine: 2 }]);
    expect(await works("rejects", "retry", "--load", "1", drop)).toContain("nothing can be taken in");
    expect(await works("rejects", "dismiss", "--load", "1", "--because", "a test")).toContain(
      "1 line dismissed",
    );
    expect(await works("totals", "--by", "venue,day", "--format", "csv")).toContain("v,2026-03-01,1,1.00");
    await works("totals", "--as-known-on", "2030-01-01");
    await works("explain-total", "--venue", "v");
    const inbox = join(place.folder, "inbox");
    mkdirSync(inbox);
    writeFileSync(join(inbox, "b_2026-04-02.csv"), `${line("v", 2, "2026-02-01", "2.00")}\n`);
    await works("watch", inbox, "--once");
    expect(readdirSync(join(inbox, "archive"))).toEqual(["b_2026-04-02.csv"]);
    await expectExact(place);
  },
);

test("to undo is the steward's and the owner's, and each does it in the own name", async () => {
  const place = await makePlace();
  const { warehouse, folder } = place;
  const first = [1, 2, 3, 4].map((id) => line("v", id, "2026-03-01", "1.00"));
  const second = [
    first[0] ?? "",
    line("v", 2, "2026-03-01", "2.00"),
    line("w", 5, "2026-02-01", "5.00"),
    "bad",
  ];
  const late = [line("v", 3, "2026-03-01", "3.00"), first[3] ?? "", line("w", 5, "2026-02-01", "5.50")];
  const drops = [
    writeDrop(folder, "a_2026-04-02.csv", first),
    writeDrop(folder, "b_2026-04-03.csv", second),
    writeDrop(folder, "c_2026-04-01.csv", late),
  ];
  const loaded = await run(place, "loader", "load", ...drops, "--max-rejects", "0.5");
  expect(loaded.code, loaded.stderr).toBe(0);
  const before = await totalsOf(warehouse);
  const because = ["--because", "a test"];
  for (const dry of [[], ["--dry-run"]]) {
    const refused = await run(place, "loader", "undo", "2", ...because, ...dry);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toMatch(
      /user test loader may not undo loads: that is for role rollbook_steward.*grant "rollbook_steward" to "test loader"/,
    );
  }
  // It uses up a number, as whatever is rolled back.
  expect((await run(place, "steward", "undo", "2", ...because, "--dry-run")).code).toBe(0);
  expect(await totalsOf(warehouse)).toEqual(before);
  const undone = await run(place, "steward", "undo", "2", ...because, "--json");
  expect(undone.code, undone.stderr).toBe(0);
  expect(jsonLines(undone.stdout)[0]).toMatchObject({
    loadId: 5,
    undoOf: 2,
    rows: { corrected: 2, unchanged: 1 },
  });
  await expectExact(place);
  expect(await totalsOf(warehouse)).not.toEqual(before);
  // The loader may load the drop again; then the undo cannot be taken back before that load is.
  const again = await run(place, "loader", "load", drops[1] ?? "", "--max-rejects", "0.5");
  expect(again.code, again.stderr).toBe(0);
  expect(await totalsOf(warehouse)).toEqual(before);
  expect((await run(place, "steward", "undo", "5", ...because)).stderr).toContain("undo 6");
  for (const [role, id] of [
    ["owner", "6"],
    ["steward", "5"],
  ] as const) {
    const { code, stderr } = await run(place, role, "undo", id, ...because);
    expect({ code, stderr: code === 0 ? "" : stderr }).toEqual({ code: 0, stderr: "" });
    await expectExact(place);
  }
  expect(await totalsOf(warehouse)).toEqual(before);
  expect(
    await warehouse.query(
      "select load_id, undo_of, decided_by from warehouse.loads where undo_of is not null order by 1",
    ),
  ).toEqual([
    { load_id: 5, undo_of: 2, decided_by: "test steward" },
    { load_id: 7, undo_of: 6, decided_by: "test owner" },
    { load_id: 8, undo_of: 5, decided_by: "test steward" },
  ]);
  for (const role of ["loader", "steward"] as const) {
    expect((await run(place, role, "verify", "--identity")).code).toBe(0);
  }
});

test.each(["loader", "reader"] as const)(
  "the %s is told in a line which role may do what it may not",
  async (role) => {
    const place = await makePlace();
    const drop = writeDrop(place.folder, "a_2026-04-01.csv", [line("v", 1, "2026-03-01", "1.00")]);
    expect((await run(place, "owner", "load", drop)).code).toBe(0);
    const owners = [["init"], ["init", "--roles"]];
    // The reader is stopped before: it is no loader.
    const closing = [
      ["partitions", "detach", "2026-03"],
      ["partitions", "detach", "--before", "2026-04-01"],
      ["partitions", "attach", "2026-03"],
      ["partitions", "drop", "2026-03", "--yes"],
      ["verify", "--repair"],
    ];
    const undoing = [
      ["undo", "1", "--because", "a test"],
      ["undo", "1", "--dry-run"],
    ];
    const loaders = [
      ["load", drop],
      ["refresh"],
      ["watch", place.folder, "--once"],
      ["verify"],
      ["rejects", "--load", "1"],
      ["rejects", "retry", "--load", "1", drop],
      ["rejects", "dismiss", "--load", "1", "--because", "a test"],
      ["partitions", "ensure", "--from", "2026-01-01", "--to", "2026-02-01"],
    ];
    const refused = async (args: readonly string[], needed: string) => {
      const { code, stdout, stderr } = await run(place, role, ...args);
      expect({ code, stdout }, `${args.join(" ")}: ${stderr}`).toEqual({ code: 2, stdout: "" });
      expect(stderr, args.join(" ")).toContain(needed);
      expect(stderr.trimEnd().split("\n"), args.join(" ")).toHaveLength(1);
      expect(stderr, args.join(" ")).not.toMatch(/select|insert|42501|permission denied/);
    };
    for (const args of owners) await refused(args, "rollbook_owner");
    for (const args of closing) await refused(args, role === "loader" ? "rollbook_owner" : "rollbook_loader");
    for (const args of undoing)
      await refused(args, role === "loader" ? "rollbook_steward" : "rollbook_loader");
    if (role === "reader") for (const args of loaders) await refused(args, "rollbook_loader");
    await expectExact(place);
  },
);

test("the reader asks for totals, how they came about, and how fresh they are", async () => {
  const place = await makePlace();
  const drop = writeDrop(place.folder, "a_2026-04-01.csv", [line("v", 1, "2026-03-01", "1.00")]);
  expect((await run(place, "loader", "load", drop)).code).toBe(0);
  for (const args of [
    ["totals", "--by", "venue", "--format", "json"],
    ["totals", "--as-known-on", "2030-01-01"],
    ["totals", "--as-known-on", "2030-01-01T00:00:00Z"],
    ["explain-total", "--venue", "v", "--json"],
    ["status", "--json"],
    ["loads", "--json"],
    ["silent", "--days", "0", "--json"],
    ["partitions", "list", "--json"],
  ]) {
    const [asReader, asOwner] = [await run(place, "reader", ...args), await run(place, "owner", ...args)];
    expect(asReader, args.join(" ")).toEqual(asOwner);
    expect(asReader.code).toBe(0);
    expect(asReader.stdout).not.toBe("");
  }
});

test("the owner does everything", async () => {
  const place = await makePlace();
  const works = async (...args: readonly string[]) => {
    const { code, stderr } = await run(place, "owner", ...args);
    expect({ code, stderr: code === 0 ? "" : stderr }, args.join(" ")).toEqual({ code: 0, stderr: "" });
    await expectExact(place).catch((error: unknown) => {
      // What is detached is not in the live tables.
      if (args[1] !== "detach") throw error;
    });
  };
  const first = writeDrop(place.folder, "a_2026-04-01.csv", [
    line("v", 1, "2026-03-01", "1.00"),
    line("v", 2, "2026-02-01", "1.00"),
  ]);
  await works("init");
  await works("load", first);
  await works("partitions", "ensure", "--from", "2026-04-01", "--to", "2026-05-01");
  await works("partitions", "detach", "2026-02");
  await works("partitions", "attach", "2026-02");
  // The loader refreshes and verifies what the owner attached, and what it dropped.
  const late = writeDrop(place.folder, "b_2026-04-02.csv", [line("w", 3, "2026-02-05", "1.00")]);
  expect((await run(place, "loader", "load", late)).code).toBe(0);
  await works("verify", "--repair");
  await works("init", "--roles");
  const dropped = await run(place, "owner", "partitions", "drop", "2026-02", "--yes");
  expect(dropped.code, dropped.stderr).toBe(0);
  for (const args of [["refresh", "--strategy", "full"], ["verify"]]) {
    const { code, stderr } = await run(place, "loader", ...args);
    expect({ code, stderr: code === 0 ? "" : stderr }).toEqual({ code: 0, stderr: "" });
  }
  expect(await totalsOf(place.reader)).toHaveLength(3);
});
