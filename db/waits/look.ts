/** Looks which of our sessions wait for a lock, what that lock stands for, and who holds it. */
import type pg from "pg";
import { nameOfAdvisory } from "./advisory.ts";

/** A session that holds a lock, or stands before ours in the queue for it. What our login may not see is null. */
export interface Holder {
  /** 0 for a prepared transaction, which no session has. */
  readonly pid: number;
  readonly user: string | null;
  readonly application: string | null;
  /** In PostgreSQL's words: `active`, `idle in transaction`. */
  readonly state: string | null;
  /** `YYYY-MM-DD HH:MM:SS`, in UTC. */
  readonly transactionBegan: string | null;
  /** How long it has been in this state. */
  readonly stateSeconds: number | null;
  /** Sessions for which it waits itself. */
  readonly waitsFor: readonly number[];
}

/** A lock for which a session of ours waits. */
export interface Wait {
  /** In the words of docs/design.md: `the order of commits`, `relation warehouse.invoices`. */
  readonly what: string;
  readonly waitedMs: number;
  readonly holders: readonly Holder[];
}

/** A wait as one look saw it. */
export interface SeenWait extends Wait {
  /** When it began, by the server's clock: with `what` this tells one wait from another. */
  readonly since: string;
}

interface WaitingRow {
  readonly locktype: string;
  readonly mode: string;
  readonly relation: string | null;
  readonly class: number | null;
  readonly object: number | null;
  /** The table of the row for which the session has queued up. */
  readonly row_of: string | null;
  readonly statement: string | null;
  readonly since: string | null;
  readonly waited_ms: number | null;
  readonly pid: number;
}

/**
 * Which of these sessions wait for a lock now.
 *
 * @param client a session of its own, which waits for nothing long
 */
export async function findWaits(client: pg.Client, pids: readonly number[]): Promise<readonly SeenWait[]> {
  // The list of all locks is long and costs the server something. So it is read only where somebody waits.
  const waiting = await client.query<{ pid: number }>(
    "select pid from pg_stat_activity where pid = any ($1) and wait_event_type = 'Lock'",
    [pids],
  );
  if (waiting.rows.length === 0) return [];
  const { rows } = await client.query<WaitingRow>(
    `select l.pid, l.locktype, l.mode, l.relation::regclass::text as relation, l.classid::int8::float8 as class,
            l.objid::int8::float8 as object,
            (select t.relation::regclass::text from pg_locks t
             where t.pid = l.pid and t.locktype = 'tuple' and t.granted limit 1) as row_of,
            a.query as statement, l.waitstart::text as since,
            (extract(epoch from clock_timestamp() - l.waitstart) * 1000)::float8 as waited_ms
     from pg_locks l
     left join pg_stat_activity a on a.pid = l.pid
     where l.pid = any ($1) and not l.granted`,
    [waiting.rows.map(({ pid }) => pid)],
  );
  const waits: SeenWait[] = [];
  for (const row of rows) {
    const holders = await findHolders(client, { waiting: row.pid });
    // The lock was given meanwhile.
    if (holders.length === 0) continue;
    const what = await nameOf(client, row);
    waits.push({ what, since: row.since ?? "", waitedMs: row.waited_ms ?? 0, holders });
  }
  return waits;
}

/** The sessions before the one that waits, and those for which these wait; or the holders of an advisory lock. */
export async function findHolders(
  client: pg.Client,
  of: { readonly waiting: number } | { readonly lock: number },
): Promise<readonly Holder[]> {
  const direct =
    "waiting" in of
      ? "select unnest(pg_blocking_pids($1)), 1"
      : `select distinct pid, 1 from pg_locks
         where locktype = 'advisory' and classid::int8 = $1 and objsubid = 2 and granted
           and database = (select oid from pg_database where datname = current_database())`;
  const { rows } = await client.query<Holder>(
    `with recursive chain (pid, depth) as (
       ${direct}
       union
       select unnest(pg_blocking_pids(pid)), depth + 1 from chain where pid <> 0 and depth < 4
     ),
     holders as (select pid, min(depth) as depth from chain group by pid)
     select h.pid, a.usename as "user",
            coalesce(nullif(a.application_name, ''), nullif(a.backend_type, 'client backend')) as application,
            a.state,
            to_char(a.xact_start at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') as "transactionBegan",
            extract(epoch from clock_timestamp() - a.state_change)::float8 as "stateSeconds",
            case when h.pid = 0 then '{}' else pg_blocking_pids(h.pid) end as "waitsFor"
     from holders h
     left join pg_stat_activity a on a.pid = h.pid
     order by h.depth, a.xact_start, h.pid`,
    ["waiting" in of ? of.waiting : of.lock],
  );
  return rows;
}

async function nameOf(client: pg.Client, row: WaitingRow): Promise<string> {
  switch (row.locktype) {
    case "advisory":
      return nameOfAdvisory(client, row);
    case "transactionid":
    case "spectoken":
      return nameOfRow(row.row_of ?? tableOf(row.statement));
    case "tuple":
      return nameOfRow(row.relation);
    case "virtualxid":
      return "the end of all transactions that may still read what is to be changed";
    default:
      return row.relation === null ? `a lock on an ${row.locktype}` : `relation ${row.relation}`;
  }
}

function nameOfRow(table: string | null): string {
  if (table === "warehouse.loads")
    return "an entry of the ledger that another session is writing (warehouse.loads)";
  return table === null
    ? "a row that another session is writing"
    : `a row of ${table} that another session is writing`;
}

/** The table that a statement of ours writes. */
function tableOf(statement: string | null): string | null {
  const named = /\b(?:insert into|update|delete from|copy)\s+"?(warehouse)"?\."?(\w+)/i.exec(statement ?? "");
  return named === null ? null : `${named[1]}.${named[2]}`;
}
