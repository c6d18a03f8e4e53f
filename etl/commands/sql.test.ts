import { execFileSync } from "node:child_process";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { createTestDatabase } from "../../db/testing/database.ts";
import { makeFolder } from "../../db/testing/folder.ts";
import { COMMAND, jsonLines, type Run, rollbookHere } from "../testing/cli.ts";
import { invoiceId, writeDrop } from "../testing/lines.ts";

const TOTALS = "select venue_id, invoices, total from reports.venue_totals order by venue_id";
const SECRET = "do-not-show-me";

/** A psql that writes down how it was called. */
function makePsql(exitCode = 0): { readonly folder: string; readonly calls: () => string } {
  const folder = makeFolder();
  const path = join(folder, "psql");
  writeFileSync(
    path,
    `#!/bin/sh\n{ printf '%s|' "$@"; echo; /usr/bin/env; } >> '${folder}/calls'\nexit ${exitCode}\n`,
  );
  chmodSync(path, 0o755);
  return { folder, calls: () => readFileSync(join(folder, "calls"), "utf8") };
}

async function setScene() {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  writeDrop(folder, "a_2026-01-05.csv", [
    `v1,${invoiceId(1)},2026-01-01,1.50`,
    `"v,2",${invoiceId(2)},2026-01-01,2.25`,
  ]);
  const run = (
    args: readonly string[],
    more: { stdin?: string; environment?: Record<string, string> } = {},
  ): Promise<Run> =>
    rollbookHere(args, {
      folder,
      ...more,
      environment: { ...warehouse.environment, ...more.environment },
    });
  const loaded = await run(["load", "a_2026-01-05.csv"]);
  expect(loaded.code, loaded.stderr).toBe(0);
  return { warehouse, folder, run };
}

test("statements come from -c, a file or standard input, and answers as a table, CSV or JSON", async () => {
  const { folder, run } = await setScene();
  writeFileSync(join(folder, "totals.sql"), `${TOTALS};\n`);
  expect(await run(["sql", "-c", TOTALS])).toEqual({
    code: 0,
    stderr: "",
    stdout: "venue_id  invoices  total\nv,2              1   2.25\nv1               1   1.50\n(2 rows)\n",
  });
  expect(await run(["sql", "totals.sql", "--csv"])).toMatchObject({
    code: 0,
    stdout: 'venue_id,invoices,total\n"v,2",1,2.25\nv1,1,1.50\n',
  });
  const answer = await run(["sql", "--json"], {
    stdin: `${TOTALS}; select null as n, true as b, '{"a":[1]}'::jsonb as j, 9007199254740993 as big`,
  });
  expect(answer.code, answer.stderr).toBe(0);
  expect(jsonLines(answer.stdout)).toEqual([
    { venue_id: "v,2", invoices: 1, total: "2.25" },
    { venue_id: "v1", invoices: 1, total: "1.50" },
    { n: null, b: true, j: { a: [1] }, big: "9007199254740993" },
  ]);
});

test("nothing can be changed without --write", async () => {
  const { warehouse, run } = await setScene();
  const change =
    "delete from warehouse.rejects; update warehouse.venues set venue_id = 'v3' where venue_id = 'v1'";
  const refused = await run(["sql", "-c", change]);
  expect(refused).toMatchObject({ code: 2, stdout: "" });
  expect(refused.stderr).toBe(
    "rollbook: cannot execute DELETE in a read-only transaction. Say --write to let statements change the warehouse.\n",
  );
  const changed = await run(["sql", "--write", "-c", change]);
  expect(changed).toEqual({ code: 0, stderr: "", stdout: "DELETE 0\nUPDATE 1\n" });
  expect(await warehouse.query("select venue_id from warehouse.venues order by 1")).toEqual([
    { venue_id: "v,2" },
    { venue_id: "v3" },
  ]);
});

test("what is wrong is said in a line, with exit code 2", async () => {
  const { run } = await setScene();
  for (const [args, said] of [
    [["-c", "selekt 1"], /syntax error at or near "selekt"/],
    [["-c", "select 1", "file.sql"], /with -c or in a file, not both/],
    [["gone.sql"], /gone\.sql: the file cannot be read \(ENOENT\)/],
    [["-c", "select 1", "--csv", "--json"], /cannot be used with/],
    [["-c", "select * from reports.nothing"], /relation "reports.nothing" does not exist/],
  ] as const) {
    const { code, stdout, stderr } = await run(["sql", ...args]);
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toMatch(said);
    expect(stderr.trimEnd().split("\n").length).toBeLessThan(3);
  }
});

test("names from strangers cannot steer the terminal", async () => {
  const { run } = await setScene();
  const { stdout } = await run(["sql", "-c", `select E'a\\x1b[2Jb' as "c\u001b[2Jd"`]);
  expect(stdout).not.toContain("\u001b");
  expect(stdout).toContain("a\\u{1b}[2Jb");
});

test("psql gets connection and password through its environment alone, and reads only", async () => {
  const { folder, run } = await setScene();
  const psql = makePsql();
  const environment = { PATH: psql.folder, PGPASSWORD: SECRET, PGAPPNAME: "mine" };
  writeFileSync(join(folder, "totals.sql"), TOTALS);
  expect((await run(["sql", "-c", TOTALS], { environment })).code).toBe(0);
  const [called = "", ...variables] = psql.calls().split("\n");
  expect(called).toBe(`--no-psqlrc|--set=ON_ERROR_STOP=1|--command|${TOTALS}|`);
  expect(called).not.toContain(SECRET);
  expect(variables).toContain(`PGPASSWORD=${SECRET}`);
  expect(variables).toContain("PGOPTIONS=-c default_transaction_read_only=on");
  expect(variables.some((line) => line.startsWith("PGDATABASE="))).toBe(true);
  expect(variables.some((line) => line.startsWith("PGAPPNAME="))).toBe(false);
  expect((await run(["sql", "totals.sql", "--write"], { environment })).code).toBe(0);
  expect(psql.calls()).toContain(`--file|${join(folder, "totals.sql")}|`);
  expect(psql.calls().match(/PGOPTIONS=/g)).toHaveLength(1);
});

test("psql's exit codes become ours", async () => {
  const { run } = await setScene();
  for (const [theirs, ours] of [
    [0, 0],
    [1, 2],
    [2, 1],
    [3, 2],
  ] as const) {
    const { folder } = makePsql(theirs);
    expect((await run(["sql", "-c", "select 1"], { environment: { PATH: folder } })).code).toBe(ours);
  }
});

test("on a terminal psql opens, and a Ctrl-C is for psql; without psql a message says what to do", async () => {
  const { warehouse, folder } = await setScene();
  const psql = makePsql();
  // It gets a Ctrl-C as everything on the terminal does, and goes on.
  writeFileSync(
    join(psql.folder, "psql"),
    "#!/bin/sh\ntrap 'echo interrupted' INT\nkill -INT 0\necho still here\nexit 0\n",
  );
  const onTerminal = (path: string) => {
    const script = `trap : INT; PATH='${path}' ${COMMAND.map((word) => `'${word}'`).join(" ")} sql; echo "exit code $?"`;
    const linux = process.platform === "linux";
    const args = linux ? ["-qec", script, "/dev/null"] : ["-q", "/dev/null", "/bin/sh", "-c", script];
    return execFileSync("script", args, {
      cwd: folder,
      env: { HOME: folder, TERM: "xterm", ...warehouse.environment, PATH: process.env.PATH },
      encoding: "utf8",
      stdio: ["ignore", "pipe", "inherit"],
    });
  };
  expect(onTerminal(`${psql.folder}:${process.env.PATH}`)).toMatch(/still here[\s\S]*exit code 0/);
  expect(onTerminal(makeFolder())).toMatch(/psql is not installed here[\s\S]*exit code 2/);
});

test("every view and function that docs/connect.md names is there", async () => {
  const { warehouse } = await setScene();
  const document = readFileSync(new URL("../../docs/connect.md", import.meta.url), "utf8");
  const named = new Set([...document.matchAll(/\breports\.([a-z_]+)/g)].map(([, name]) => name));
  expect(named).toContain("venue_daily_totals");
  const found = await warehouse.query<{ name: string }>(`
    select relname as name from pg_class where relnamespace = 'reports'::regnamespace
    union all select proname from pg_proc where pronamespace = 'reports'::regnamespace`);
  expect([...named].filter((name) => !found.some((one) => one.name === name))).toEqual([]);
});
