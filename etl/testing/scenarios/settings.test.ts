/** Settings of a login change nothing of what is loaded and shown, or are named in the error. */
import { randomBytes } from "node:crypto";
import pg from "pg";
import { expect, onTestFinished, test } from "vitest";
import { openDatabase, withTransaction } from "../../../db/client.ts";
import {
  createTestDatabase,
  onServer,
  type TestWarehouse,
  testConnection,
} from "../../../db/testing/database.ts";
import { makeFolder } from "../../../db/testing/folder.ts";
import { openOwnServer, until } from "../../../db/testing/own_server.ts";
import { withUser } from "../../../db/testing/roles.ts";
import { loadDrop } from "../../load/load.ts";
import { refreshPartitions } from "../../refresh/refresh.ts";
import { verifyWarehouse } from "../../verify/verify.ts";
import { rollbook } from "../cli.ts";
import { type Invoice, writeInvoices } from "../invoices.ts";
import { totalsOf } from "../warehouse.ts";

/** A login of the loader's with these settings, in a warehouse of its own. */
async function loginWith(settings: Readonly<Record<string, string>>): Promise<TestWarehouse> {
  const warehouse = await createTestDatabase({ roles: true, timeZone: "Europe/Berlin" });
  const user = `odd_${randomBytes(8).toString("hex")}`;
  await onServer(async (client) => {
    await client.query(`create role ${user} login in role rollbook_loader`);
    for (const [name, value] of Object.entries(settings)) {
      await client.query(`alter role ${user} set ${name} = ${value}`);
    }
  });
  onTestFinished(() => onServer(async (client) => void (await client.query(`drop role ${user}`))));
  return withUser(warehouse, user);
}

const DROPS: readonly (readonly [string, readonly Invoice[]])[] = [
  [
    "a_2026-10-05.csv",
    [
      ["NULL", 1, "2026-09-01", "1.00"],
      ["back\\slash 'and quote'", 2, "2026-09-02", "-2.25"],
      ["Käse", 3, "2024-02-29", "1234567.89"],
    ],
  ],
  [
    "b_2026-10-06.csv",
    [
      ["NULL", 1, "2026-09-01", "0.10"],
      ["Käse", 4, "2026-10-04", "3.00"],
      ["Käse", 3, "2024-02-29", "1234567.89"],
    ],
  ],
];

/** Loads, refreshes, reads and verifies; all that does not depend on the clock. */
async function workAs(warehouse: TestWarehouse) {
  const { database, settings } = warehouse;
  const folder = makeFolder();
  const loads = [];
  for (const [name, invoices] of DROPS) {
    const path = writeInvoices(folder, name, invoices);
    const { outcome, syncedOn, rows, partitions, error } = await loadDrop({ database, settings, path });
    loads.push({ outcome, syncedOn, rows, partitions, error });
  }
  const refreshed = await refreshPartitions({ database });
  const totals = await totalsOf(warehouse);
  const { divergences, invoices, groups } = await verifyWarehouse({ database, settings, identity: true });
  return {
    loads,
    refreshed: refreshed.map(({ partition, changes, groups }) => ({ partition, changes, groups })),
    totals,
    verified: { divergences, invoices, groups },
  };
}

let usual: ReturnType<typeof workAs> | undefined;
const usually = () => (usual ??= loginWith({}).then(workAs));

test.each<[name: string, value: string]>([
  ["search_path", "nowhere"],
  ["datestyle", "'SQL, DMY'"],
  ["intervalstyle", "postgres_verbose"],
  ["timezone", "'Asia/Tokyo'"],
  ["timezone_abbreviations", "'India'"],
  ["client_encoding", "latin1"],
  ["client_min_messages", "debug5"],
  ["extra_float_digits", "-15"],
  ["bytea_output", "escape"],
  ["quote_all_identifiers", "on"],
  ["standard_conforming_strings", "off"],
  ["backslash_quote", "off"],
  ["array_nulls", "off"],
  ["transform_null_equals", "on"],
  ["xmloption", "document"],
  ["row_security", "off"],
  ["restrict_nonsystem_relation_kind", "'view, foreign-table'"],
  ["default_transaction_isolation", "serializable"],
  ["default_transaction_isolation", "'repeatable read'"],
  ["default_transaction_deferrable", "on"],
  ["exit_on_error", "on"],
  ["check_function_bodies", "off"],
  ["plpgsql.extra_errors", "'all'"],
  ["lock_timeout", "'1s'"],
  ["tcp_user_timeout", "1"],
  ["synchronous_commit", "off"],
  ["work_mem", "'64kB'"],
  ["temp_buffers", "100"],
  ["join_collapse_limit", "1"],
  ["cursor_tuple_fraction", "1"],
  ["geqo_threshold", "2"],
  ["max_parallel_workers_per_gather", "0"],
  ["debug_parallel_query", "regress"],
  ["constraint_exclusion", "on"],
  ["plan_cache_mode", "force_generic_plan"],
  ["enable_partition_pruning", "off"],
  ["enable_seqscan", "off"],
  ["enable_indexscan", "off"],
  ["enable_nestloop", "off"],
  ["enable_hashjoin", "off"],
  ["enable_sort", "off"],
])("a login with %s = %s loads, refreshes, shows and verifies the same", async (name, value) => {
  const warehouse = await loginWith({ [name]: value });
  expect(await workAs(warehouse)).toEqual(await usually());
});

test("the settings that change what a statement means, or how long it takes, are ours", async () => {
  const odd = {
    row_security: "off",
    array_nulls: "off",
    bytea_output: "escape",
    exit_on_error: "on",
    default_transaction_isolation: "serializable",
    restrict_nonsystem_relation_kind: "view",
    "plpgsql.extra_errors": "'all'",
    synchronous_commit: "off",
    plan_cache_mode: "force_generic_plan",
    enable_seqscan: "off",
    enable_indexscan: "off",
  };
  const warehouse = await loginWith(odd);
  const names = Object.keys(odd).map((name) => `current_setting('${name}') as "${name}"`);
  const [row] = await warehouse.query(`select ${names.join(", ")}`);
  expect(row).toEqual({
    row_security: "on",
    array_nulls: "on",
    bytea_output: "hex",
    exit_on_error: "off",
    default_transaction_isolation: "read committed",
    restrict_nonsystem_relation_kind: "",
    "plpgsql.extra_errors": "none",
    synchronous_commit: "on",
    plan_cache_mode: "auto",
    enable_seqscan: "on",
    enable_indexscan: "on",
  });
});

test("a login that commits to a standby more strictly, or less, keeps that", async () => {
  const warehouse = await loginWith({ synchronous_commit: "local" });
  expect(await warehouse.query("show synchronous_commit")).toEqual([{ synchronous_commit: "local" }]);
});

test("a login that may only read reads, and is told why it cannot write", async () => {
  const warehouse = await loginWith({ default_transaction_read_only: "on" });
  const { environment } = warehouse;
  const user = environment.PGUSER ?? "";
  const folder = makeFolder();
  const path = writeInvoices(folder, ...(DROPS[0] ?? ["", []]));
  const run = (...args: string[]) => rollbook(args, { environment, folder });
  for (const verb of ["totals", "status", "verify"]) expect(await run(verb)).toMatchObject({ code: 0 });
  const why = `nothing can be written to the .*: default_transaction_read_only is on, set for the login ${user} \\(to reset it: alter role "${user}" reset default_transaction_read_only\\)`;
  const loaded = await run("load", path);
  expect(loaded.code).toBe(1);
  expect(loaded.stdout).toMatch(new RegExp(`a_2026-10-05.csv: ${why}`));
  expect(loaded.stdout + loaded.stderr).not.toMatch(/load it again/i);
  const ensured = await run("partitions", "ensure", "--from", "2026-01-01", "--to", "2026-02-01");
  expect([ensured.code, ensured.stderr]).toEqual([2, expect.stringMatching(new RegExp(`^rollbook: ${why}`))]);
  const json = await run("load", "--json", path);
  expect(JSON.parse(json.stdout)).toMatchObject({ outcome: "failed", error: { code: "configuration" } });
});

test.each([
  ["database", (database: string) => `alter database ${database} set default_transaction_read_only = on`],
  [
    "login %s in the database",
    (database: string, user: string) =>
      `alter role ${user} in database ${database} set default_transaction_read_only = on`,
  ],
])("where it is set for the %s, that is said", async (_where, statement) => {
  const warehouse = await loginWith({});
  const { database: name = "", user = "" } = warehouse.database.pool.options;
  await onServer((client) => client.query(statement(name, user)));
  await expect(refreshPartitions({ database: warehouse.database, strategy: "full" })).resolves.toEqual([]);
  const { database } = warehouse;
  const writing = withTransaction({ database }, ({ client }) =>
    client.query("delete from warehouse.invoices"),
  );
  const sql = statement(name, user).replace(" set ", " reset ").replace(" = on", "");
  await expect(writing).rejects.toMatchObject({
    code: "configuration",
    message: expect.stringContaining(sql.replaceAll(name, `"${name}"`).replaceAll(user, `"${user}"`)),
  });
});

test("a login that acts as a role which may not load is told so", async () => {
  const warehouse = await loginWith({});
  const { user = "" } = warehouse.database.pool.options;
  await onServer(async (client) => {
    await client.query(`grant rollbook_reader to ${user}`);
    await client.query(`alter role ${user} set role = rollbook_reader`);
  });
  const { environment } = warehouse;
  const { code, stderr } = await rollbook(["verify"], { environment, folder: makeFolder() });
  const why = `user ${user} acts as role rollbook_reader, .*alter role "${user}" reset role; or set it to rollbook_loader`;
  expect([code, stderr]).toEqual([2, expect.stringMatching(new RegExp(why))]);
});

test("work that somebody cancels says that, and what to do", async () => {
  const warehouse = await createTestDatabase();
  const { environment } = warehouse;
  const holder = await warehouse.database.pool.connect();
  await holder.query("begin; lock table warehouse.partitions");
  const running = rollbook(["verify"], { environment, folder: makeFolder() });
  await until("it waits", async () => {
    const cancelled = await warehouse.query(
      "select pg_cancel_backend(pid) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
    );
    return cancelled.length > 0;
  });
  expect(await running).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/cancelled it .*Run it again/),
  });
  await holder.query("rollback");
  holder.release();
});

test("a login whose triggers do not fire is refused, and a superuser's are made to fire", async () => {
  const warehouse = await loginWith({ session_replication_role: "replica" });
  const { environment } = warehouse;
  const { code, stderr } = await rollbook(["status"], { environment, folder: makeFolder() });
  const user = environment.PGUSER ?? "";
  expect([code, stderr]).toEqual([
    2,
    expect.stringMatching(
      new RegExp(
        `session_replication_role is replica, set for the login ${user} .*alter role "${user}" reset`,
      ),
    ),
  ]);
  await onServer((client) => client.query(`alter role ${user} superuser`));
  expect(await workAs(warehouse)).toEqual(await usually());
});

test("a full lock table is named with its setting, what is needed, and who fills it", async () => {
  const server = await openOwnServer();
  onTestFinished(() => server.close());
  const warehouse = await server.makeWarehouse();
  const { host, port, user } = server.server;
  const { database = "" } = warehouse.database.pool.options;
  const greedy = new pg.Client({ host, port, user, database, ssl: false });
  greedy.on("error", () => {});
  await greedy.connect();
  onTestFinished(() => greedy.end());
  const { rows } = await greedy.query<{ pid: number }>("select pg_backend_pid() as pid");
  await expect(
    greedy.query("select pg_advisory_lock(n) from generate_series(1, 10000000) n"),
  ).rejects.toMatchObject({ code: "53200" });
  const path = writeInvoices(makeFolder(), ...(DROPS[0] ?? ["", []]));
  const report = await loadDrop({ ...warehouse, path });
  expect(report).toMatchObject({ outcome: "failed", error: { code: "out_of_locks" } });
  expect(report.error?.message).toMatch(
    new RegExp(
      `a_2026-10-05.csv: .*lock table .*max_locks_per_transaction is \\d+, for \\d+ sessions.* Pid ${rows[0]?.pid} \\(user ${user}\\) holds \\d+ locks, \\d+ of them advisory locks.*alter system set max_locks_per_transaction = \\d+$`,
    ),
  );
});

test("a login without connections left is told what to raise", async () => {
  const warehouse = await loginWith({});
  const { database: name = "", user = "" } = warehouse.database.pool.options;
  await onServer((client) => client.query(`alter role ${user} connection limit 0`));
  const database = openDatabase({ connection: { ...testConnection(name), user } });
  onTestFinished(() => database.pool.end());
  await expect(withTransaction({ database }, async () => {})).rejects.toMatchObject({
    code: "connection",
    message: expect.stringMatching(/too many connections for role .*max_connections.*connection limit/),
  });
});

test("a limit on temporary files is named, and who set it", async () => {
  const warehouse = await loginWith({ temp_file_limit: "'1MB'", work_mem: "'64kB'" });
  const { database } = warehouse;
  const sorting = withTransaction({ database }, ({ client }) =>
    client.query(
      "select count(*) from (select n from generate_series(1, 1000000) n order by -n offset 0) sorted",
    ),
  );
  await expect(sorting).rejects.toMatchObject({
    code: "configuration",
    message: expect.stringMatching(
      /temp_file_limit is 1024, set for the login .*alter role .* reset temp_file_limit/,
    ),
  });
});
