import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import type pg from "pg";
import { expect, onTestFinished, test } from "vitest";
import { type Database, openDatabase } from "../client.ts";
import { addDays } from "../dates.ts";
import { initWarehouse } from "../migrate.ts";
import { ensurePartitions } from "../partitions/create.ts";
import { partitionOf } from "../partitions/ranges.ts";
import { detachPartition } from "../partitions/remove.ts";
import { GRANULARITIES } from "../schema.ts";
import { DEFAULT_SETTINGS } from "../settings.ts";
import {
  createEmptyDatabase,
  createTestDatabase,
  onServer,
  type TestWarehouse,
  testConnection,
} from "../testing/database.ts";
import { errorOf, expectFitting, fill, openTransaction, waits } from "../testing/partitions.ts";
import { loginAs, refusalOf, withUser } from "../testing/roles.ts";
import { migrateAsFarAs } from "../testing/versions.ts";
import { readJournal } from "../version.ts";
import { ROLES, type Role, rightsTo } from "./rights.ts";

const DENIED = "42501";
/**
 * Of a GRANT by somebody who has the right to something else of the object: a warning, and nothing is done.
 */
const NOT_GRANTED = "01007";

/** All objects of both schemas: whose they are, and what who may do with them. */
const OBJECTS = `
  with objects as (
    select 'schema' as kind, nspname as schema, nspname::text as name, nspowner as owner, nspacl as acl, 'n'::"char" as type from pg_namespace
    union all
    select 'table', relnamespace::regnamespace::text, relname, relowner, relacl, 'r' from pg_class where relkind in ('r', 'p', 'v', 'm', 'f')
    union all
    select 'function', pronamespace::regnamespace::text, proname || '(' || oidvectortypes(proargtypes) || ')', proowner, proacl, 'f'
    from pg_proc
  )
  select kind, schema, name, owner::regrole::text as owner,
         array(select format('%s %s', grantee, privilege_type) from aclexplode(coalesce(acl, acldefault(type, owner))) order by 1) as acl,
         exists (select from aclexplode(coalesce(acl, acldefault(type, owner))) where grantee = 0) as public
  from objects
  where schema in ('warehouse', 'reports')
  order by 1, 2, 3`;

interface Listed {
  readonly kind: "schema" | "table" | "function";
  readonly schema: string;
  readonly name: string;
  readonly owner: string;
  readonly public: boolean;
}

const listObjects = (warehouse: Pick<TestWarehouse, "database">) =>
  warehouse.database.pool.query<Listed>(OBJECTS).then(({ rows }) => rows);

/** Rights to columns, which the list has not. */
const COLUMN_RIGHTS = `
  select attrelid::regclass::text as of, attname, attacl::text as acl
  from pg_attribute
  where attacl is not null and attrelid::regclass::text ~ '^(warehouse|reports)\\.'
  order by 1, 2`;

test("every object of both schemas has its place in the rights, a partition of each kind, too", async () => {
  const warehouse = await createTestDatabase({ roles: true });
  const dates = ["2026-01-05"];
  await ensurePartitions({ database: warehouse.database, granularity: "month", dates });
  const objects = await listObjects(warehouse);
  expect(objects.length).toBeGreaterThan(40);
  expect(objects.filter((object) => rightsTo(object) === undefined)).toEqual([]);
});

/** What the members of each role may do, object by object. A change of it is to be seen here. */
test("each role may do this, and no more", async () => {
  const warehouse = await createTestDatabase({ roles: true });
  const dates = ["2026-01-05"];
  await ensurePartitions({ database: warehouse.database, granularity: "month", dates });
  const rights = await warehouse.query<{ role: string; right: string; objects: string }>(`
    with granted as (
      select a.grantee, a.privilege_type, n.nspname || '.' || c.relname as object
      from pg_class c
      join pg_namespace n on n.oid = c.relnamespace
      cross join aclexplode(c.relacl) a
      union all
      select a.grantee, a.privilege_type || '(' || att.attname || ')', n.nspname || '.' || c.relname
      from pg_attribute att
      join pg_class c on c.oid = att.attrelid
      join pg_namespace n on n.oid = c.relnamespace
      cross join aclexplode(att.attacl) a
      union all
      select a.grantee, a.privilege_type, p.oid::regprocedure::text
      from pg_proc p
      cross join aclexplode(p.proacl) a
      union all
      select a.grantee, a.privilege_type, n.nspname
      from pg_namespace n
      cross join aclexplode(n.nspacl) a
    )
    select r.rolname as role, lower(privilege_type) as right, string_agg(distinct regexp_replace(object, '\\d+$', 'N'), ' ' order by regexp_replace(object, '\\d+$', 'N')) as objects
    from granted g
    join pg_roles r on r.oid = g.grantee
    where r.rolname = any (array['rollbook_steward', 'rollbook_loader', 'rollbook_reader']) and object ~ '^(warehouse|reports)'
    group by 1, 2
    order by 1, 2`);
  const text = rights.map(({ role, right, objects }) => `${role} ${right}: ${objects}`).join("\n");
  await expect(`${text}\n`).toMatchFileSnapshot("rights.txt");
});

test.each([true, false])("everybody has no right to anything (with roles: %s)", async (roles) => {
  const warehouse = await createTestDatabase({ roles });
  const dates = ["2026-01-05"];
  await ensurePartitions({ database: warehouse.database, granularity: "month", dates });
  const offenders = (await listObjects(warehouse)).filter((object) => object.public);
  expect(offenders).toEqual([]);
});

test("no function looks names up by the caller's search_path", async () => {
  const { query } = await createTestDatabase();
  const functions = await query<{ name: string; definer: boolean; pinned: boolean; bound: boolean }>(`
    select p.oid::regprocedure::text as name, p.prosecdef as definer,
           coalesce('search_path=pg_catalog, pg_temp' = any (p.proconfig), false) as pinned, p.prosqlbody is not null as bound
    from pg_proc p
    where p.pronamespace in ('warehouse'::regnamespace, 'reports'::regnamespace)
    order by 1`);
  expect(functions.length).toBeGreaterThanOrEqual(4);
  // "begin atomic" bound its names when the function was made; a setting of its own would keep it from being
  // inlined.
  expect(functions.filter(({ pinned, bound }) => !pinned && !bound)).toEqual([]);
  const definers = functions.filter(({ definer }) => definer);
  expect(definers).toEqual([
    { name: "warehouse.announce_partitions()", definer: true, pinned: true, bound: false },
    { name: "warehouse.make_checkpoint()", definer: true, pinned: true, bound: false },
    { name: "warehouse.open_partitions(date[])", definer: true, pinned: true, bound: false },
    { name: "warehouse.prune_statements()", definer: true, pinned: true, bound: false },
    { name: "warehouse.raise_pending_floor()", definer: true, pinned: true, bound: false },
    {
      name: "warehouse.record_proof(text,integer,timestamp with time zone,integer,bigint,boolean)",
      definer: true,
      pinned: true,
      bound: false,
    },
    { name: "warehouse.set_known_at()", definer: true, pinned: true, bound: false },
  ]);
  const document = readFileSync(new URL("../../docs/security.md", import.meta.url), "utf8");
  expect(definers.filter(({ name }) => !document.includes(`\`${name}\``))).toEqual([]);
});

// The function that makes partitions

test.each(GRANULARITIES)(
  "what is made for a %s has the name and bounds that the code gives it",
  async (granularity) => {
    const warehouse = await createTestDatabase({ granularity, earliest: "1890-01-01" });
    const dates = [
      "1890-01-01",
      "1899-12-31",
      "1900-02-28",
      "2020-12-31",
      "2021-01-03",
      "2024-02-29",
      "2024-12-30",
      "2026-10-05",
      "9998-12-31",
    ];
    await ensurePartitions({
      database: warehouse.database,
      granularity,
      dates: [...dates, addDays("2020-12-31", 1)],
    });
    const made = await warehouse.query(
      "select partition, lower::text, upper::text from warehouse.partitions order by lower",
    );
    const wanted = new Map(
      [...dates, "2021-01-01"]
        .sort()
        .map((date) => [partitionOf(granularity, date).partition, partitionOf(granularity, date)]),
    );
    expect(made).toEqual([...wanted.values()]);
    await expectFitting(warehouse);
  },
);

test("partitions are made for dates that the warehouse takes, and for no others", async () => {
  const warehouse = await createTestDatabase({ earliest: "2020-02-10", roles: true });
  const loader = await loginAs(warehouse, "loader");
  const open = (dates: string) => `select warehouse.open_partitions(${dates}::date[])`;
  expect(await refusalOf(loader, open("array['2020-01-31']"))).toBe("22023");
  expect(await refusalOf(loader, open("array['infinity']"))).toBe("22023");
  expect(await refusalOf(loader, open("array['-infinity']"))).toBe("22023");
  expect(await refusalOf(loader, open("array['0044-03-15 BC']"))).toBe("22023");
  expect(await loader.query(open("null"))).toEqual([]);
  expect(await loader.query(open("array[null, '2020-02-01', '2020-02-29']"))).toEqual([
    { open_partitions: "2020-02" },
  ]);
  await expectFitting(warehouse);
});

test("a partition that ends when the warehouse begins is not made", async () => {
  const { query } = await createTestDatabase({ earliest: "2020-02-01" });
  await expect(query("select warehouse.open_partitions(array['2020-01-31'::date])")).rejects.toMatchObject({
    code: "22023",
  });
});

test("the caller's session has no say in what the function makes", async () => {
  const warehouse = await createTestDatabase({ roles: true });
  const loader = await loginAs(warehouse, "loader");
  const client = await loader.database.pool.connect();
  onTestFinished(() => client.release(true));
  await client.query(
    "create temp table partitions (like warehouse.partitions); create temp table settings (granularity text, earliest date)",
  );
  await client.query("insert into settings values ('year', '1000-01-01')");
  await client.query(
    "create function pg_temp.date_trunc(text, timestamp) returns timestamp language sql as 'select $2'",
  );
  await client.query("create function pg_temp.lower(text) returns text language sql as 'select $1 || ''x'''");
  await client.query(
    "set search_path = pg_temp, pg_catalog; set datestyle = 'SQL, DMY'; set timezone = 'Pacific/Kiritimati'",
  );
  await client.query("select warehouse.open_partitions(array['2026-02-01'::date])");
  expect(
    await warehouse.query("select partition, lower::text, upper::text from warehouse.partitions"),
  ).toEqual([{ partition: "2026-02", lower: "2026-02-01", upper: "2026-03-01" }]);
  await expectFitting(warehouse);
});

test("a partition belongs to the owner, with the same rights, whoever had it made; one that was detached is written by the owner alone", async () => {
  const warehouse = await createTestDatabase({ roles: true });
  const makers = [await loginAs(warehouse, "loader"), await loginAs(warehouse, "owner"), warehouse];
  for (const [index, { database }] of makers.entries()) {
    const dates = [`2026-0${index + 1}-05`];
    expect(await ensurePartitions({ database, granularity: "month", dates })).toHaveLength(1);
  }
  const before = [await listObjects(warehouse), await warehouse.query(COLUMN_RIGHTS)];
  expect(before[0]?.filter((object) => (object as Listed).owner !== ROLES.owner)).toEqual([]);
  // What init would give them they have.
  await initWarehouse({ database: warehouse.database });
  expect([await listObjects(warehouse), await warehouse.query(COLUMN_RIGHTS)]).toEqual(before);
  const owner = await loginAs(warehouse, "owner");
  await detachPartition({ database: owner.database, partition: "2026-02" });
  const loader = await loginAs(warehouse, "loader");
  for (const leaf of ["invoices_2026_02", "venue_day_deltas_2026_02"]) {
    expect(await refusalOf(loader, `select from warehouse.${leaf}`)).toBeUndefined();
    expect(await refusalOf(loader, `delete from warehouse.${leaf}`)).toBe(DENIED);
    expect(await refusalOf(loader, `insert into warehouse.${leaf} select * from warehouse.${leaf}`)).toBe(
      DENIED,
    );
  }
});

// How the roles come

/** A user of this server who may log in and nothing else, dropped when the test has finished. */
async function createUser(options = ""): Promise<string> {
  const name = `User ${randomBytes(4).toString("hex")}`;
  await onServer((client) => client.query(`create role "${name}" login ${options}`));
  onTestFinished(() => onServer((client) => client.query(`drop role "${name}"`)).then(() => {}));
  return name;
}

async function expectRoles(warehouse: TestWarehouse): Promise<void> {
  expect((await listObjects(warehouse)).filter(({ owner }) => owner !== ROLES.owner)).toEqual([]);
  const loader = await loginAs(warehouse, "loader");
  const reader = await loginAs(warehouse, "reader");
  expect(await refusalOf(loader, "select from warehouse.invoices")).toBeUndefined();
  expect(await refusalOf(loader, "drop table warehouse.corrections")).toBe(DENIED);
  const steward = await loginAs(warehouse, "steward");
  expect(await refusalOf(steward, "update warehouse.loads set removed = 0")).toBeUndefined();
  expect(await refusalOf(reader, "select from reports.venue_daily_totals")).toBeUndefined();
  expect(await refusalOf(reader, "select from warehouse.invoices")).toBe(DENIED);
}

function warehouseOf(database: Database): TestWarehouse {
  return {
    database,
    settings: DEFAULT_SETTINGS,
    environment: {},
    query: async (text, values) => (await database.pool.query(text, values && [...values])).rows,
  };
}

test("a warehouse of an earlier version is handed over with what it holds, while its user goes on", async () => {
  const user = await createUser();
  const { database: asAdministrator, name } = await createEmptyDatabase();
  await asAdministrator.pool.query(`grant create on database ${name} to "${user}"`);
  const before = openDatabase({ connection: { ...testConnection(name), user } });
  onTestFinished(() => before.pool.end());
  await migrateAsFarAs(before, "0002_lasting_venues");
  // As that version made partitions.
  for (const parent of ["invoices", "venue_day_deltas", "venue_day_rollup"]) {
    await before.pool.query(`
      create table warehouse.${parent}_2026_01 partition of warehouse.${parent} for values from ('2026-01-01') to ('2026-02-01')`);
  }
  await before.pool.query(
    "insert into warehouse.partitions (partition, lower, upper) values ('2026-01', '2026-01-01', '2026-02-01')",
  );
  await fill(before.pool as unknown as pg.PoolClient, "2026-01-05");
  const done = await initWarehouse({ database: asAdministrator, roles: true });
  const newer = (await readJournal()).slice(3).map(({ tag }) => tag);
  expect(done).toMatchObject({ applied: newer, created: false, roles: true });
  const warehouse = warehouseOf(asAdministrator);
  await expectRoles(warehouse);
  const reader = await loginAs(warehouse, "reader");
  expect(await reader.query("select invoices, total from reports.venue_daily_totals")).toEqual([
    { invoices: "1", total: "10.00" },
  ]);
  const loader = await loginAs(warehouse, "loader");
  expect(await refusalOf(loader, "select from warehouse.invoices_2026_01")).toBeUndefined();
  expect(await refusalOf(loader, "delete from warehouse.venue_day_rollup_2026_01")).toBeUndefined();
  // Who owned it before is a member of the owner now.
  const { rows } = await before.pool.query("select count(*)::int as invoices from warehouse.invoices");
  expect(rows).toEqual([{ invoices: 1 }]);
  expect(await initWarehouse({ database: before })).toMatchObject({ applied: [], roles: true });
  expect(await initWarehouse({ database: before, roles: true })).toMatchObject({ applied: [], roles: true });
});

test("what init adds to a warehouse belongs to its owner, whoever runs it", async () => {
  const user = await createUser();
  const { database: asAdministrator, name } = await createEmptyDatabase();
  await asAdministrator.pool.query(`grant create on database ${name} to "${user}"`);
  const database = openDatabase({ connection: { ...testConnection(name), user } });
  onTestFinished(() => database.pool.end());
  await migrateAsFarAs(database, "0002_lasting_venues");
  const done = await initWarehouse({ database: asAdministrator });
  expect(done).toMatchObject({ roles: false, created: false });
  const objects = await listObjects({ database: asAdministrator });
  expect(objects.filter(({ owner }) => owner !== `"${user}"`)).toEqual([]);
  // The session that went back to the pool is the administrator's again.
  const { rows } = await asAdministrator.pool.query("select current_user = session_user as same");
  expect(rows).toEqual([{ same: true }]);
});

test("who was let into the reports before may still ask what was known", async () => {
  const user = await createUser();
  const { database } = await createEmptyDatabase();
  await migrateAsFarAs(database, "0002_lasting_venues");
  await database.pool.query(
    `grant usage on schema reports to "${user}"; grant select on all tables in schema reports to "${user}"`,
  );
  await initWarehouse({ database });
  const guest = withUser(warehouseOf(database), user);
  expect(
    await guest.query("select * from reports.venue_daily_totals_as_known_on(date '2026-10-05')"),
  ).toEqual([]);
});

test("init brings rights back to what they should be, and takes what is more", async () => {
  const warehouse = await createTestDatabase({ roles: true });
  const before = [await listObjects(warehouse), await warehouse.query(COLUMN_RIGHTS)];
  await warehouse.query(`
    revoke insert on warehouse.venue_day_deltas from rollbook_loader;
    revoke update (state) on warehouse.partitions from rollbook_loader;
    grant insert on warehouse.venues to rollbook_loader;
    grant select on warehouse.invoices to rollbook_reader;
    grant update (raw) on warehouse.rejects to rollbook_loader;
    grant usage on schema warehouse to public;
    grant execute on all functions in schema warehouse to public`);
  await initWarehouse({ database: warehouse.database });
  expect([await listObjects(warehouse), await warehouse.query(COLUMN_RIGHTS)]).toEqual(before);
});

test("rights that a user granted to others stay, and new partitions have them, too", async () => {
  const user = await createUser();
  const warehouse = await createTestDatabase({ roles: true });
  onTestFinished(() => warehouse.query(`drop owned by "${user}"`).then(() => {}));
  await warehouse.query(
    `grant usage on schema warehouse to "${user}"; grant select, insert on warehouse.invoices to "${user}"`,
  );
  await initWarehouse({ database: warehouse.database });
  const { database } = await loginAs(warehouse, "loader");
  await ensurePartitions({ database, granularity: "month", dates: ["2026-01-05"] });
  const auditor = withUser(warehouse, user);
  expect(await refusalOf(auditor, "select from warehouse.invoices")).toBeUndefined();
  expect(await refusalOf(auditor, "select from warehouse.invoices_2026_01")).toBeUndefined();
  expect(
    await refusalOf(auditor, "insert into warehouse.invoices_2026_01 select * from warehouse.invoices"),
  ).toBe(DENIED);
});

test("init with roles may run at once, on one database and on several of one server", async () => {
  const databases = [await createEmptyDatabase(), await createEmptyDatabase(), await createEmptyDatabase()];
  const runs = databases.flatMap(({ database }) => [database, database, database]);
  const done = await Promise.all(runs.map((database) => initWarehouse({ database, roles: true })));
  expect(done.filter(({ created }) => created)).toHaveLength(3);
  for (const { database } of databases) await expectRoles(warehouseOf(database));
});

test("handing over that is cut off halfway is finished by the next init with roles", async () => {
  const warehouse = await createTestDatabase();
  const { database } = warehouse;
  await ensurePartitions({ database, granularity: "month", dates: ["2026-01-05"] });
  const holder = await openTransaction(warehouse);
  await holder.query("lock table warehouse.venue_day_deltas in access share mode");
  const abort = new AbortController();
  const cut = errorOf(initWarehouse({ database, roles: true, signal: abort.signal }));
  await expect.poll(() => waits(warehouse), { timeout: 30_000 }).toHaveLength(1);
  abort.abort(new Error("cut off by the test"));
  expect((await cut).code).toBe("aborted");
  const owners = new Set((await listObjects(warehouse)).map(({ owner }) => owner));
  expect(owners.size).toBe(2);
  await holder.query("rollback");
  expect(await initWarehouse({ database })).toMatchObject({ applied: [] });
  expect(await initWarehouse({ database, roles: true })).toMatchObject({ applied: [], roles: true });
  await expectRoles(warehouse);
  await expectFitting(warehouse);
});

test("loader, steward and reader are told that init is the owner's, and the owner what the database must allow", async () => {
  const warehouse = await createTestDatabase({ roles: true });
  for (const role of ["steward", "loader", "reader"] as const) {
    const { database } = await loginAs(warehouse, role);
    const error = await errorOf(initWarehouse({ database }));
    expect(error.code).toBe("permission");
    expect(error.message).toContain(`grant "rollbook_owner" to "test ${role}"`);
  }
  const { database: name = "" } = warehouse.database.pool.options;
  await warehouse.query(`revoke create on database "${name}" from rollbook_owner`);
  await warehouse.query(
    "delete from warehouse.migrations where created_at = (select max(created_at) from warehouse.migrations)",
  );
  const { database } = await loginAs(warehouse, "owner");
  const error = await errorOf(initWarehouse({ database }));
  expect(error.code).toBe("permission");
  expect(error.message).toContain(`grant create on database "${name}" to "rollbook_owner"`);
});

// What each may not do

const FORBIDDEN_TO_GUESTS = [
  "drop table warehouse.corrections",
  "drop view reports.venue_totals",
  "drop function warehouse.open_partitions",
  "drop schema reports cascade",
  "alter table warehouse.invoices add column x int",
  "alter table warehouse.invoices detach partition warehouse.invoices_2026_01",
  "alter table warehouse.loads disable row level security",
  "alter table warehouse.partitions disable trigger guard_partition_state",
  "alter table warehouse.loads disable trigger guard_finished_loads",
  "alter policy finished_loads_stay on warehouse.loads using (true)",
  "alter policy loads_are_entered on warehouse.loads with check (true)",
  "drop policy finished_loads_stay on warehouse.loads",
  "alter function warehouse.open_partitions security invoker",
  "create or replace view reports.venue_totals as select ''::text as venue_id, 0::bigint as invoices, 0::numeric(24, 2) as total",
  "truncate warehouse.invoices",
  "truncate warehouse.venue_day_pending",
  "truncate warehouse.loads",
  "create table warehouse.x ()",
  "create table reports.x ()",
  "create view reports.x as select 1",
  "create function warehouse.now() returns int language sql as 'select 1'",
  "create function reports.now() returns int language sql as 'select 1'",
  "create function pg_catalog.open_partitions(text) returns int language sql as 'select 1'",
  "create function public.lower(text) returns text language sql as 'select $1'",
  "create trigger x before insert on warehouse.venues execute function warehouse.guard_partition_state()",
  "create index on warehouse.invoices (load_id)",
  "create schema x",
  "create role x",
  "create extension dblink",
  "set role rollbook_owner",
  "grant rollbook_owner to current_user",
  "grant select on warehouse.invoices to public",
  "grant usage on schema warehouse to public",
  "alter role rollbook_owner login",
  "alter schema warehouse owner to current_user",
  "set session_replication_role = replica",
  "select pg_reload_conf()",
  "select pg_read_file('postgresql.conf')",
  "select lo_export(1, '/tmp/x')",
  "copy (select 1) to program 'cat'",
  "copy (select 1) to '/tmp/rollbook-x'",
  "copy warehouse.venues (venue_id) from program 'echo x'",
  "update warehouse.settings set time_zone = 'Europe/Berlin'",
  "delete from warehouse.settings",
  "update warehouse.migrations set created_at = 0",
  "delete from warehouse.migrations",
  "delete from warehouse.venues",
  "update warehouse.venues set venue_id = 'x'",
  "insert into warehouse.venues (venue_key, venue_id) overriding system value values (1, 'x')",
  "delete from warehouse.loads",
  "update warehouse.loads set sha256 = null",
  "update warehouse.loads set file_name = ''",
  "update warehouse.loads set load_id = 0",
  "delete from warehouse.rejects",
  "update warehouse.rejects set raw = ''",
  "update warehouse.corrections set old_total = 0",
  "delete from warehouse.corrections",
  "update warehouse.statements set stated_by = 2",
  "update warehouse.statements set invoice_ids = '{}'",
  "delete from warehouse.statements",
  "truncate warehouse.statements",
  "update warehouse.settings set statements_kept_since = now()",
  "update warehouse.settings set keep_statements_days = 1",
  "insert into warehouse.loads (file_name, status) values ('x', 'undone')",
  "insert into warehouse.loads (file_name, status) values ('x', 'repair')",
  "insert into warehouse.loads (file_name, status, finished_at) values ('x', 'loaded', now())",
  "insert into warehouse.loads (file_name, status, finished_at, retry_of) values ('x', 'retry', now(), 1)",
  "insert into warehouse.loads (load_id, file_name, status) values (2147483647, 'x', 'loaded')",
  "insert into warehouse.loads (file_name, status, known_at) values ('x', 'loaded', 'infinity')",
  "insert into warehouse.loads (file_name, status, inserted) values ('x', 'loaded', 7)",
  "update warehouse.loads set known_at = 'infinity'",
  "update warehouse.loads set status = 'repair' where finished_at is null",
  "select warehouse.set_known_at()",
  "insert into warehouse.loads (file_name, status, undo_of, because, decided_by) values ('x', 'undo', 1, 'x', 'somebody else')",
  "update warehouse.venue_day_deltas set total = 0",
  "delete from warehouse.venue_day_deltas",
  "update warehouse.venue_day_deltas_2026_01 set total = 0",
  "delete from warehouse.venue_day_deltas_2026_01",
  "insert into warehouse.venue_day_deltas_2026_01 values (1, '2026-01-01', 1, 1, 1)",
  "insert into warehouse.invoices_2026_01 select * from warehouse.invoices",
  "delete from warehouse.invoices_2026_01",
  "update warehouse.invoices set invoice_id = gen_random_uuid()",
  "insert into warehouse.checkpoints values (1, now())",
  "delete from warehouse.checkpoints",
  "insert into warehouse.checkpoint_groups values ('2026-01-01', 1, 1, 1, 1, 1)",
  "update warehouse.checkpoint_groups set total = 0",
  "delete from warehouse.checkpoint_dates",
  "update warehouse.partitions set checkpointed = true",
  "select warehouse.add_to_checkpoint(1, '-infinity', 'infinity', '-infinity', 'infinity')",
  "update warehouse.venue_day_pending set total = 0",
  "insert into warehouse.partitions (partition, lower, upper) values ('x', '1999-01-01', '1999-02-01')",
  "delete from warehouse.partitions",
  "update warehouse.partitions set lower = '1999-01-01'",
  "update warehouse.partitions set state = 'dropped'",
  "update warehouse.partitions set state = 'detached'",
  "delete from warehouse.staging_1",
  "select warehouse.guard_partition_state()",
  "select warehouse.guard_finished_loads()",
  "select warehouse.guard_dismissals()",
  "alter table warehouse.dismissals disable trigger guard_dismissals",
  "alter table warehouse.loads drop constraint loads_reasons_check",
  "insert into warehouse.loads (file_name, status, error_code) values ('x', 'failed', 'loaded_again')",
  "insert into warehouse.dismissals (load_id, reason, because) values (1000, 'bad_uuid', 'x')",
  "insert into warehouse.dismissals (load_id, reason, because, dismissed_by) values (1, 'bad_uuid', 'x', 'x')",
  "update warehouse.dismissals set because = 'x'",
  "delete from warehouse.dismissals",
  "delete from warehouse.absences",
  "update warehouse.closings set total = 0",
  "delete from warehouse.closings",
];

/** To loader and reader. */
const FORBIDDEN_TO_OTHERS = [
  "update warehouse.loads set removed = 1",
  "update warehouse.loads set status = 'undo' where finished_at is null",
  "update warehouse.loads set status = 'undone' where finished_at is null",
  "insert into warehouse.loads (file_name, status, undo_of, because, decided_by) values ('x', 'undo', 1, 'x', session_user)",
  "set role rollbook_steward",
  "grant rollbook_steward to current_user",
];

const FORBIDDEN_TO_READER = [
  "select from warehouse.invoices",
  "select from warehouse.invoices_2026_01",
  "select from warehouse.venues",
  "select from warehouse.loads",
  "select from warehouse.rejects",
  "select from warehouse.venue_day_deltas",
  "select from warehouse.venue_day_pending",
  "select from warehouse.venue_day_rollup",
  "select from warehouse.venue_day_totals",
  "select from warehouse.settings",
  "select from warehouse.partitions",
  "select from warehouse.staging_1",
  "copy warehouse.invoices to stdout",
  "insert into warehouse.loads (file_name, status) values ('x', 'loaded')",
  "insert into warehouse.venues (venue_id) values ('x')",
  "lock table warehouse.invoices in access share mode",
  "truncate warehouse.staging_1",
  "select warehouse.open_partitions(array['2026-05-05'::date])",
  "delete from reports.warehouse_settings",
  "update reports.warehouse_settings set time_zone = 'Europe/Berlin'",
  "update reports.load_history set status = 'failed'",
  "insert into reports.load_history (file_name, status) values ('x', 'loaded')",
  "set role rollbook_loader",
];

/** To a login that is in none of the roles. */
const FORBIDDEN_TO_STRANGERS = [
  "select from reports.venue_daily_totals",
  "select from reports.load_history",
  "select from reports.warehouse_settings",
  "select from reports.venue_daily_totals_as_known_on(now())",
  "set role rollbook_reader",
];

/** A warehouse with a row in each table. */
async function filled(): Promise<TestWarehouse> {
  const warehouse = await createTestDatabase({ roles: true });
  await ensurePartitions({ database: warehouse.database, granularity: "month", dates: ["2026-01-05"] });
  await fill(warehouse.database.pool as unknown as pg.PoolClient, "2026-01-05");
  await warehouse.query(`
    insert into warehouse.loads (file_name, status, finished_at) values ('done', 'loaded', now());
    insert into warehouse.loads (file_name, synced_on, status) values ('open', '2026-01-03', 'loaded');
    insert into warehouse.rejects values (1, 1, 'bad_uuid', null, '');
    insert into warehouse.corrections values (1, '2026-01-05', 1, gen_random_uuid(), now(), 1, 1, '2026-01-05');
    insert into warehouse.statements values (1, 1, '2026-01-05', 1, '2026-01-05', 1, array[gen_random_uuid()]);
    insert into warehouse.venue_day_pending values ('2026-01-05', 1, 1, 1);
    insert into warehouse.staging_1 values ('x', gen_random_uuid(), now(), 1)`);
  return warehouse;
}

test("nothing that is not theirs is open to steward, loader, reader and strangers", async () => {
  const warehouse = await filled();
  const open: string[] = [];
  const attempt = async (role: Role | "nobody", statements: readonly string[]) => {
    const login =
      role === "nobody" ? withUser(warehouse, await createUser()) : await loginAs(warehouse, role);
    const { PGUSER: superuser } = warehouse.environment;
    expect(await refusalOf(login, `set session authorization "${superuser}"`)).toBe(DENIED);
    await expect(login.query("alter system set fsync = off")).rejects.toMatchObject({ code: DENIED });
    for (const statement of statements) {
      const refusal = await refusalOf(login, statement);
      if (refusal !== DENIED && refusal !== NOT_GRANTED)
        open.push(`${role}: ${statement}: ${refusal ?? "done"}`);
    }
  };
  await attempt("steward", FORBIDDEN_TO_GUESTS);
  await attempt("loader", [...FORBIDDEN_TO_GUESTS, ...FORBIDDEN_TO_OTHERS]);
  await attempt("reader", [...FORBIDDEN_TO_GUESTS, ...FORBIDDEN_TO_OTHERS, ...FORBIDDEN_TO_READER]);
  await attempt("nobody", [
    ...FORBIDDEN_TO_GUESTS,
    ...FORBIDDEN_TO_OTHERS,
    ...FORBIDDEN_TO_READER,
    ...FORBIDDEN_TO_STRANGERS,
  ]);
  expect(open).toEqual([]);
});

test("the owner may do what the others may not to its tables", async () => {
  const warehouse = await filled();
  const owner = await loginAs(warehouse, "owner");
  const refused: string[] = [];
  const own = FORBIDDEN_TO_GUESTS.filter((statement) =>
    /^(drop|alter table|truncate|create table|delete|update)/.test(statement),
  );
  for (const statement of own) {
    if ((await refusalOf(owner, statement)) === DENIED) refused.push(statement);
  }
  expect(own.length).toBeGreaterThan(30);
  expect(refused).toEqual([]);
});

test("the loader changes an entry of the ledger until it is finished, and never after", async () => {
  const warehouse = await filled();
  const loader = await loginAs(warehouse, "loader");
  await loader.query(
    "insert into warehouse.loads (file_name, synced_on, status) values ('mine', '2026-01-02', 'loaded')",
  );
  const finish =
    "update warehouse.loads set inserted = 7, finished_at = now() where file_name <> 'open' returning file_name";
  const known = () =>
    warehouse.query("select from warehouse.loads where file_name = 'mine' and known_at > '2026-01-01'");
  expect(await known()).toHaveLength(0);
  expect(await loader.query(finish)).toEqual([{ file_name: "mine" }]);
  expect(await known()).toHaveLength(1);
  expect(await loader.query(finish)).toEqual([]);
  expect(
    await loader.query(
      "select file_name, inserted from warehouse.loads where file_name <> 'open' order by 1",
    ),
  ).toEqual([
    { file_name: "done", inserted: "0" },
    { file_name: "mine", inserted: "7" },
  ]);
  const owner = await loginAs(warehouse, "owner");
  expect(await owner.query(finish)).toHaveLength(2);
});

test("the steward marks finished entries as undone and as loaded again, and changes nothing else of them", async () => {
  const warehouse = await filled();
  await warehouse.query(`
    insert into warehouse.loads (file_name, status, retry_of, finished_at) values ('read again', 'retry', 1, now());
    insert into warehouse.loads (file_name, status, finished_at) values ('refused', 'rejected', now())`);
  const steward = await loginAs(warehouse, "steward");
  const set = (what: string, fileName: string) =>
    refusalOf(steward, `update warehouse.loads set ${what} where file_name = '${fileName}'`);
  for (const change of ["inserted = 7", "removed = 1", "known_at = now()"]) {
    expect(await set(change, "done"), change).toBe(DENIED);
    expect(await set(`status = 'undone', ${change}`, "done"), change).toBe(DENIED);
  }
  expect(await set("status = 'failed'", "done")).toBe(DENIED);
  expect(await set("status = 'undone'", "refused")).toBe(DENIED);
  expect(await set("status = 'undone'", "open")).toBe(DENIED);
  for (const [fileName, status] of [
    ["done", "loaded"],
    ["read again", "retry"],
  ] as const) {
    const change = (to: string) =>
      steward.query(`update warehouse.loads set status = $2 where file_name = $1 returning status`, [
        fileName,
        to,
      ]);
    expect(await change("undone")).toEqual([{ status: "undone" }]);
    expect(await set("status = 'failed'", fileName)).toBe(DENIED);
    expect(await set("status = 'repair'", fileName)).toBe(DENIED);
    expect(await change(status)).toEqual([{ status }]);
  }
  // For the loader these entries are not there to be changed.
  const loader = await loginAs(warehouse, "loader");
  expect(
    await loader.query(
      "update warehouse.loads set status = 'failed' where finished_at is not null returning 1",
    ),
  ).toEqual([]);
});

test("an undo is entered by a steward or the owner, in the name of who enters it", async () => {
  const warehouse = await filled();
  const enter = (by: string) => `
    insert into warehouse.loads (file_name, status, undo_of, because, decided_by)
    values ('undo', 'undo', 1, 'a test', ${by}) returning decided_by`;
  const steward = await loginAs(warehouse, "steward");
  expect(await steward.query(enter("session_user"))).toEqual([{ decided_by: "test steward" }]);
  expect(await refusalOf(steward, enter("'test owner'"))).toBe(DENIED);
  expect(
    await steward.query(
      "update warehouse.loads set removed = 3, finished_at = now() where status = 'undo' returning removed",
    ),
  ).toEqual([{ removed: "3" }]);
  expect(await refusalOf(steward, "update warehouse.loads set removed = 4 where status = 'undo'")).toBe(
    DENIED,
  );
  expect(await refusalOf(await loginAs(warehouse, "loader"), enter("session_user"))).toBe(DENIED);
  expect(await refusalOf(await loginAs(warehouse, "owner"), enter("session_user"))).toBeUndefined();
});

test("who may write what an undo removed is a steward to the ledger, also without the roles", async () => {
  const user = await createUser();
  const warehouse = await createTestDatabase();
  onTestFinished(() => warehouse.query(`drop owned by "${user}"`).then(() => {}));
  await warehouse.query(`
    grant usage on schema warehouse to "${user}";
    grant select, insert, update (status) on warehouse.loads to "${user}";
    insert into warehouse.loads (file_name, status, finished_at) values ('done', 'loaded', now())`);
  const guest = withUser(warehouse, user);
  const undone = "update warehouse.loads set status = 'undone' returning status";
  expect(await guest.query(undone)).toEqual([]);
  await warehouse.query(`grant update (removed) on warehouse.loads to "${user}"`);
  expect(await guest.query(undone)).toEqual([{ status: "undone" }]);
});

test("the loader may say that a partition is stale and that it no longer is", async () => {
  const loader = await loginAs(await filled(), "loader");
  const set = (state: string) =>
    loader.query(`update warehouse.partitions set state = '${state}' returning state`);
  expect(await set("stale")).toEqual([{ state: "stale" }]);
  expect(await set("open")).toEqual([{ state: "open" }]);
});

test("the loader may vacuum the queue", async () => {
  const loader = await loginAs(await filled(), "loader");
  const client = await loader.database.pool.connect();
  const said: string[] = [];
  client.on("notice", ({ message }) => said.push(String(message)));
  await client.query("vacuum warehouse.venue_day_pending");
  await client.query("vacuum warehouse.rejects");
  client.release();
  expect(said).toEqual([expect.stringContaining('permission denied to vacuum "rejects"')]);
});

test("the reader sees every report, with its rows", async () => {
  const warehouse = await filled();
  const reader = await loginAs(warehouse, "reader");
  const views = await warehouse.query<{ name: string }>(
    "select format('reports.%I', relname) as name from pg_class where relnamespace = 'reports'::regnamespace and relkind = 'v'",
  );
  expect(views.length).toBeGreaterThanOrEqual(10);
  const calls = [
    ...views.map(({ name }) => name),
    "reports.venue_daily_totals_as_known_on(now())",
    "reports.venue_daily_totals_as_known_on(date '2027-01-01')",
  ];
  for (const from of calls) {
    const query = `select coalesce(json_agg(r)::text, '') as rows from (select * from ${from} r order by 1, 2) r`;
    expect(await reader.query(query), from).toEqual(await warehouse.query(query));
  }
});
