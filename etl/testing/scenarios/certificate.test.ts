/** The certificate of a closing, checked by the Python of docs/closing.md, and its size. Needs Python. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { expect, test } from "vitest";
import { ensurePartitions } from "../../../db/partitions/create.ts";
import { createTestDatabase } from "../../../db/testing/database.ts";
import { makeFolder } from "../../../db/testing/folder.ts";
import { closePeriod } from "../../closings/close.ts";
import { periodOf } from "../../closings/period.ts";
import { COMMAND, rollbookHere } from "../cli.ts";
import { HOSTILE_TEXTS } from "../hostile.ts";
import { load } from "../invoices.ts";
import { invoiceId, writeDrop } from "../lines.ts";
import { limitMemory } from "../memory_limit.ts";

/** Runs the program of docs/closing.md on a certificate. */
function check(certificate: string) {
  const page = readFileSync(new URL("../../../docs/closing.md", import.meta.url), "utf8");
  const [, program = ""] = /```python\n(.*?)```/s.exec(page) ?? [];
  const { status, stdout, stderr } = spawnSync(process.env.ROLLBOOK_PYTHON ?? "python3", ["-c", program], {
    input: certificate,
    encoding: "utf8",
    env: { PATH: process.env.PATH, PYTHONUTF8: "1" },
  });
  return { status, stdout, stderr };
}

test("the Python of the page computes the digest of any names, and finds what was changed", async () => {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  const names = HOSTILE_TEXTS.filter(({ venue }) => venue === "loaded").map(({ text }) => text);
  const lines = names.map(
    (name, index) =>
      `"${name.replaceAll('"', '""')}",${invoiceId(index)},2026-03-0${1 + (index % 9)},${index}.10`,
  );
  await load(warehouse, writeDrop(folder, "a_2026-03-31.csv", lines));
  const period = periodOf({ from: "2026-03-01", to: "2026-04-01" });
  const first = await closePeriod({ ...warehouse, period });
  const second = await closePeriod({ ...warehouse, period });
  for (const { closing, sha256 } of [first.closing, second.closing]) {
    const shown = await rollbookHere(["closings", "show", String(closing), "--format", "json"], {
      environment: warehouse.environment,
      folder,
    });
    expect(check(shown.stdout)).toEqual({ status: 0, stdout: `${sha256}\n`, stderr: "" });
    const certificate = JSON.parse(shown.stdout);
    for (const changed of [
      { ...certificate, closedBy: "somebody" },
      { ...certificate, previousSha256: null, closing: 7 },
      { ...certificate, list: certificate.list.toReversed() },
      { ...certificate, list: certificate.list.slice(1) },
    ]) {
      expect(check(JSON.stringify(changed)).stderr).toContain("AssertionError: not what was certified");
    }
  }
});

/** Groups of a closing, and what a process may have in megabytes: as texts in memory they would need more. */
const VENUES = 15_000;
const LIMIT = { total: 256, heap: 48 };

test(`a closing of ${VENUES * 31} groups does with ${LIMIT.total} MB`, { timeout: 600_000 }, async () => {
  const warehouse = await createTestDatabase();
  const { database, environment, query } = warehouse;
  await ensurePartitions({ database, granularity: "month", dates: ["2026-03-01"] });
  await query(
    `insert into warehouse.venues (venue_id) select 'venue ' || n from generate_series(1, ${VENUES}) n`,
  );
  await query(
    "insert into warehouse.loads (file_name, status, known_at) values ('entered', 'loaded', now())",
  );
  await query(`
    insert into warehouse.venue_day_deltas (load_id, created_on, venue_key, invoices, total)
    select 1, date '2026-03-01' + day, venue_key, 1, 1.01
    from warehouse.venues cross join generate_series(0, 30) day`);
  const folder = makeFolder();
  const run = async (...args: string[]) => {
    const [program, ...first] = limitMemory(COMMAND, LIMIT);
    const out = join(folder, "output");
    const file = openSync(out, "w");
    const child = spawn(program, [...first, ...args], {
      env: { PATH: process.env.PATH, ...environment },
      stdio: ["ignore", file, "pipe"],
    });
    if (child.stderr === null) throw new Error("there is no pipe");
    const [stderr, [code, signal]] = await Promise.all([text(child.stderr), once(child, "close")]);
    closeSync(file);
    expect({ code, signal }, stderr).toEqual({ code: 0, signal: null });
    return out;
  };
  const closed = JSON.parse(readFileSync(await run("close", "2026-03", "--json"), "utf8"));
  expect(closed).toMatchObject({ groups: VENUES * 31, total: (VENUES * 31 * 1.01).toFixed(2) });
  const shown = await run("closings", "show", "1", "--format", "json");
  expect(statSync(shown).size).toBeGreaterThan(VENUES * 31 * 30);
  expect(check(readFileSync(shown, "utf8"))).toEqual({ status: 0, stdout: `${closed.sha256}\n`, stderr: "" });
  await query(
    "insert into warehouse.loads (file_name, status, synced_on, known_at) values ('late', 'loaded', '2026-04-01', now())",
  );
  await query(`
    insert into warehouse.venue_day_deltas (load_id, created_on, venue_key, invoices, total)
    select 2, date '2026-03-01' + day, venue_key, 1, 1
    from warehouse.venues cross join generate_series(0, 30) day`);
  const restated = await run("restated", "2026-03", "--json");
  const lines = readFileSync(restated, "utf8").split("\n").length - 1;
  expect(lines).toBe(VENUES * 31);
});
