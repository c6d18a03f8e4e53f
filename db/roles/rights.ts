/**
 * What each role of a warehouse may do, object by object: exactly what its statements need. A test compares
 * this with the schemas, so that a migration that adds an object must name its rights here.
 */

/**
 * Group roles without a login of their own, shared by all warehouses of a server; a user's role is made a
 * member.
 * - `owner`: owns the schemas and all in them: migrates, removes partitions, repairs
 * - `steward`: undoes loads, closes periods, and does what the loader does
 * - `loader`: loads, refreshes, verifies; gets new partitions by a function, and has no DDL
 * - `reader`: the schema `reports`
 */
export const ROLES = {
  owner: "rollbook_owner",
  steward: "rollbook_steward",
  loader: "rollbook_loader",
  reader: "rollbook_reader",
} as const;

export type Role = keyof typeof ROLES;
/** The roles that own nothing: what they may do is granted. */
export type Guest = Exclude<Role, "owner">;
/** In the words of GRANT: `select`, `update(state)`. */
export type Rights = Readonly<Record<Guest, readonly string[]>>;

const NONE: Rights = { steward: [], loader: [], reader: [] };
/** The steward loads, too. */
const forLoader = (...rights: readonly string[]): Rights => ({ steward: rights, loader: rights, reader: [] });
const forAll = (...rights: readonly string[]): Rights => ({
  steward: rights,
  loader: rights,
  reader: rights,
});
const andSteward = (rights: Rights, ...more: readonly string[]): Rights => ({
  ...rights,
  steward: [...rights.steward, ...more],
});

/**
 * All columns of the ledger but those that name the drop, or the decision behind an undo. A policy and a trigger
 * protect finished entries (migrations 0004 and 0013).
 */
const LEDGER_COLUMNS = [
  "status",
  "read",
  "inserted",
  "corrected",
  "unchanged",
  "superseded",
  "rejected",
  "partitions",
  "timings",
  "finished_at",
  "error_code",
  "error_message",
  "reasons",
  "suspicious",
  "skipped",
  "summed",
  "voided",
  "absent",
];
/** The others are the database's to say: the number, and from when on an entry is known. */
const ENTERED_COLUMNS = [
  "file_name",
  "sha256",
  "bytes",
  "synced_on",
  "status",
  "source",
  "source_sha256",
  "venue_id",
  "retry_of",
  "started_at",
  "finished_at",
  "error_code",
  "error_message",
];
const DECIDED_COLUMNS = ["undo_of", "because", "decided_by"];
const CORRECTED_COLUMNS = ["created_at", "total", "load_id", "synced_on"];
/**
 * `state`, because a refresh makes a stale partition open again. A trigger forbids the loader all other
 * changes of it (migration 0004).
 */
const CATALOG_COLUMNS = [
  "state",
  "announced",
  "absent_until",
  "rollup_invoices",
  "rollup_total",
  "refreshed_at",
  "refresh_counts",
  "refresh_micros",
];

/** Who and when are the database's to say. */
const CLOSING_COLUMNS = [
  "closing_id",
  "period",
  "first_date",
  "date_after",
  "known_at",
  "groups",
  "invoices",
  "total",
  "sha256",
  "previous_sha256",
];

const insertOf = (columns: readonly string[]) => columns.map((column) => `insert(${column})`);
const updateOf = (columns: readonly string[]) => columns.map((column) => `update(${column})`);

const TABLES: Readonly<Record<string, Rights>> = {
  migrations: forLoader("select"),
  settings: forLoader("select"),
  venues: forLoader("select", "insert(venue_id)"),
  // Who may write what an undo removed may undo: the row policies ask for this right (migration 0013).
  loads: andSteward(
    forLoader("select", ...insertOf(ENTERED_COLUMNS), ...updateOf(LEDGER_COLUMNS)),
    "update(removed)",
    ...insertOf(DECIDED_COLUMNS),
  ),
  rejects: forLoader("select", "insert"),
  // Who and when are the database's to say.
  dismissals: forLoader("select", "insert(load_id)", "insert(reason)", "insert(because)"),
  // Delete: if two lines of a drop have one key and are far from each other, the earlier is deleted again.
  invoices: forLoader("select", "insert", "delete", ...updateOf(CORRECTED_COLUMNS)),
  // Select: verify counts the corrections.
  corrections: forLoader("select", "insert"),
  statements: forLoader("select", "insert"),
  absences: forLoader("select", "insert"),
  venue_day_deltas: forLoader("select", "insert"),
  // Maintain: a large queue that was just emptied is vacuumed.
  venue_day_pending: forLoader("select", "insert", "delete", "maintain"),
  venue_day_waiting: forLoader("select"),
  pending_floor: forLoader("select"),
  venue_day_rollup: forLoader("select", "insert", "update", "delete"),
  partitions: forLoader("select", ...updateOf(CATALOG_COLUMNS)),
  closings: andSteward(forLoader("select"), ...insertOf(CLOSING_COLUMNS)),
  checkpoints: forLoader("select"),
  checkpoint_dates: forLoader("select"),
  checkpoint_groups: forLoader("select"),
  // Written by a function, read through a view.
  proofs: NONE,
  venue_day_totals: NONE,
  today: NONE,
};

/**
 * The rights that `warehouse.open_partitions` grants: for the rollup those of its parent, for the others only
 * to read.
 */
const LEAVES: readonly (readonly [RegExp, Rights])[] = [
  [/^invoices_\d/, forLoader("select")],
  [/^venue_day_deltas_\d/, forLoader("select")],
  [/^venue_day_rollup_\d/, TABLES.venue_day_rollup ?? NONE],
  [/^staging_\d+$/, forLoader("select", "insert", "truncate")],
];

/** Those that belong to no column. */
const SEQUENCES: Readonly<Record<string, Rights>> = {
  pending_epoch: forLoader("select"),
};

const FUNCTIONS: Readonly<Record<string, Rights>> = {
  "warehouse.open_partitions(date[])": forLoader("execute"),
  "warehouse.announce_partitions()": forLoader("execute"),
  "warehouse.prune_statements()": forLoader("execute"),
  "warehouse.make_checkpoint()": forLoader("execute"),
  "warehouse.record_proof(text, integer, timestamp with time zone, integer, bigint, boolean)":
    forLoader("execute"),
  "warehouse.raise_pending_floor()": forLoader("execute"),
  "warehouse.add_to_checkpoint(integer, timestamp with time zone, timestamp with time zone, date, date)":
    NONE,
  "warehouse.partition_range(text, date)": NONE,
  "warehouse.partition_parent(text, date)": NONE,
  "warehouse.guard_partition_state()": NONE,
  "warehouse.guard_finished_loads()": NONE,
  "warehouse.set_known_at()": NONE,
  "warehouse.guard_dismissals()": NONE,
  "reports.venue_daily_totals_as_known_on(timestamp with time zone)": forAll("execute"),
  "reports.venue_daily_totals_as_known_on(date)": forAll("execute"),
};

const SCHEMAS: Readonly<Record<string, Rights>> = {
  warehouse: forLoader("usage"),
  reports: forAll("usage"),
};

export type ObjectKind = "schema" | "table" | "sequence" | "function";

/** The rights to an object; undefined for one that is not listed here, which only the owner can use. */
export function rightsTo(object: {
  readonly kind: ObjectKind;
  readonly schema: string;
  /** Without the schema; a function with its types. */
  readonly name: string;
}): Rights | undefined {
  const { kind, schema, name } = object;
  if (kind === "schema") return SCHEMAS[schema];
  if (kind === "function") return FUNCTIONS[`${schema}.${name}`];
  if (kind === "sequence") return SEQUENCES[name];
  if (schema === "reports") return forAll("select");
  return TABLES[name] ?? LEAVES.find(([pattern]) => pattern.test(name))?.[1];
}
