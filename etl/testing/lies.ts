/**
 * What somebody may try who has got hold of a loader's login: SQL by hand. Each lie must be refused, change nothing,
 * or be named by verify, so that the owner can take it back.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Database } from "../../db/client.ts";
import { errorState } from "../../db/errors.ts";
import { LOCK } from "../../db/locks.ts";
import type { Settings } from "../../db/schema.ts";
import { refreshPartitions } from "../refresh/refresh.ts";
import type { Divergence } from "../verify/divergence.ts";
import { verifyWarehouse } from "../verify/verify.ts";

/**
 * What no query can tell from the truth, so it is in no history. docs/security.md says how it is found.
 * - an invoice that is forged together with its delta
 * - an entry for a drop that was not loaded, whose lines all came too late, or that has none
 * - lines that a retry claims to have read
 * - the instant of an invoice, moved within its date
 * - an invoice moved to another load of the same sync date that has said something of its group, too
 * - an absence in the name of a load, about a group in which nothing stands that it would take out
 * - deltas of two loads that cancel out
 */
export const NOT_PROVABLE = [
  "invoice with its delta",
  "entry for a drop that was not loaded",
  "retry that was not made",
  "instant within its date",
  "another load of the same sync date",
  "absence in the name of a load",
  "deltas that cancel out",
] as const;

export interface Lie {
  /** The rows that it may be about, as the owner reads them. */
  readonly about: string;
  /** What the loader runs, on the chosen row ({@link IT}). A row that comes back is added to it. */
  readonly tell: readonly string[];
  readonly must:
    | { readonly be: "refused"; readonly state: string }
    | { readonly be: "nothing" }
    | {
        readonly be: "named";
        /** What verify names, as {@link It} says it. */
        readonly as: (it: It) => readonly string[];
        /** What it may name beside that; `groups`: those of its invoices. */
        readonly andMay?: ((it: It) => readonly string[]) | "groups";
        /** What the owner runs to take it back; or what mends it. */
        readonly takeBack: readonly string[] | "refresh" | "repair";
      };
}

/** The row that a lie is about. */
export interface It {
  readonly created_on: string;
  readonly venue_id: string;
  readonly load_id: number;
  readonly forged: number;
  readonly partition: string;
  readonly state: string;
  readonly loads: readonly number[];
}

/** The row for a statement, from its parameter. */
const IT = `jsonb_to_record($1::jsonb) as it (
  created_on date, venue_key integer, venue_id text, invoice_id uuid, load_id integer, synced_on date, total numeric,
  created_at timestamptz, other integer, other_synced_on date, forged integer, partition text, state text,
  sha256 text, reason text, loads jsonb)`;

const NO_LOAD = 2_147_483_647;
const FORGED_ID = "00000000-0000-4000-8000-00000000feed";

const ONCE = "select 1 as once";
const INVOICE = `
  select i.created_on, i.venue_key, v.venue_id, i.invoice_id, i.load_id, i.synced_on, i.total, i.created_at
  from warehouse.invoices i
  join warehouse.venues v using (venue_key)
  order by 1, 3, 4`;
const GROUP = `
  select r.created_on, r.venue_key, v.venue_id, p.partition, p.state
  from warehouse.venue_day_rollup r
  join warehouse.venues v using (venue_key)
  join warehouse.partitions p on r.created_on >= p.lower and r.created_on < p.upper and p.state <> 'detached'
  order by 1, 3`;
const QUEUED = `
  select d.created_on, d.venue_key, v.venue_id, p.partition, p.state
  from warehouse.venue_day_pending d
  join warehouse.venues v using (venue_key)
  join warehouse.partitions p on d.created_on >= p.lower and d.created_on < p.upper and p.state <> 'detached'
  group by 1, 2, 3, 4, 5
  having sum(d.invoices) <> 0 or sum(d.total) <> 0
  order by 1, 3`;
const PARTITION =
  "select partition, state from warehouse.partitions where state <> 'detached' order by lower";
const LOAD = `
  select l.load_id, l.synced_on, o.load_id as other, o.synced_on as other_synced_on, l.known_at
  from warehouse.loads l
  left join lateral (
    select o.load_id, o.synced_on from warehouse.loads o where o.status = 'loaded' and o.load_id <> l.load_id order by 1 limit 1
  ) o on true
  where l.status = 'loaded' and l.known_at > (select statements_kept_since from warehouse.settings)
  order by l.known_at`;

const SAME_INVOICE =
  "(i.created_on, i.venue_key, i.invoice_id) = (it.created_on, it.venue_key, it.invoice_id)";
const SAME_GROUP = "(g.created_on, g.venue_key) = (it.created_on, it.venue_key)";

const group = ({ created_on, venue_id }: It) => `group ${created_on} ${venue_id}`;
const load = ({ load_id }: It) => `load ${load_id}`;
const control = ({ partition }: It) => `control ${partition}`;

const changed = (what: string): Lie => ({
  about: INVOICE,
  tell: [`update warehouse.invoices i set ${what} from ${IT} where ${SAME_INVOICE}`],
  must: {
    be: "named",
    as: (it) => [group(it)],
    takeBack: [
      `update warehouse.invoices i
       set total = it.total, synced_on = it.synced_on, load_id = it.load_id, created_at = it.created_at
       from ${IT} where ${SAME_INVOICE}`,
    ],
  },
});

const delta = (about: string, values: string, as: (it: It) => readonly string[]): Lie => ({
  about,
  tell: [
    `insert into warehouse.venue_day_deltas (load_id, created_on, venue_key, invoices, total) select ${values} from ${IT}`,
  ],
  must: {
    be: "named",
    as,
    // One of them, where the load has brought the same.
    takeBack: [
      `delete from warehouse.venue_day_deltas g
       where (g.tableoid, g.ctid) = (
         select d.tableoid, d.ctid from warehouse.venue_day_deltas d, ${IT}
         where (d.load_id, d.created_on, d.venue_key, d.invoices, d.total) = (${values})
         order by d.ctid desc limit 1)`,
    ],
  },
});

const rollup = (tell: string): Lie => ({
  about: GROUP,
  tell: [tell],
  must: { be: "named", as: (it) => [group(it)], andMay: (it) => [control(it)], takeBack: "refresh" },
});

const queue = (about: string, tell: string): Lie => ({
  about,
  tell: [tell],
  must: { be: "named", as: (it) => [group(it)], takeBack: "refresh" },
});

/** A row that a load is said to have brought. */
const rowOfLoad = (table: string, columns: string, values: string, more: Partial<Lie> = {}): Lie => ({
  about: LOAD,
  tell: [
    `insert into warehouse.${table} (${columns}) select ${values} from ${IT} returning ${columns.split(",")[0]}`,
  ],
  must: {
    be: "named",
    as: (it) => [load(it)],
    takeBack: [
      `delete from warehouse.${table} g using ${IT} where g.load_id = it.load_id and ${forgedIn(table)}`,
    ],
  },
  ...more,
});

function forgedIn(table: string): string {
  if (table === "rejects") return "g.line = 999999";
  if (table === "corrections") return `g.invoice_id = '${FORGED_ID}'`;
  return `'${FORGED_ID}' = any (g.invoice_ids)`;
}

const DELETE_FORGED = `delete from warehouse.loads l using ${IT} where l.load_id = it.forged`;

const entry = (tell: readonly string[], takeBack: readonly string[] | "repair" = [DELETE_FORGED]): Lie => ({
  about: LOAD,
  tell,
  must: { be: "named", as: ({ forged }) => [`load ${forged}`], takeBack },
});

const enter = (status: string, more = "", values = "") => `
  insert into warehouse.loads (file_name, sha256, bytes, synced_on, status${more})
  select 'forged_2026-04-01.csv', sha256('forged'), 6, it.synced_on, '${status}'${values} from ${IT}
  returning load_id as forged`;
const finish = (set: string) =>
  `update warehouse.loads l set ${set}, finished_at = clock_timestamp() from ${IT} where l.load_id = it.forged`;

const nothing = (about: string, ...tell: readonly string[]): Lie => ({
  about,
  tell,
  must: { be: "nothing" },
});
const refused = (tell: string, state = "42501", about = LOAD, ...more: readonly string[]): Lie => ({
  about,
  tell: [tell, ...more],
  must: { be: "refused", state },
});
/** A lock that other sessions wait for, as long as the transaction is open. */
const locked = (tell: string) => nothing(ONCE, tell);

/** Of an invoice that was moved to an entry which was entered for it. */
const NAMED_OF_FORGED: Lie["must"] = {
  be: "named",
  as: (it) => [group(it)],
  takeBack: [
    `update warehouse.invoices i set load_id = it.load_id, synced_on = it.synced_on from ${IT} where ${SAME_INVOICE}`,
    DELETE_FORGED,
  ],
};

export const LIES = {
  // invoices
  "invoice: total": changed("total = i.total + case when i.total > 0 then -0.01 else 0.01 end"),
  "invoice: sync date": changed("synced_on = 'infinity'"),
  "invoice: earlier sync date": changed("synced_on = i.synced_on - 1"),
  "invoice: no load": changed(`load_id = ${NO_LOAD}`),
  "invoice: instant of another date": changed("created_at = i.created_at + interval '36 hours'"),
  "invoice: number of a failed load": {
    about: INVOICE,
    tell: [
      `insert into warehouse.loads (file_name, synced_on, status, finished_at, error_code)
       values ('forged', '9999-12-31', 'failed', now(), 'forged') returning load_id as forged`,
      `update warehouse.invoices i set load_id = it.forged, synced_on = '9999-12-31' from ${IT} where ${SAME_INVOICE}`,
    ],
    must: NAMED_OF_FORGED,
  },
  "invoice: an entry for no drop": {
    about: INVOICE,
    tell: [
      `insert into warehouse.loads (file_name, sha256, bytes, synced_on, status)
       values ('forged_9999-12-31.csv', sha256('forged'), 6, '9999-12-31', 'loaded') returning load_id as forged`,
      `update warehouse.loads l set read = 9, superseded = 9, finished_at = clock_timestamp() from ${IT} where l.load_id = it.forged`,
      `update warehouse.invoices i set load_id = it.forged, synced_on = '9999-12-31' from ${IT} where ${SAME_INVOICE}`,
    ],
    must: NAMED_OF_FORGED,
  },
  "invoice: another load of its sync date": {
    about: `
      select i.*, o.load_id as other
      from (${INVOICE}) i
      join warehouse.loads o on o.synced_on = i.synced_on and o.load_id <> i.load_id and o.status = 'loaded'
       and o.known_at > (select statements_kept_since from warehouse.settings)
      where not exists (
        select
        from (
          select created_on, venue_key, load_id from warehouse.venue_day_deltas
          union all
          select created_on, venue_key, unnest(array[load_id, old_load_id]) from warehouse.corrections
          union all
          select created_on, venue_key, unnest(array[load_id, stated_by]) from warehouse.statements
        ) t
        left join warehouse.loads l on l.load_id = t.load_id
        where t.created_on = i.created_on and t.venue_key = i.venue_key and o.load_id in (t.load_id, l.retry_of)
      )
      order by i.created_on, i.venue_id, i.invoice_id, o.load_id`,
    tell: [`update warehouse.invoices i set load_id = it.other from ${IT} where ${SAME_INVOICE}`],
    must: {
      be: "named",
      as: (it) => [group(it)],
      takeBack: [`update warehouse.invoices i set load_id = it.load_id from ${IT} where ${SAME_INVOICE}`],
    },
  },
  "invoice: deleted": {
    about: INVOICE,
    tell: [`delete from warehouse.invoices i using ${IT} where ${SAME_INVOICE}`],
    must: {
      be: "named",
      as: (it) => [group(it)],
      takeBack: [
        `insert into warehouse.invoices (created_at, created_on, venue_key, load_id, synced_on, invoice_id, total)
         select created_at, created_on, venue_key, load_id, synced_on, invoice_id, total from ${IT}`,
      ],
    },
  },
  "invoice: added": {
    about: INVOICE,
    tell: [
      `insert into warehouse.invoices (created_at, created_on, venue_key, load_id, synced_on, invoice_id, total)
       select created_at, created_on, venue_key, load_id, synced_on, '${FORGED_ID}', 1 from ${IT}`,
    ],
    must: {
      be: "named",
      as: (it) => [group(it)],
      takeBack: [`delete from warehouse.invoices where invoice_id = '${FORGED_ID}'`],
    },
  },
  // deltas, queue and rollup
  "delta: total": delta(INVOICE, "it.load_id, it.created_on, it.venue_key, 0, 0.01", (it) => [group(it)]),
  "delta: invoices": delta(INVOICE, "it.load_id, it.created_on, it.venue_key, 1, 0.00", (it) => [
    group(it),
    load(it),
  ]),
  "delta: no load": delta(INVOICE, `${NO_LOAD}, it.created_on, it.venue_key, 1, 1.00`, (it) => [
    group(it),
    `load ${NO_LOAD}`,
  ]),
  "queue: added": queue(
    GROUP,
    `insert into warehouse.venue_day_pending (created_on, venue_key, invoices, total)
     select created_on, venue_key, 1, -99.99 from ${IT}`,
  ),
  "queue: deleted": queue(
    QUEUED,
    `delete from warehouse.venue_day_pending g using ${IT} where ${SAME_GROUP}`,
  ),
  "queue: of no partition": {
    about: GROUP,
    tell: [
      `insert into warehouse.venue_day_pending (created_on, venue_key, invoices, total)
       select '5000-01-01', venue_key, 1, 1 from ${IT}`,
    ],
    must: { be: "named", as: ({ venue_id }) => [`orphan 5000-01-01 ${venue_id}`], takeBack: "repair" },
  },
  "rollup: changed": rollup(
    `update warehouse.venue_day_rollup g set invoices = g.invoices + 1 from ${IT} where ${SAME_GROUP}`,
  ),
  "rollup: deleted": rollup(`delete from warehouse.venue_day_rollup g using ${IT} where ${SAME_GROUP}`),
  "rollup: added": rollup(
    `insert into warehouse.venue_day_rollup as g (created_on, venue_key, invoices, total)
     select created_on, venue_key, 1, 1 from ${IT}
     on conflict (created_on, venue_key) do update set invoices = g.invoices + 7`,
  ),
  // catalog
  "catalog: control totals": {
    about: PARTITION,
    tell: [
      `update warehouse.partitions p set rollup_invoices = rollup_invoices + 1, rollup_total = -1 from ${IT} where p.partition = it.partition`,
    ],
    must: { be: "named", as: (it) => [control(it)], takeBack: "refresh" },
  },
  "catalog: absences unseen": {
    about: `
      select p.partition, jsonb_agg(distinct a.load_id) as loads
      from warehouse.partitions p
      join warehouse.absences a on a.created_on >= p.lower and a.created_on < p.upper
      group by p.partition order by 1`,
    tell: [
      `update warehouse.partitions p set absent_until = null from ${IT} where p.partition = it.partition`,
    ],
    must: { be: "named", as: ({ loads }) => loads.map((id) => `load ${id}`), takeBack: "repair" },
  },
  "catalog: marks": nothing(
    PARTITION,
    `update warehouse.partitions p
     set state = case p.state when 'open' then 'stale' else p.state end, announced = p.announced, refreshed_at = 'infinity',
         absent_until = 'infinity', refresh_counts = array_fill(1e15::bigint, array[15]),
         refresh_micros = array_fill(1e15::bigint, array[15])
     from ${IT} where p.partition = it.partition`,
  ),
  "catalog: times that nobody can count on": refused(
    `update warehouse.partitions p set refresh_micros = array_fill(-1::bigint, array[15]) from ${IT}
     where p.partition = it.partition`,
    "23514",
    PARTITION,
  ),
  "catalog: times in another form": refused(
    `update warehouse.partitions p set refresh_counts = array_fill(0::bigint, array[3, 5]) from ${IT}
     where p.partition = it.partition`,
    "23514",
    PARTITION,
  ),
  "catalog: announcement": refused(
    `update warehouse.partitions p set announced = false from ${IT} where p.partition = it.partition and p.announced`,
    "42501",
    "select partition from warehouse.partitions where state <> 'detached' and announced order by lower",
  ),
  "catalog: odd partitions": nothing(
    ONCE,
    "select warehouse.open_partitions(array['9998-12-31', '2027-02-28', null]::date[])",
  ),
  "catalog: partitions before the earliest": refused(
    "select warehouse.open_partitions(array['2026-03-01', '0044-03-15 BC']::date[])",
    "22023",
    ONCE,
  ),
  "catalog: state of the owner's": refused(
    `update warehouse.partitions p set state = 'detached' from ${IT} where p.partition = it.partition`,
    "42501",
    PARTITION,
  ),
  // ledger
  "ledger: drop to come": {
    about: `
      select d.sha256, d.synced_on
      from jsonb_to_recordset($1::jsonb) as d (sha256 text, synced_on date)
      where not exists (
        select from warehouse.loads l
        where l.status = 'loaded' and l.synced_on = d.synced_on and encode(l.sha256, 'hex') = d.sha256)`,
    tell: [
      `insert into warehouse.loads (file_name, sha256, bytes, synced_on, status)
       select 'forged_2026-04-01.csv', decode(it.sha256, 'hex'), 1, it.synced_on, 'loaded' from ${IT}
       returning load_id as forged`,
    ],
    must: { be: "named", as: ({ forged }) => [`load ${forged}`], takeBack: "repair" },
  },
  "ledger: loaded": entry([enter("loaded"), finish("read = 3, inserted = 3")]),
  "ledger: lines that do not add up": entry([enter("loaded"), finish("read = 7")]),
  "ledger: a retry": entry([
    enter("retry", ", retry_of", ", it.load_id"),
    finish("read = 2, corrected = 1, unchanged = 1"),
  ]),
  "ledger: a retry for ever": entry([enter("retry", ", retry_of", ", it.load_id")], "repair"),
  "ledger: failed with quarantine": entry([enter("failed"), finish("rejected = 2")]),
  "ledger: absent and void": entry([enter("loaded"), finish("read = 1, voided = 1, absent = 2")]),
  "ledger: summed": entry([enter("loaded"), finish("summed = 1")]),
  "ledger: what is shown of it": nothing(
    LOAD,
    enter("failed", ", source, source_sha256, error_message", ", 'no such', 'x', 'x'"),
    finish(
      `reasons = '[{"reason": "x", "count": 3, "line": 1, "total": "1.00", "totals": 1}]', suspicious = array['x', null],
       timings = '{"x": 1}', partitions = array['no such', null], skipped = -1, error_code = 'x', error_message = null`,
    ),
  ),
  "ledger: reasons that nobody can read": refused(
    enter("loaded"),
    "23514",
    LOAD,
    finish(`rejected = 1, reasons = '[{"count": "x"}]'`),
  ),
  "ledger: reasons that are no list": refused(
    enter("loaded"),
    "23514",
    LOAD,
    finish("rejected = 1, reasons = '7'"),
  ),
  "ledger: failed at odd times": nothing(
    ONCE,
    `insert into warehouse.loads (file_name, status, synced_on, bytes, started_at, finished_at, error_code)
     values ('', 'failed', 'infinity', -1, '-infinity', 'infinity', null), ('x', 'rejected', '9999-12-31', 1, '294276-12-31', '4000-01-01 BC', 'y')`,
  ),
  "ledger: finished entries": nothing(
    LOAD,
    "update warehouse.loads set inserted = 0, status = 'failed', finished_at = null where finished_at is not null",
  ),
  "ledger: repair": refused(enter("repair")),
  "ledger: undone": refused(enter("undone")),
  "ledger: finished at once": refused(enter("loaded", ", finished_at", ", now()")),
  "ledger: known": refused(enter("loaded", ", known_at", ", 'infinity'")),
  "ledger: numbered": refused(enter("loaded", ", load_id", `, ${NO_LOAD}`)),
  "ledger: undo": refused(enter("undo", ", undo_of, because, decided_by", ", it.load_id, 'x', session_user")),
  "ledger: lost": refused(enter("failed", ", error_code", ", 'loaded_again'")),
  "ledger: deleted": refused("delete from warehouse.loads"),
  // what loads said
  "rejects: added": rowOfLoad(
    "rejects",
    "load_id, line, reason, raw",
    "it.load_id, 999999, 'bad_total', 'x'",
  ),
  "rejects: no load": rowOfLoad(
    "rejects",
    "load_id, line, reason, raw",
    `${NO_LOAD}, 999999, 'bad_total', 'x'`,
  ),
  "correction: added": rowOfLoad(
    "corrections",
    "load_id, created_on, venue_key, invoice_id, old_created_at, old_total, old_load_id, old_synced_on",
    `it.load_id, '2026-03-27', 1, '${FORGED_ID}', now(), 1, it.load_id, it.synced_on`,
  ),
  "statement: added": rowOfLoad(
    "statements",
    "load_id, stated_by, synced_on, created_on, venue_key, invoice_ids, created_at, total",
    `it.load_id, it.other, it.other_synced_on, '2026-03-27', 1, array['${FORGED_ID}'::uuid], array[now()], array[1.00]`,
    { about: `select * from (${LOAD}) l where other is not null` },
  ),
  "absence: void": rowOfLoad(
    "absences",
    "load_id, stated_by, synced_on, created_on, venue_key, invoice_ids",
    `it.load_id, it.load_id, it.synced_on, '2026-03-27', 1, array_fill('${FORGED_ID}'::uuid, array[1000])`,
  ),
  "absence: of all, for ever": {
    about: INVOICE,
    tell: [
      `insert into warehouse.absences (load_id, stated_by, synced_on, created_on, venue_key)
       select load_id, load_id, 'infinity', created_on, venue_key from ${IT}`,
    ],
    must: {
      be: "named",
      as: (it) => [load(it)],
      andMay: (it) => [group(it)],
      takeBack: ["delete from warehouse.absences where synced_on = 'infinity'"],
    },
  },
  "absence: of all, of another date": {
    about: `
      select i.*
      from (${INVOICE}) i
      join warehouse.partitions p on i.created_on >= p.lower and i.created_on < p.upper and p.absent_until > '2000-01-01'`,
    tell: [
      `insert into warehouse.absences (load_id, stated_by, synced_on, created_on, venue_key)
       select load_id, load_id, '2000-01-01', created_on, venue_key from ${IT}`,
    ],
    must: {
      be: "named",
      as: (it) => [load(it)],
      takeBack: ["delete from warehouse.absences where synced_on = '2000-01-01'"],
    },
  },
  "dismissal: open": nothing(
    "select load_id, reason from reports.open_rejects order by 1, 2",
    `insert into warehouse.dismissals (load_id, reason, because) select load_id, reason, 'forged' from ${IT}`,
  ),
  "dismissal: to come": refused(
    `insert into warehouse.dismissals (load_id, reason, because) select it.load_id + 1000, 'bad_total', 'x' from ${IT}`,
  ),
  "dismissal: by another": refused(
    `insert into warehouse.dismissals (load_id, reason, because, dismissed_by) select it.load_id, 'bad_total', 'x', 'y' from ${IT}`,
  ),
  "venue: added": nothing(
    ONCE,
    "insert into warehouse.venues (venue_id) values (''), (repeat('x', 900)) on conflict do nothing",
  ),
  "statements: forgotten": nothing(ONCE, "select warehouse.prune_statements()"),
  "queue: its floor raised": nothing(ONCE, "select warehouse.raise_pending_floor()"),
  "checkpoint: made": nothing(ONCE, "select warehouse.make_checkpoint()"),
  "proof: forged": nothing(
    PARTITION,
    `select warehouse.record_proof('partition', p.partition_id, 'infinity', null, 0, false)
     from warehouse.partitions p, ${IT} where p.partition = it.partition`,
    "select warehouse.record_proof('ledger', 0, '2000-01-01', null, 0, true)",
  ),
  "proof: up to no load": refused(
    `select warehouse.record_proof('ledger', 0, now(), ${NO_LOAD}, 0, false)`,
    "22023",
    ONCE,
  ),
  "proof: of no part": refused(
    "select warehouse.record_proof('all', 0, now(), null, 0, false)",
    "23514",
    ONCE,
  ),
  "partitions: announced": nothing(ONCE, "select warehouse.announce_partitions()"),
  // what is kept
  "kept: deltas": refused("delete from warehouse.venue_day_deltas"),
  "kept: corrections": refused("update warehouse.corrections set old_total = 0"),
  "kept: statements": refused("delete from warehouse.statements"),
  "kept: absences": refused("delete from warehouse.absences"),
  "kept: quarantine": refused("delete from warehouse.rejects"),
  "kept: closings": refused("delete from warehouse.closings"),
  "kept: proofs": refused("update warehouse.proofs set proved_at = now()"),
  "kept: settings": refused("update warehouse.settings set earliest = 'infinity'"),
  "kept: all": refused("drop schema warehouse cascade"),
  // locks
  "staging: emptied": nothing(
    ONCE,
    "insert into warehouse.staging_1 (venue_id, invoice_id, datetime_created, total) values ('forged', gen_random_uuid(), now(), 1)",
    "truncate warehouse.staging_1",
  ),
  "reports: as known at odd times": nothing(
    ONCE,
    "select count(*) from reports.venue_daily_totals_as_known_on('infinity'::timestamptz)",
    "select count(*) from reports.venue_daily_totals_as_known_on(date '4000-01-01')",
  ),
  "lock: invoices": locked("lock table warehouse.invoices in access exclusive mode"),
  "lock: queue": locked("lock table warehouse.venue_day_pending in access exclusive mode"),
  "lock: staging": locked("truncate warehouse.staging_1, warehouse.staging_2, warehouse.staging_3"),
  "lock: end of a load": locked(`select pg_advisory_xact_lock(${LOCK.knownAt}, 0)`),
  "lock: partitions": locked(`select pg_advisory_xact_lock(${LOCK.ensurePartitions}, 0)`),
  "lock: undo": locked(`select pg_advisory_xact_lock(${LOCK.statements}, 0)`),
  "lock: verify": locked(
    `select pg_advisory_xact_lock(${LOCK.verifyPartition}, partition_id),
            pg_advisory_xact_lock(${LOCK.refreshPartition}, partition_id)
     from warehouse.partitions order by partition_id limit 2`,
  ),
} as const satisfies Readonly<Record<string, Lie>>;

export type LieName = keyof typeof LIES;

/** What somebody with a steward's login may try beside that. */
export const STEWARD_LIES = {
  "ledger: undo": {
    about: LOAD,
    tell: [
      enter("undo", ", undo_of, because, decided_by", ", it.load_id, 'x', session_user"),
      finish("removed = 0"),
    ],
    must: { be: "named", as: ({ forged }) => [`load ${forged}`], takeBack: [DELETE_FORGED] },
  },
  "ledger: undo for ever": entry(
    [enter("undo", ", undo_of, because, decided_by", ", it.load_id, 'x', session_user")],
    "repair",
  ),
  "ledger: undo by another": refused(
    enter("undo", ", undo_of, because, decided_by", ", it.load_id, 'x', 'somebody else'"),
  ),
  "ledger: undone by nobody": {
    about: LOAD,
    tell: [`update warehouse.loads l set status = 'undone' from ${IT} where l.load_id = it.load_id`],
    must: {
      be: "named",
      as: (it) => [load(it)],
      andMay: "groups",
      takeBack: [`update warehouse.loads l set status = 'loaded' from ${IT} where l.load_id = it.load_id`],
    },
  },
  "ledger: an undo taken back by nobody": {
    about: `
      select u.load_id as forged, u.undo_of as load_id
      from warehouse.loads u
      join warehouse.loads l on l.load_id = u.undo_of and l.status = 'undone' and l.undo_of is null
      where u.status = 'undo' order by 1`,
    tell: [`update warehouse.loads l set status = 'loaded' from ${IT} where l.load_id = it.load_id`],
    must: {
      be: "named",
      as: ({ forged }) => [`load ${forged}`],
      takeBack: [`update warehouse.loads l set status = 'undone' from ${IT} where l.load_id = it.load_id`],
    },
  },
  "ledger: finished figures": refused(
    `update warehouse.loads l set removed = 7 from ${IT} where l.load_id = it.load_id`,
  ),
  "ledger: repair": refused(enter("repair")),
  "closing: forged": {
    about: "select max(closing_id) + 1 as forged from warehouse.closings",
    tell: [
      `insert into warehouse.closings
         (closing_id, period, first_date, date_after, known_at, groups, invoices, total, sha256, previous_sha256)
       select it.forged, c.period, first_date, date_after, c.known_at, groups, invoices + 1, c.total, sha256('forged'), c.sha256
       from warehouse.closings c, ${IT} where closing_id = it.forged - 1`,
    ],
    must: {
      be: "named",
      as: ({ forged }) => [`closing ${forged}`],
      takeBack: [`delete from warehouse.closings c using ${IT} where c.closing_id = it.forged`],
    },
  },
  "closing: deleted": refused("delete from warehouse.closings", "42501", ONCE),
  "closing: in another name": refused(
    "insert into warehouse.closings select * from warehouse.closings limit 1",
    "42501",
    ONCE,
  ),
} as const satisfies Readonly<Record<string, Lie>>;

/** The rows that a lie may be about; `drops`: the hashes and sync dates of drops that may still come. */
export async function chooseFor(
  lie: Lie,
  query: <Row extends object>(text: string, values: readonly unknown[]) => Promise<readonly Row[]>,
  drops: readonly { readonly sha256: string; readonly synced_on: string }[],
): Promise<readonly It[]> {
  const values = lie.about.includes("$1") ? [JSON.stringify(drops)] : [];
  const rows = await query<{ it: It }>(`select to_jsonb(a) as it from (${lie.about}) a`, values);
  return rows.map(({ it }) => it);
}

export type Told =
  /** `rows`: how many the last statement read or wrote. 0 where what it is about went meanwhile. */
  | { readonly kind: "told"; readonly it: It; readonly rows: number }
  | { readonly kind: "refused"; readonly state: string | undefined; readonly message: string };

/** It gives up before it is one of a deadlock, so nobody else is ended because of it. */
const LOCK_TIMEOUT_MS = 50;

/**
 * Tells a lie in a transaction of whoever `database` belongs to.
 *
 * @param rollBackAfterMs holds it open for so long, and rolls it back; left out: for good
 */
export async function tellLie(options: {
  readonly database: Database;
  readonly lie: Lie;
  readonly about: It;
  readonly rollBackAfterMs?: number;
}): Promise<Told> {
  const { database, lie, about, rollBackAfterMs } = options;
  const client = await database.pool.connect();
  const ignore = () => {};
  client.on("error", ignore);
  let broken = true;
  try {
    await client.query("begin");
    await client.query(`set local lock_timeout = ${LOCK_TIMEOUT_MS}`);
    let it = about;
    let count = 0;
    for (const statement of lie.tell) {
      const { rows, rowCount } = await client.query(
        statement,
        statement.includes("$1") ? [JSON.stringify(it)] : [],
      );
      it = { ...it, ...rows[0] };
      count = rowCount ?? 0;
    }
    if (rollBackAfterMs !== undefined) await sleep(rollBackAfterMs);
    await client.query(rollBackAfterMs === undefined ? "commit" : "rollback");
    broken = false;
    return { kind: "told", it, rows: count };
  } catch (error) {
    return { kind: "refused", state: errorState(error), message: String(error) };
  } finally {
    client.off("error", ignore);
    client.release(broken);
  }
}

/**
 * What verify named, of what a lie may have it name. That the deltas of a closed period changed is another thing, unless
 * the lie is about it.
 */
export function namedBy(found: readonly Divergence[], { must }: Lie, it: It): readonly string[] {
  if (must.be !== "named") return found.flatMap(nameOf);
  const as = must.as(it);
  const may = must.andMay === "groups" ? [] : (must.andMay?.(it) ?? []);
  const named = found.flatMap(nameOf).filter((name) => {
    if (as.includes(name)) return true;
    if (name.startsWith("closing ") || may.includes(name)) return false;
    return !(must.andMay === "groups" && name.startsWith("group "));
  });
  return [...new Set(named)];
}

function nameOf(found: Divergence): readonly string[] {
  switch (found.kind) {
    case "group":
    case "orphan":
      return [`${found.kind} ${found.createdOn} ${found.venueId}`];
    case "control":
    case "table":
      return [`${found.kind} ${found.partition}`];
    case "load":
      return [`load ${found.loadId}`];
    case "closing":
      return [`closing ${found.closing}`];
    // A delta that is forged before a checkpoint differs from it, too.
    case "checkpoint":
    case "identity":
      return [];
  }
}

/** Takes a lie back, as the owner does who has read what verify named. */
export async function takeBack(
  { database, settings }: { readonly database: Database; readonly settings: Settings },
  { must }: Lie,
  it: It,
): Promise<void> {
  if (must.be !== "named") return;
  const how = must.takeBack;
  if (how === "repair" || (how === "refresh" && it.state === "dropped")) {
    // Only an open partition becomes stale; what stands for a dropped one's invoices is repaired on request.
    await verifyWarehouse({ database, settings, repair: true });
  } else if (how === "refresh") {
    await refreshPartitions({ database });
  } else {
    for (const statement of how) {
      await database.pool.query(statement, statement.includes("$1") ? [JSON.stringify(it)] : []);
    }
  }
}
