/**
 * What each role of a warehouse may do, object by object: exactly what its statements need. A test holds it against the schemas, so that a
 * migration that adds something says here whose it is.
 */

/**
 * Group roles without a login of their own, shared by all warehouses of a server; a user's role is made a member.
 * - `owner`: owns the schemas and all in them: migrates, removes partitions, repairs
 * - `loader`: loads, refreshes, verifies; gets new partitions by a function, and has no DDL
 * - `reader`: the schema `reports`
 */
export const ROLES = {
  owner: "rollbook_owner",
  loader: "rollbook_loader",
  reader: "rollbook_reader",
} as const;

export type Role = keyof typeof ROLES;
/** The roles that own nothing: what they may do is granted. */
export type Guest = Exclude<Role, "owner">;
/** In the words of GRANT: `select`, `update(state)`. */
export type Rights = Readonly<Record<Guest, readonly string[]>>;

const NONE: Rights = { loader: [], reader: [] };
const forLoader = (...loader: readonly string[]): Rights => ({ loader, reader: [] });
const forBoth = (...rights: readonly string[]): Rights => ({ loader: rights, reader: rights });

/** Of an entry of the ledger everything may be set but what it is an entry of; a policy keeps finished ones (migration 0004). */
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
  "known_at",
  "error_code",
  "error_message",
];
const CORRECTED_COLUMNS = ["created_at", "total", "load_id", "synced_on"];
/** `state`, because a refresh ends that a partition is stale; a trigger keeps the loader from others (migration 0004). */
const CATALOG_COLUMNS = ["state", "rollup_invoices", "rollup_total", "refreshed_at"];

const updateOf = (columns: readonly string[]) => columns.map((column) => `update(${column})`);

const TABLES: Readonly<Record<string, Rights>> = {
  migrations: forLoader("select"),
  settings: forLoader("select"),
  venues: forLoader("select", "insert(venue_id)"),
  loads: forLoader("select", "insert", ...updateOf(LEDGER_COLUMNS)),
  rejects: forLoader("select", "insert"),
  // Delete: of two lines with one key, which are far apart in a drop, the earlier is taken out again.
  invoices: forLoader("select", "insert", "delete", ...updateOf(CORRECTED_COLUMNS)),
  // Select: verify counts what is kept.
  corrections: forLoader("select", "insert"),
  venue_day_deltas: forLoader("select", "insert"),
  // Maintain: a large queue that was just emptied is vacuumed.
  venue_day_pending: forLoader("select", "insert", "delete", "maintain"),
  venue_day_rollup: forLoader("select", "insert", "update", "delete"),
  partitions: forLoader("select", ...updateOf(CATALOG_COLUMNS)),
  venue_day_totals: NONE,
};

/** What `warehouse.open_partitions` gives a partition: of its parent's rights, to read only but for the rollup. */
const LEAVES: readonly (readonly [RegExp, Rights])[] = [
  [/^invoices_\d/, forLoader("select")],
  [/^venue_day_deltas_\d/, forLoader("select")],
  [/^venue_day_rollup_\d/, TABLES.venue_day_rollup ?? NONE],
  [/^staging_\d+$/, forLoader("select", "insert", "truncate")],
];

const FUNCTIONS: Readonly<Record<string, Rights>> = {
  "warehouse.open_partitions(date[])": forLoader("execute"),
  "warehouse.partition_range(text, date)": NONE,
  "warehouse.guard_partition_state()": NONE,
  "reports.venue_daily_totals_as_known_on(timestamp with time zone)": forBoth("execute"),
  "reports.venue_daily_totals_as_known_on(date)": forBoth("execute"),
};

const SCHEMAS: Readonly<Record<string, Rights>> = {
  warehouse: forLoader("usage"),
  reports: forBoth("usage"),
};

export type ObjectKind = "schema" | "table" | "function";

/** The rights to an object; undefined for one that nobody thought of, and nobody but the owner gets at. */
export function rightsTo(object: {
  readonly kind: ObjectKind;
  readonly schema: string;
  /** Without the schema; a function with its types. */
  readonly name: string;
}): Rights | undefined {
  const { kind, schema, name } = object;
  if (kind === "schema") return SCHEMAS[schema];
  if (kind === "function") return FUNCTIONS[`${schema}.${name}`];
  if (schema === "reports") return forBoth("select");
  return TABLES[name] ?? LEAVES.find(([pattern]) => pattern.test(name))?.[1];
}
