/**
 * Reads what is watched of a warehouse, through the reports alone, in topics that are read one by one. Each number of
 * series has a bound. What is counted never goes back, whatever is undone or pruned: docs/monitoring.md.
 */
import { sql } from "drizzle-orm";
import type { Session } from "../../db/client.ts";

export type Labels = Readonly<Record<string, string>>;

export interface Sample {
  readonly labels: Labels;
  readonly value: number;
}

/** A metric with its series. */
export type Metric = { readonly name: string; readonly help: string } & (
  | {
      readonly type: "counter" | "gauge";
      readonly labels: readonly string[];
      readonly samples: readonly Sample[];
    }
  | {
      readonly type: "histogram";
      /** How many took up to so many seconds, and longer than the bound before; the last bound is infinite. */
      readonly buckets: readonly { readonly upTo: number; readonly count: number }[];
      readonly sum: number;
    }
);

/** Something that is read in one go. */
export interface Topic {
  readonly name: string;
  readonly read: (session: Session) => Promise<readonly Metric[]>;
}

/** The newest partitions that have begun have series of their own; all count in the sums. */
const OWN_PARTITIONS = 36;
/** Sources, in the order in which the ledger came to know them; all further ones are one. */
const OWN_SOURCES = 50;
/** Reasons of rejects, those with most lines; all further ones are one. */
const OWN_REASONS = 30;

/** What reads no file and comes from no source has this one. */
const NO_SOURCE = "(none)";
const OTHERS = "(others)";

type Row = Readonly<Record<string, string | number | null>>;
type Value = readonly [column: string, name: string, help: string];

const gauge = (
  name: string,
  help: string,
  samples: readonly Sample[],
  labels: readonly string[] = [],
): Metric => ({
  type: "gauge",
  name: `rollbook_${name}`,
  help,
  labels,
  // Null and infinite: there is none.
  samples: samples.filter(({ value }) => Number.isFinite(value)),
});

const single = (row: Row | undefined, values: readonly Value[]): readonly Metric[] =>
  values.map(([column, name, help]) => gauge(name, help, [{ labels: {}, value: numberOf(row?.[column]) }]));

function numberOf(value: string | number | null | undefined): number {
  return value === null || value === undefined ? Number.NaN : Number(value);
}

async function query({ db }: Session, text: ReturnType<typeof sql>): Promise<readonly Row[]> {
  return (await db.execute<Record<string, string | number | null>>(text)).rows;
}

const PARTITION_VALUES: readonly Value[] = [
  ["invoices", "partition_invoices", "Invoices that the reports show of the partition."],
  ["pending", "partition_pending_changes", "Changes in the partition that no refresh has taken yet."],
  [
    "refreshed",
    "partition_refreshed_timestamp_seconds",
    "When the rollup of the partition was last refreshed.",
  ],
  [
    "proved",
    "partition_proved_timestamp_seconds",
    "When the last proof of the partition began that found nothing.",
  ],
];

/** Partitions, and what is pending. */
const PARTITIONS: Topic = {
  name: "partitions",
  read: async (session) => {
    const all = await query(
      session,
      sql`
      select p.partition, p.state, p.rollup_invoices + p.pending_invoices as invoices, p.pending_changes as pending,
             extract(epoch from p.refreshed_at) as refreshed, extract(epoch from p.proved_at) as proved,
             (p.lower <= (now() at time zone s.time_zone)::date)::integer as begun,
             -- A load may have become known a moment before the refresh that did not see it.
             case when p.pending_changes > 0 then extract(epoch from coalesce((
               select min(l.known_at) from reports.load_history l
               where l.known_at > coalesce(p.refreshed_at, '-infinity') and p.partition = any (l.partitions)
             ), p.refreshed_at)) end as waiting
      from reports.partition_freshness p
      cross join reports.warehouse_settings s
      order by p.lower desc`,
    );
    const live = all.filter(({ state }) => state !== "detached");
    const own = live.filter(({ begun }) => begun === 1).slice(0, OWN_PARTITIONS);
    const sum = (column: string) => live.reduce((total, row) => total + numberOf(row[column]), 0);
    const states = ["open", "stale", "detached", "dropped"];
    const waiting = live.map((row) => numberOf(row.waiting)).filter(Number.isFinite);
    return [
      gauge(
        "partitions",
        "Partitions by state.",
        states.map((state) => ({
          labels: { state },
          value: all.filter((row) => row.state === state).length,
        })),
        ["state"],
      ),
      gauge("invoices", "Invoices that the reports show.", [{ labels: {}, value: sum("invoices") }]),
      gauge("pending_changes", "Changes that no refresh has taken yet.", [
        { labels: {}, value: sum("pending") },
      ]),
      gauge(
        "pending_oldest_timestamp_seconds",
        "When the oldest of these became known; there is none where nothing is pending.",
        waiting.length === 0 ? [] : [{ labels: {}, value: Math.min(...waiting) }],
      ),
      ...PARTITION_VALUES.map(([column, name, help]) =>
        gauge(
          name,
          `${help} The ${OWN_PARTITIONS} newest that have begun.`,
          own.map((row) => ({ labels: { partition: `${row.partition}` }, value: numberOf(row[column]) })),
          ["partition"],
        ),
      ),
    ];
  },
};

const PROOF_VALUES: readonly Value[] = [
  ["parts", "proof_parts", "Parts of the warehouse that are proved by themselves."],
  ["never", "proof_never_parts", "Parts that were never proved."],
  ["diverged", "proof_diverged_parts", "Parts that did not verify when they were looked at last."],
  [
    "oldest",
    "proof_oldest_timestamp_seconds",
    "When the oldest of the last proofs began that found nothing, of those parts that were proved.",
  ],
];

/** When what was proved, and the settings. */
const PROOFS: Topic = {
  name: "proofs",
  read: async (session) => {
    const [settings] = await query(session, sql`select * from reports.warehouse_settings`);
    const rows = await query(
      session,
      sql`
      select subject, count(*) as parts, count(*) filter (where proved_at is null) as never,
             count(diverged_at) as diverged, extract(epoch from min(proved_at)) as oldest
      from reports.proofs
      group by subject`,
    );
    const names = ["time_zone", "granularity", "day_starts"];
    const info = Object.fromEntries(names.map((name) => [name, `${settings?.[name]}`]));
    return [
      gauge("warehouse_info", "Settings of the warehouse, as labels.", [{ labels: info, value: 1 }], names),
      ...PROOF_VALUES.map(([column, name, help]) =>
        gauge(
          name,
          help,
          rows.map((row) => ({ labels: { subject: `${row.subject}` }, value: numberOf(row[column]) })),
          ["subject"],
        ),
      ),
    ];
  },
};

const LOAD_BOUNDS = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, Number.POSITIVE_INFINITY];
const ROW_OUTCOMES = [
  "inserted",
  "corrected",
  "unchanged",
  "superseded",
  "rejected",
  "summed",
  "voided",
  "skipped",
] as const;

const columnsOf = (expression: (name: string) => string) =>
  sql.raw(ROW_OUTCOMES.map((name) => `${expression(name)} as ${name}`).join(", "));

/**
 * Entries by source and by what they were, those of loads also by how long they took. Anybody with a loader's login may
 * have entered any figures and times: none of them counts as less than nothing.
 */
const ENTRIES = sql`
      with grouped as materialized (
        -- A bound is in its bucket: times are in whole microseconds.
        select source, entered_as,
               case when entered_as = 'loaded' then
                 width_bucket(coalesce(micros, 0) - 0.5::float8, ${sql.param(LOAD_BOUNDS.slice(0, -1).map((seconds) => seconds * 1e6))}::float8[])
               end as bucket,
               min(load_id) as first, count(*) as entries, count(*) filter (where status = 'undone') as undone,
               sum(micros) as micros, ${columnsOf((name) => `sum(greatest(${name}, 0))`)}
        from (
          select coalesce(source, ${NO_SOURCE}) as source, entered_as, status, load_id, ${columnsOf((name) => name)},
                 case when isfinite(started_at) and isfinite(finished_at)
                   then greatest(extract(epoch from finished_at - started_at) * 1000000, 0)::bigint end as micros
          from reports.load_history
          where finished_at is not null
        ) e
        group by 1, 2, 3
      ),
      named as (
        select source, row_number() over (order by min(first)) as place from grouped group by source
      )
      select case when n.place <= ${OWN_SOURCES} then g.source else ${OTHERS} end as source, g.entered_as, g.bucket,
             sum(g.entries) as entries, sum(g.undone) as undone, sum(g.micros) as micros,
             ${columnsOf((name) => `sum(g.${name})`)}
      from grouped g
      join named n on n.source = g.source
      group by 1, 2, 3`;

/** What the ledger says of loads. Entries are never deleted. */
const LEDGER: Topic = {
  name: "ledger",
  read: async (session) => {
    const rows = await query(session, ENTRIES);
    const [last] = await query(
      session,
      sql`
      select extract(epoch from (
               select known_at from reports.load_history where known_at is not null and status = 'loaded'
               order by known_at desc limit 1
             )) as loaded,
             extract(epoch from case when isfinite(s.statements_kept_since) then s.statements_kept_since end) as kept
      from reports.warehouse_settings s`,
    );
    const loaded = rows.filter((row) => row.entered_as === "loaded");
    const took = (bucket: number) =>
      loaded
        .filter((row) => numberOf(row.bucket) === bucket)
        .reduce((sum, row) => sum + numberOf(row.entries), 0);
    const read = rows.filter((row) => row.entered_as === "loaded" || row.entered_as === "retry");
    return [
      {
        type: "counter",
        name: "rollbook_loads_total",
        help: "Entries of the ledger, by what they were when they were entered: undoing a load does not take it away.",
        labels: ["outcome", "source"],
        samples: addUp([...namesOf(rows), ...rows], "entries", (row) => ({
          outcome: `${row.entered_as}`,
          source: `${row.source}`,
        })),
      },
      {
        type: "counter",
        name: "rollbook_rows_total",
        help: "Lines of loaded files, by what became of them when they were loaded; skipped ones are left out by their source.",
        labels: ["outcome", "source"],
        samples: ROW_OUTCOMES.flatMap((outcome) =>
          addUp(read, outcome, (row) => ({ outcome, source: `${row.source}` })),
        ),
      },
      gauge("undone_loads", "Loads that are undone.", [
        { labels: {}, value: loaded.reduce((sum, row) => sum + numberOf(row.undone), 0) },
      ]),
      {
        type: "histogram",
        name: "rollbook_load_duration_seconds",
        help: "From the start of a load to its end, of files that were loaded.",
        buckets: LOAD_BOUNDS.map((upTo, bucket) => ({ upTo, count: took(bucket) })),
        sum: addMicros(loaded.map((row) => row.micros)),
      },
      ...single(last, [
        ["loaded", "last_load_timestamp_seconds", "When the last file was loaded that still counts."],
        [
          "kept",
          "statements_kept_since_timestamp_seconds",
          "Loads of before can no longer be undone; there is none where nothing was pruned.",
        ],
      ]),
    ];
  },
};

/** How a file may end, for each source with 0: of what begins with 1 Prometheus does not see that it has grown. */
function namesOf(rows: readonly Row[]): readonly Row[] {
  const sources = new Set<string | number | null>([
    NO_SOURCE,
    ...rows.map(({ source = NO_SOURCE }) => source),
  ]);
  return [...sources].flatMap((source) =>
    ["loaded", "rejected", "failed"].map((outcome) => ({ source, entered_as: outcome, entries: 0 })),
  );
}

/** In whole microseconds: fractions, added up in another order, might add up to less than before. */
function addMicros(micros: readonly (Row[string] | undefined)[]): number {
  return micros.reduce<number>((sum, some) => sum + Number(some ?? 0), 0) / 1e6;
}

/** How long refreshes took. */
const REFRESHES: Topic = {
  name: "refreshes",
  read: async (session) => {
    const times = await query(session, sql`select * from reports.refresh_times order by up_to_seconds`);
    return [
      {
        type: "histogram",
        name: "rollbook_refresh_duration_seconds",
        help: "What the refresh of a partition took, without what it waited for.",
        buckets: times.map((row) => ({
          upTo: numberOf(row.up_to_seconds),
          count: numberOf(row.refreshes),
        })),
        sum: addMicros(times.map((row) => Math.round(numberOf(row.seconds ?? null) * 1e6))),
      },
    ];
  },
};

function addUp(rows: readonly Row[], column: string, labelsOf: (row: Row) => Labels): readonly Sample[] {
  const sums = new Map<string, Sample>();
  for (const row of rows) {
    const labels = labelsOf(row);
    const key = JSON.stringify(labels);
    sums.set(key, { labels, value: (sums.get(key)?.value ?? 0) + numberOf(row[column]) });
  }
  return [...sums.values()];
}

/** Rejected lines that nobody has decided on. */
const REJECTS: Topic = {
  name: "rejects",
  read: async (session) => {
    const rows = await query(
      session,
      sql`
      select case when place <= ${OWN_REASONS} then reason else ${OTHERS} end as reason, sum(lines) as lines,
             sum(total) as total
      from (
        select reason, sum(lines) as lines, sum(total) as total, row_number() over (order by sum(lines) desc, reason) as place
        from reports.open_rejects
        group by reason
      ) r
      group by 1`,
    );
    const files = await query(
      session,
      sql`select count(distinct load_id) as files, extract(epoch from min(rejected_at)) as oldest from reports.open_rejects`,
    );
    const byReason = (column: string) =>
      rows.map((row) => ({ labels: { reason: `${row.reason}` }, value: numberOf(row[column]) }));
    return [
      gauge("open_reject_lines", "Rejected lines that nobody has decided on.", byReason("lines"), ["reason"]),
      gauge(
        "open_reject_euros",
        "Sum of their totals, as far as these can be read. A number of the exposition is not exact to the cent.",
        byReason("total"),
        ["reason"],
      ),
      ...single(files[0], [
        ["files", "open_reject_files", "Loaded files with such lines."],
        ["oldest", "open_reject_oldest_timestamp_seconds", "When the oldest of these files was loaded."],
      ]),
    ];
  },
};

/** What did not come. */
const SILENCE: Topic = {
  name: "silence",
  read: async (session) => {
    const [venues] = await query(
      session,
      sql`select count(*) as venues, count(*) filter (where silent) as silent from reports.venue_activity`,
    );
    const missing = await query(
      session,
      sql`
      select coalesce(source, ${NO_SOURCE}) as source, count(*) as dates
      from reports.missing_sync_dates
      group by 1
      order by 2 desc, 1
      limit ${OWN_SOURCES}`,
    );
    return [
      ...single(venues, [
        ["venues", "venues", "Venues that have invoices."],
        ["silent", "silent_venues", "Venues that are silent for longer than their own rhythm explains."],
      ]),
      gauge(
        "missing_sync_dates",
        `Sync dates of the last 90 days of which a daily source has no loaded file. The ${OWN_SOURCES} sources with most.`,
        missing.map((row) => ({ labels: { source: `${row.source}` }, value: numberOf(row.dates) })),
        ["source"],
      ),
    ];
  },
};

/** What was closed, and what has changed since. */
const CLOSINGS: Topic = {
  name: "closings",
  read: async (session) => {
    const [row] = await query(
      session,
      sql`
      select (select count(*) from reports.closings where replaced_by is null) as closings,
             (select extract(epoch from max(closed_at)) from reports.closings) as closed,
             count(distinct closing) as restated, count(*) as groups, coalesce(sum(abs(total)), 0) as euros
      from reports.restatements`,
    );
    return single(row, [
      ["closings", "closings", "Closings that count."],
      ["closed", "last_closing_timestamp_seconds", "When the last period was closed."],
      ["restated", "restated_closings", "Closings of which some group has changed since."],
      ["groups", "restated_groups", "Groups of closed periods that are not what they were."],
      ["euros", "restated_euros", "By how much their totals differ, each counted as positive."],
    ]);
  },
};

/** What is read, the most urgent first. */
export const TOPICS: readonly Topic[] = [PARTITIONS, PROOFS, LEDGER, REFRESHES, REJECTS, CLOSINGS, SILENCE];
