/**
 * Names and row types of the warehouse. The migrations are the truth about its DDL (partitioning, checks,
 * comments, functions are beyond drizzle); a test compares the two, column by column.
 *
 * Dates and instants are strings as PostgreSQL prints them (`YYYY-MM-DD`; ISO with offset), money is a string
 * with two decimals, counts are numbers (they stay below 2^53).
 */
import { sql } from "drizzle-orm";
import {
  bigint,
  boolean,
  customType,
  date,
  doublePrecision,
  integer,
  jsonb,
  numeric,
  pgSchema,
  primaryKey,
  text,
  timestamp,
  uuid,
} from "drizzle-orm/pg-core";
import type { ReasonSummary, Suspicion } from "./reason_summary.ts";

export const GRANULARITIES = ["day", "week", "month", "quarter", "year"] as const;
/** The range of creation dates that one partition holds. */
export type Granularity = (typeof GRANULARITIES)[number];

export const LOAD_STATUSES = ["loaded", "rejected", "failed", "repair", "retry", "undo", "undone"] as const;
/**
 * What became of a load; `repair` is the ledger entry of an adjustment by `verify --repair`, `retry` that of rejected lines
 * which were read again, `undo` that of taking an entry back, which is `undone` from then on.
 */
export type LoadStatus = (typeof LOAD_STATUSES)[number];

export const PARTITION_STATES = ["open", "stale", "detached", "dropped"] as const;
/** `stale`: to be rebuilt; `detached`: out of the live tables; `dropped`: invoices gone, rollup kept. */
export type PartitionState = (typeof PARTITION_STATES)[number];

/** Number of staging tables, and so of loads that can be open at once. */
export const STAGING_SLOTS = 16;

const bytea = customType<{ data: Buffer }>({ dataType: () => "bytea" });
const count = (name: string) => bigint(name, { mode: "number" }).notNull();
const instant = (name: string) => timestamp(name, { withTimezone: true, mode: "string" });
const day = (name: string) => date(name, { mode: "string" });
const lsn = customType<{ data: string }>({ dataType: () => "pg_lsn" });
const euros = (name: string) => numeric(name, { precision: 24, scale: 2 }).notNull();

export const warehouse = pgSchema("warehouse");
const reports = pgSchema("reports");

export const settings = warehouse.table("settings", {
  onlyRow: boolean("only_row").primaryKey().default(true),
  timeZone: text("time_zone").notNull(),
  granularity: text("granularity", { enum: GRANULARITIES }).notNull(),
  earliest: day("earliest").notNull(),
  /** `HH:MM` */
  dayStarts: text("day_starts").notNull().default("00:00"),
  /** For how long statements are kept that do not stand. */
  keepStatementsDays: integer("keep_statements_days").notNull().default(400),
  /** Loads that became known later can be undone. */
  statementsKeptSince: instant("statements_kept_since").notNull().default("-infinity"),
  /** Whether lines for closed periods are rejected. */
  refuseClosed: boolean("refuse_closed").notNull().default(false),
});

export const venues = warehouse.table("venues", {
  venueKey: integer("venue_key").primaryKey().generatedAlwaysAsIdentity(),
  venueId: text("venue_id").notNull().unique(),
});

export const loads = warehouse.table("loads", {
  loadId: integer("load_id").primaryKey().generatedByDefaultAsIdentity(),
  fileName: text("file_name").notNull(),
  sha256: bytea("sha256"),
  bytes: bigint("bytes", { mode: "number" }),
  syncedOn: day("synced_on"),
  status: text("status", { enum: LOAD_STATUSES }).notNull(),
  read: count("read").default(0),
  inserted: count("inserted").default(0),
  corrected: count("corrected").default(0),
  unchanged: count("unchanged").default(0),
  superseded: count("superseded").default(0),
  rejected: count("rejected").default(0),
  partitions: text("partitions").array().notNull().default([]),
  timings: jsonb("timings").$type<Readonly<Record<string, number>>>().notNull().default({}),
  startedAt: instant("started_at").notNull(),
  finishedAt: instant("finished_at"),
  knownAt: instant("known_at"),
  errorCode: text("error_code"),
  errorMessage: text("error_message"),
  reasons: jsonb("reasons").$type<readonly ReasonSummary[]>().notNull().default([]),
  suspicious: text("suspicious").array().$type<readonly Suspicion[]>().notNull().default([]),
  /** Of a retry: the load whose rejected lines were read again. */
  retryOf: integer("retry_of"),
  /** Name of the source that says how the drop is read, and the digest of its text; null: it is one of the drop format. */
  source: text("source"),
  sourceSha256: bytea("source_sha256"),
  /** The venue of all lines, where the source gives it and not the cells. */
  venueId: text("venue_id"),
  /** Records that the source leaves out: they are not among those read. */
  skipped: count("skipped").default(0),
  /** Lines that were added to another line of their invoice. */
  summed: count("summed").default(0),
  /** Of an undo: the entry that it takes back, why, and who decided it. */
  undoOf: integer("undo_of"),
  because: text("because"),
  decidedBy: text("decided_by"),
  /** Of an undo: invoices that no other load states. */
  removed: count("removed").default(0),
  /** Lines that say of their invoice that it is void. */
  voided: count("voided").default(0),
  /** Invoices that a load took out, because as of it they are absent. */
  absent: count("absent").default(0),
});

export const rejects = warehouse.table(
  "rejects",
  {
    loadId: integer("load_id").notNull(),
    line: count("line"),
    reason: text("reason").notNull(),
    columnName: text("column_name"),
    raw: bytea("raw").notNull(),
  },
  (table) => [primaryKey({ columns: [table.loadId, table.line] })],
);

/** Who decided that the rejected lines of a load and reason stay out, when, and why. */
export const dismissals = warehouse.table(
  "dismissals",
  {
    loadId: integer("load_id").notNull(),
    reason: text("reason").notNull(),
    because: text("because").notNull(),
    dismissedBy: text("dismissed_by").notNull().default(sql`session_user`),
    dismissedAt: instant("dismissed_at").notNull().default(sql`clock_timestamp()`),
  },
  (table) => [primaryKey({ columns: [table.loadId, table.reason] })],
);

export const invoices = warehouse.table(
  "invoices",
  {
    createdAt: instant("created_at").notNull(),
    createdOn: day("created_on").notNull(),
    venueKey: integer("venue_key").notNull(),
    loadId: integer("load_id").notNull(),
    syncedOn: day("synced_on").notNull(),
    invoiceId: uuid("invoice_id").notNull(),
    total: numeric("total", { precision: 14, scale: 2 }).notNull(),
  },
  (table) => [primaryKey({ columns: [table.createdOn, table.venueKey, table.invoiceId] })],
);

export const corrections = warehouse.table("corrections", {
  loadId: integer("load_id").notNull(),
  createdOn: day("created_on").notNull(),
  venueKey: integer("venue_key").notNull(),
  invoiceId: uuid("invoice_id").notNull(),
  oldCreatedAt: instant("old_created_at").notNull(),
  oldTotal: numeric("old_total", { precision: 14, scale: 2 }).notNull(),
  oldLoadId: integer("old_load_id").notNull(),
  oldSyncedOn: day("old_synced_on").notNull(),
});

/** Statements that do not stand and that no correction overwrote, an array for each group. */
export const statements = warehouse.table("statements", {
  /** The entry that kept them: the load that confirmed them, the load itself where it came too late, or an undo. */
  loadId: integer("load_id").notNull(),
  statedBy: integer("stated_by").notNull(),
  syncedOn: day("synced_on").notNull(),
  /** The load that says the same of these invoices; null: the values are in the last two columns. */
  sameAs: integer("same_as"),
  createdOn: day("created_on").notNull(),
  venueKey: integer("venue_key").notNull(),
  invoiceIds: uuid("invoice_ids").array().notNull(),
  createdAt: instant("created_at").array(),
  total: numeric("total", { precision: 14, scale: 2 }).array(),
});

/** Statements that invoices are not there, by group. */
export const absences = warehouse.table("absences", {
  /** The entry that brought them. They count unless it is undone. */
  loadId: integer("load_id").notNull(),
  statedBy: integer("stated_by").notNull(),
  syncedOn: day("synced_on").notNull(),
  createdOn: day("created_on").notNull(),
  venueKey: integer("venue_key").notNull(),
  /** Null: all of the group that the load does not name. */
  invoiceIds: uuid("invoice_ids").array(),
});

export const deltas = warehouse.table("venue_day_deltas", {
  loadId: integer("load_id").notNull(),
  createdOn: day("created_on").notNull(),
  venueKey: integer("venue_key").notNull(),
  invoices: count("invoices"),
  total: euros("total"),
});

/** Moments at which it is kept what the groups were. The first, number 0, is that at which nothing was known. */
export const checkpoints = warehouse.table("checkpoints", {
  checkpointId: integer("checkpoint_id").primaryKey(),
  knownAt: instant("known_at").notNull(),
});

/** All groups of a date (where the two numbers are the same), or by how much some had changed since the checkpoint before. */
export const checkpointGroups = warehouse.table(
  "checkpoint_groups",
  {
    createdOn: day("created_on").notNull(),
    /** The last checkpoint up to this one that has all groups of the date. */
    listId: integer("list_id").notNull(),
    checkpointId: integer("checkpoint_id").notNull(),
    venueKey: integer("venue_key").notNull(),
    invoices: count("invoices"),
    total: euros("total"),
  },
  (table) => [primaryKey({ columns: [table.createdOn, table.listId, table.checkpointId, table.venueKey] })],
);

/** The dates of them. */
export const checkpointDates = warehouse.table("checkpoint_dates", {
  createdOn: day("created_on").primaryKey(),
});

/** What a refresh has not taken yet. Rows of an epoch below the floor count for nothing: {@link waiting} is without them. */
export const pending = warehouse.table("venue_day_pending", {
  createdOn: day("created_on").notNull(),
  venueKey: integer("venue_key").notNull(),
  invoices: count("invoices"),
  total: euros("total"),
  epoch: integer("epoch").notNull(),
});

/** One row: all that was pending in an earlier epoch is in the rollup. */
export const pendingFloor = warehouse.table("pending_floor", {
  onlyRow: boolean("only_row").primaryKey().default(true),
  epoch: integer("epoch").notNull(),
  asOf: lsn("as_of").notNull(),
});

export const waiting = warehouse
  .view("venue_day_waiting", {
    createdOn: day("created_on").notNull(),
    venueKey: integer("venue_key").notNull(),
    invoices: count("invoices"),
    total: euros("total"),
  })
  .existing();

export const rollup = warehouse.table(
  "venue_day_rollup",
  {
    createdOn: day("created_on").notNull(),
    venueKey: integer("venue_key").notNull(),
    invoices: count("invoices"),
    total: euros("total"),
  },
  (table) => [primaryKey({ columns: [table.createdOn, table.venueKey] })],
);

export const partitions = warehouse.table("partitions", {
  partitionId: integer("partition_id").notNull().unique().generatedAlwaysAsIdentity(),
  partition: text("partition").primaryKey(),
  lower: day("lower").notNull().unique(),
  upper: day("upper").notNull(),
  state: text("state", { enum: PARTITION_STATES }).notNull().default("open"),
  rollupInvoices: count("rollup_invoices").default(0),
  rollupTotal: euros("rollup_total").default("0"),
  refreshedAt: instant("refreshed_at"),
  /** Whether all sessions were told of its tables a second time (db/partitions/announce.ts). */
  announced: boolean("announced").notNull().default(false),
  /** Greatest sync date of an absence in it; null: there was none. */
  absentUntil: day("absent_until"),
  /** Whether the checkpoints hold its dates. */
  checkpointed: boolean("checkpointed").notNull().default(true),
  /** How many refreshes took how long, and how many microseconds together, by the bounds of `reports.refresh_times`. */
  refreshCounts: bigint("refresh_counts", { mode: "number" }).array().notNull().default([]),
  refreshMicros: bigint("refresh_micros", { mode: "number" }).array().notNull().default([]),
  // The database makes these three from the name of the partition.
  invoicesTable: text("invoices_table").notNull(),
  deltasTable: text("deltas_table").notNull(),
  rollupTable: text("rollup_table").notNull(),
});

/** What periods were when they were closed. */
export const closings = warehouse.table("closings", {
  closingId: integer("closing_id").primaryKey(),
  period: text("period").notNull(),
  firstDate: day("first_date").notNull(),
  dateAfter: day("date_after").notNull(),
  /** Exactly the loads that were known then count. */
  knownAt: instant("known_at").notNull(),
  groups: count("groups"),
  invoices: count("invoices"),
  total: euros("total"),
  sha256: bytea("sha256").notNull(),
  /** Of the closing before; null for the first one. */
  previousSha256: bytea("previous_sha256"),
  closedBy: text("closed_by").notNull().default(sql`session_user`),
  closedAt: instant("closed_at").notNull().default(sql`now()`),
});

/** What is proved by itself. */
export const PROOF_SUBJECTS = ["partition", "ledger", "checkpoints", "closings"] as const;

/** When each part of the warehouse was proved last. */
export const proofs = warehouse.table(
  "proofs",
  {
    subject: text("subject", { enum: PROOF_SUBJECTS }).notNull(),
    /** 0 where it is about another part. */
    partitionId: integer("partition_id").notNull().default(0),
    /** When the last proof began that found nothing. */
    provedAt: instant("proved_at"),
    /** The newest entry of the ledger that was known then. */
    provedLoad: integer("proved_load"),
    /** When the last proof began, if it found something. */
    divergedAt: instant("diverged_at"),
    durationMs: count("duration_ms"),
    recordedBy: text("recorded_by").notNull().default(sql`session_user`),
  },
  (table) => [primaryKey({ columns: [table.subject, table.partitionId] })],
);

/** Those that are fixed once something is loaded. */
export type Settings = Readonly<
  Pick<typeof settings.$inferSelect, "timeZone" | "granularity" | "earliest" | "dayStarts">
>;
export type Partition = Readonly<typeof partitions.$inferSelect>;
export type Load = Readonly<typeof loads.$inferSelect>;

export const venueDailyTotals = reports
  .view("venue_daily_totals", {
    venueId: text("venue_id").notNull(),
    createdOn: day("created_on").notNull(),
    invoices: count("invoices"),
    total: euros("total"),
  })
  .existing();

export const reportedInvoices = reports
  .view("invoices", {
    venueId: text("venue_id").notNull(),
    createdOn: day("created_on").notNull(),
    createdAt: instant("created_at").notNull(),
    invoiceId: uuid("invoice_id").notNull(),
    total: numeric("total", { precision: 14, scale: 2 }).notNull(),
    loadId: integer("load_id").notNull(),
    syncedOn: day("synced_on").notNull(),
  })
  .existing();

export const reportedCorrections = reports
  .view("corrections", {
    venueId: text("venue_id").notNull(),
    createdOn: day("created_on").notNull(),
    invoiceId: uuid("invoice_id").notNull(),
    loadId: integer("load_id").notNull(),
    knownAt: instant("known_at").notNull(),
    undone: boolean("undone").notNull(),
    oldLoadId: integer("old_load_id").notNull(),
    oldCreatedAt: instant("old_created_at").notNull(),
    oldTotal: numeric("old_total", { precision: 14, scale: 2 }).notNull(),
    /** Null where the invoice was taken out, or what an undone load said was pruned. */
    newTotal: numeric("new_total", { precision: 14, scale: 2 }),
  })
  .existing();

export const warehouseSettings = reports
  .view("warehouse_settings", {
    timeZone: text("time_zone").notNull(),
    granularity: text("granularity", { enum: GRANULARITIES }).notNull(),
    earliest: day("earliest").notNull(),
    schemaVersion: count("schema_version"),
    dayStarts: text("day_starts").notNull(),
    keepStatementsDays: integer("keep_statements_days").notNull(),
    statementsKeptSince: instant("statements_kept_since").notNull(),
    refuseClosed: boolean("refuse_closed").notNull(),
  })
  .existing();

export const loadHistory = reports
  .view("load_history", {
    loadId: integer("load_id").notNull(),
    fileName: text("file_name").notNull(),
    /** In hexadecimal. */
    sha256: text("sha256"),
    bytes: bigint("bytes", { mode: "number" }),
    syncedOn: day("synced_on"),
    status: text("status", { enum: LOAD_STATUSES }).notNull(),
    read: count("read"),
    inserted: count("inserted"),
    corrected: count("corrected"),
    unchanged: count("unchanged"),
    superseded: count("superseded"),
    rejected: count("rejected"),
    partitions: text("partitions").array().notNull(),
    timings: jsonb("timings").$type<Readonly<Record<string, number>>>().notNull(),
    startedAt: instant("started_at").notNull(),
    finishedAt: instant("finished_at"),
    knownAt: instant("known_at"),
    errorCode: text("error_code"),
    errorMessage: text("error_message"),
    reasons: jsonb("reasons").$type<readonly ReasonSummary[]>().notNull(),
    suspicious: text("suspicious").array().$type<readonly Suspicion[]>().notNull(),
    retryOf: integer("retry_of"),
    source: text("source"),
    /** In hexadecimal. */
    sourceSha256: text("source_sha256"),
    skipped: count("skipped"),
    summed: count("summed"),
    venueId: text("venue_id"),
    undoOf: integer("undo_of"),
    because: text("because"),
    decidedBy: text("decided_by"),
    removed: count("removed"),
    voided: count("voided"),
    absent: count("absent"),
  })
  .existing();

/** A load as the reports show it. */
export type ReportedLoad = Readonly<typeof loadHistory.$inferSelect>;

export const openRejects = reports
  .view("open_rejects", {
    loadId: integer("load_id").notNull(),
    fileName: text("file_name").notNull(),
    syncedOn: day("synced_on"),
    reason: text("reason").notNull(),
    column: text("column_name"),
    lines: count("lines"),
    firstLine: count("first_line"),
    firstCell: text("first_cell"),
    /** Of the totals that could be read, in euros. */
    total: numeric("total", { precision: 24, scale: 2 }),
    totalsRead: count("totals_read"),
    remedy: text("remedy"),
    rejectedAt: instant("rejected_at"),
  })
  .existing();

/** Rejected lines of one load and reason that nobody has decided on. */
export type OpenRejects = Readonly<typeof openRejects.$inferSelect>;

/** Rejected lines of one load and reason that somebody has dismissed. */
export const dismissedRejects = reports
  .view("dismissed_rejects", {
    loadId: integer("load_id").notNull(),
    fileName: text("file_name").notNull(),
    source: text("source"),
    reason: text("reason").notNull(),
    column: text("column_name"),
    lines: bigint("lines", { mode: "number" }),
    /** Of the totals that could be read, in euros. */
    total: numeric("total", { precision: 24, scale: 2 }),
    because: text("because").notNull(),
    dismissedBy: text("dismissed_by").notNull(),
    dismissedAt: instant("dismissed_at").notNull(),
  })
  .existing();

export const reportedClosings = reports
  .view("closings", {
    closing: integer("closing").notNull(),
    period: text("period").notNull(),
    firstDate: day("first_date").notNull(),
    dateAfter: day("date_after").notNull(),
    knownAt: instant("known_at").notNull(),
    groups: count("groups"),
    invoices: count("invoices"),
    total: euros("total"),
    /** In hexadecimal. */
    sha256: text("sha256").notNull(),
    previousSha256: text("previous_sha256"),
    closedBy: text("closed_by").notNull(),
    closedAt: instant("closed_at").notNull(),
    /** The next closing of the same dates. */
    replacedBy: integer("replaced_by"),
  })
  .existing();

export const restatements = reports
  .view("restatements", {
    closing: integer("closing").notNull(),
    period: text("period").notNull(),
    venueId: text("venue_id"),
    createdOn: day("created_on").notNull(),
    thenInvoices: count("then_invoices"),
    thenTotal: euros("then_total"),
    nowInvoices: count("now_invoices"),
    nowTotal: euros("now_total"),
    invoices: count("invoices"),
    total: euros("total"),
  })
  .existing();

export const restatingLoads = reports
  .view("restating_loads", {
    closing: integer("closing").notNull(),
    period: text("period").notNull(),
    loadId: integer("load_id").notNull(),
    fileName: text("file_name").notNull(),
    syncedOn: day("synced_on"),
    knownAt: instant("known_at").notNull(),
    venueId: text("venue_id"),
    createdOn: day("created_on").notNull(),
    invoices: count("invoices"),
    total: euros("total"),
  })
  .existing();

export const partitionFreshness = reports
  .view("partition_freshness", {
    partition: text("partition").notNull(),
    lower: day("lower").notNull(),
    upper: day("upper").notNull(),
    state: text("state", { enum: PARTITION_STATES }).notNull(),
    rollupInvoices: count("rollup_invoices"),
    rollupTotal: euros("rollup_total"),
    refreshedAt: instant("refreshed_at"),
    pendingChanges: count("pending_changes"),
    pendingInvoices: count("pending_invoices"),
    pendingTotal: euros("pending_total"),
    provedAt: instant("proved_at"),
    provedLoad: integer("proved_load"),
    divergedAt: instant("diverged_at"),
  })
  .existing();

export const refreshTimes = reports
  .view("refresh_times", {
    upToSeconds: doublePrecision("up_to_seconds").notNull(),
    refreshes: count("refreshes"),
    seconds: numeric("seconds", { precision: 24, scale: 6 }).notNull(),
  })
  .existing();

export const reportedProofs = reports
  .view("proofs", {
    subject: text("subject", { enum: PROOF_SUBJECTS }).notNull(),
    partition: text("partition"),
    provedAt: instant("proved_at"),
    provedLoad: integer("proved_load"),
    divergedAt: instant("diverged_at"),
    durationMs: bigint("duration_ms", { mode: "number" }),
  })
  .existing();

export const partitionSizes = reports
  .view("partition_sizes", { partition: text("partition").notNull(), bytes: count("bytes") })
  .existing();

export const venueActivity = reports
  .view("venue_activity", {
    venueId: text("venue_id"),
    lastCreatedOn: day("last_created_on").notNull(),
    lastSyncedOn: day("last_synced_on"),
    lastSeenOn: day("last_seen_on"),
    syncDates: bigint("sync_dates", { mode: "number" }),
    typicalDays: numeric("typical_days", { precision: 4, scale: 1, mode: "number" }),
    daysSilent: integer("days_silent"),
    silentFrom: day("silent_from"),
    silent: boolean("silent").notNull(),
  })
  .existing();

/** When a venue last sent something, how often it does, and for how many days it has been silent. */
export type VenueActivity = Readonly<typeof venueActivity.$inferSelect>;

export const missingSyncDates = reports
  .view("missing_sync_dates", {
    /** Null: the drop format. */
    source: text("source"),
    syncedOn: day("synced_on").notNull(),
    daysMissing: integer("days_missing").notNull(),
  })
  .existing();

/** A sync date of which a source that else comes daily has no drop. */
export type MissingSyncDate = Readonly<typeof missingSyncDates.$inferSelect>;
