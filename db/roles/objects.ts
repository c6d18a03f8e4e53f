/** The objects of a warehouse on its server: who owns each, and what was granted on it. */
import { sql } from "drizzle-orm";
import pg from "pg";
import type { Session } from "../client.ts";
import type { ObjectKind } from "./rights.ts";

const quote = pg.escapeIdentifier;

export interface Owned extends Record<string, unknown> {
  readonly kind: ObjectKind;
  readonly schema: string;
  readonly name: string;
  readonly owner: string;
  /** `role right`, in lower case; of a column `role right(column)`. Everybody is the role `public`. */
  readonly granted: readonly string[];
}

/**
 * All schemas, tables, views, sequences and functions of the warehouse. Indexes, and the sequences of keys,
 * belong to their tables.
 */
export async function listObjects({ db }: Session): Promise<readonly Owned[]> {
  const found = await db.execute<Owned>(sql`
    with objects as (
       select 1 as place, 'schema' as kind, n.nspname as schema, n.nspname::text as name, n.nspowner as owner, n.oid as id,
              coalesce(n.nspacl, acldefault('n', n.nspowner)) as acl
       from pg_namespace n
       union all
       select 2, 'table', n.nspname, c.relname::text, c.relowner, c.oid, coalesce(c.relacl, acldefault('r', c.relowner))
       from pg_class c
       join pg_namespace n on n.oid = c.relnamespace
       where c.relkind in ('r', 'p', 'v', 'm', 'f')
       union all
       select 3, 'sequence', n.nspname, c.relname::text, c.relowner, c.oid, coalesce(c.relacl, acldefault('s', c.relowner))
       from pg_class c
       join pg_namespace n on n.oid = c.relnamespace
       where c.relkind = 'S'
         and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype in ('a', 'i'))
       union all
       select 4, 'function', n.nspname, format('%s(%s)', p.proname, oidvectortypes(p.proargtypes)), p.proowner, p.oid,
              coalesce(p.proacl, acldefault('f', p.proowner))
       from pg_proc p
       join pg_namespace n on n.oid = p.pronamespace
     )
     select o.kind, o.schema, o.name, pg_get_userbyid(o.owner) as owner,
            array(
              select case a.grantee when 0 then 'public' else pg_get_userbyid(a.grantee) end || ' ' || lower(a.privilege_type) || a.of_column
              from (
                select a.grantee, a.privilege_type, '' as of_column
                from aclexplode(o.acl) a
                union all
                select a.grantee, a.privilege_type, format('(%s)', c.attname)
                from pg_attribute c
                cross join aclexplode(c.attacl) a
                where o.kind = 'table' and c.attrelid = o.id and not c.attisdropped
              ) a
              where a.grantee <> o.owner
            ) as granted
     from objects o
     where o.schema in ('warehouse', 'reports')
     order by o.place, o.schema, o.name`);
  return found.rows;
}

export function nameOf({ kind, schema, name }: Owned): string {
  if (kind === "schema") return `schema ${quote(schema)}`;
  if (kind === "table" || kind === "sequence") return `${kind} ${quote(schema)}.${quote(name)}`;
  const [, called = "", types = ""] = /^(.*)\((.*)\)$/.exec(name) ?? [];
  return `function ${quote(schema)}.${quote(called)}(${types})`;
}
