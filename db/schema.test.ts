import { existsSync } from "node:fs";
import { getTableColumns, getTableName, is } from "drizzle-orm";
import { getTableConfig, getViewConfig, PgTable, PgView } from "drizzle-orm/pg-core";
import { expect, test } from "vitest";
import * as schema from "./schema.ts";
import { createTestDatabase } from "./testing/database.ts";
import { readJournal } from "./version.ts";

const tables = Object.values(schema).filter((value) => is(value, PgTable));
const views = Object.values(schema).filter((value) => is(value, PgView));

/** `schema.relation column type null?`, as drizzle has it. */
function describeTable(table: PgTable): readonly string[] {
  const { schema: within, name } = getTableConfig(table);
  return Object.values(getTableColumns(table)).map(
    (column) =>
      `${within}.${name} ${column.name} ${column.getSQLType()} ${column.notNull ? "not null" : "null"}`,
  );
}

function describeView(view: PgView): readonly string[] {
  const { schema: within, name, selectedFields } = getViewConfig(view);
  return Object.values(selectedFields).map((column) => {
    const { name: columnName, getSQLType } = column as { name: string; getSQLType: () => string };
    return `${within}.${name} ${columnName} ${getSQLType.call(column)}`;
  });
}

/** The same as PostgreSQL has it. Views have no nullability there. */
const COLUMNS = `
  select n.nspname || '.' || c.relname || ' ' || a.attname || ' ' || replace(format_type(a.atttypid, a.atttypmod), ',', ', ')
         || case when c.relkind = 'v' then '' when a.attnotnull then ' not null' else ' null' end as described
  from pg_attribute a
  join pg_class c on c.oid = a.attrelid
  join pg_namespace n on n.oid = c.relnamespace
  where n.nspname in ('warehouse', 'reports') and a.attnum > 0 and not a.attisdropped
    and c.relkind = any ($1) and not c.relispartition
  order by c.relname, a.attnum`;

test("the tables of schema.ts are those of the migrations, column by column", async () => {
  const warehouse = await createTestDatabase();
  const rows = await warehouse.query<{ described: string }>(COLUMNS, [["r", "p"]]);
  const migrated = rows
    .map((row) => row.described)
    // Staging has no names in schema.ts, and the ledger of the migrations is drizzle's.
    .filter((described) => !/^warehouse\.(staging_\d+|migrations) /.test(described));
  expect(tables.flatMap(describeTable).toSorted()).toEqual(migrated.toSorted());
});

test("the primary keys of schema.ts are those of the migrations", async () => {
  const warehouse = await createTestDatabase();
  const rows = await warehouse.query<{ described: string }>(`
    select c.relname || ': ' || string_agg(a.attname, ', ' order by k.position) as described
    from pg_constraint p
    join pg_class c on c.oid = p.conrelid
    join pg_namespace n on n.oid = c.relnamespace and n.nspname = 'warehouse'
    cross join unnest(p.conkey) with ordinality as k (attnum, position)
    join pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum
    where p.contype = 'p' and c.relname <> 'migrations'
    group by c.relname`);
  const declared = tables.flatMap((table) => {
    const { columns, primaryKeys } = getTableConfig(table);
    const single = columns.filter((column) => column.primary).map((column) => column.name);
    const [key = single] = primaryKeys.map((primaryKey) => primaryKey.columns.map((column) => column.name));
    return key.length === 0 ? [] : [`${getTableName(table)}: ${key.join(", ")}`];
  });
  expect(declared.toSorted()).toEqual(rows.map((row) => row.described).toSorted());
});

test("the columns of the views in schema.ts are there and of that type", async () => {
  const warehouse = await createTestDatabase();
  const rows = await warehouse.query<{ described: string }>(COLUMNS, [["v"]]);
  const migrated = rows.map((row) => row.described);
  const declared = views.flatMap(describeView);
  expect(declared.length).toBeGreaterThan(0);
  expect(declared.filter((described) => !migrated.includes(described))).toEqual([]);
});

test("the enumerations of schema.ts are the checks of the migrations", async () => {
  const warehouse = await createTestDatabase();
  const rows = await warehouse.query<{ name: string; definition: string }>(`
    select c.relname || '.' || a.attname as name, pg_get_constraintdef(p.oid) as definition
    from pg_constraint p
    join pg_class c on c.oid = p.conrelid
    join pg_namespace n on n.oid = c.relnamespace and n.nspname = 'warehouse'
    join pg_attribute a on a.attrelid = c.oid and array[a.attnum] = p.conkey
    where p.contype = 'c' and a.attname in ('granularity', 'status', 'state')`);
  const allowed = Object.fromEntries(
    rows.map(({ name, definition }) => [
      name,
      [...definition.matchAll(/'(\w+)'/g)].map(([, value]) => value),
    ]),
  );
  expect(allowed).toEqual({
    "settings.granularity": [...schema.GRANULARITIES],
    "loads.status": [...schema.LOAD_STATUSES],
    "partitions.state": [...schema.PARTITION_STATES],
  });
});

test("there are as many staging tables as slots, and they alone are unlogged", async () => {
  const warehouse = await createTestDatabase();
  const unlogged = await warehouse.query<{ name: string }>(`
    select relname as name from pg_class
    where relnamespace = 'warehouse'::regnamespace and relkind = 'r' and relpersistence <> 'p'`);
  const slots = Array.from({ length: schema.STAGING_SLOTS }, (_, index) => `staging_${index + 1}`);
  expect(unlogged.map((row) => row.name).toSorted()).toEqual(slots.toSorted());
});

test("every view and function of the reports, and each column, has a comment", async () => {
  const warehouse = await createTestDatabase();
  const silent = await warehouse.query<{ what: string }>(`
    select c.relname || coalesce('.' || a.attname, '') as what
    from pg_class c
    left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
    where c.relnamespace = 'reports'::regnamespace and c.relkind <> 'i'
      and (col_description(c.oid, a.attnum) is null or obj_description(c.oid, 'pg_class') is null)
    union all
    select p.oid::regprocedure::text
    from pg_proc p
    where p.pronamespace = 'reports'::regnamespace and obj_description(p.oid, 'pg_proc') is null
    union all
    select nspname from pg_namespace
    where nspname in ('warehouse', 'reports') and obj_description(oid, 'pg_namespace') is null`);
  expect(silent).toEqual([]);
});

test("no table has a default partition", async () => {
  const warehouse = await createTestDatabase();
  const offenders = await warehouse.query(
    "select partrelid::regclass from pg_partitioned_table where partdefid <> 0",
  );
  expect(offenders).toEqual([]);
  const parents = await warehouse.query("select from pg_partitioned_table");
  expect(parents).toHaveLength(3);
});

test("the stamps of the journal increase, and each of its tags has a file", async () => {
  const entries = await readJournal();
  const stamps = entries.map((entry) => entry.when);
  expect(stamps).toEqual([...new Set(stamps)].toSorted((a, b) => a - b));
  const missing = entries.filter(
    ({ tag }) => !existsSync(new URL(`./migrations/${tag}.sql`, import.meta.url)),
  );
  expect(missing).toEqual([]);
});
