/**
 * Single ways to break the product. Each must be noticed by the simulation, or by the tests named with it.
 */

export interface Mutation {
  /** What the broken product does. */
  readonly name: string;
  readonly file: string;
  /** A text that is in the file once, and what stands there instead. */
  readonly find: string;
  readonly replace: string;
  /** Tests that must notice what the simulation does not. */
  readonly tests: readonly string[];
  /** Left out of the simulation: it has no means to notice it. */
  readonly simulate?: false;
}

const MERGE = "etl/load/merge.ts";
const ABSENCE = "etl/load/absence.ts";
const ABSENT = "etl/load/absence.test.ts";
const REFRESH = "etl/refresh/refresh.ts";
const APPLY = "etl/refresh/apply.ts";
const REBUILD = "etl/refresh/rebuild.ts";
const LOAD = "etl/load/load.ts";
const HISTORY = "etl/testing/scenarios/history.test.ts";
const RETRYING = "etl/load/retry_rejects.test.ts";
const MERGING = "etl/load/merge.test.ts";
const CRASH = "etl/testing/scenarios/crash.test.ts";
const SETTLE = "etl/undo/settle.ts";
const UNDO_LOCK = "etl/undo/lock.ts";
const UNDOING = "etl/undo/undo.test.ts";
const CLOSING = "etl/closings/closings.test.ts";
const REFUSE_CLOSED = "etl/closings/refuse_closed.test.ts";
const GUARDED_LEDGER = "db/migrations/0017_guarded_ledger.sql";
const CHECKPOINTS = "db/migrations/0018_checkpoints.sql";
const CHECKPOINTING = "etl/reports/checkpoints.test.ts";
const PARTITIONS_BY_YEAR = "db/migrations/0020_partitions_by_year.sql";
const GUARDED_DECISIONS = "db/migrations/0021_guarded_decisions.sql";
const LEDGER_CHECK = "etl/verify/ledger.ts";
const STANDING = "etl/verify/standing.ts";
const ATTEMPTS = "etl/testing/scenarios/attempts.test.ts";
const VERIFY = "etl/verify/verify.ts";
const VERIFYING = "etl/verify/verify.test.ts";
const CLAIMING = "etl/load/claim.test.ts";
const SETTINGS = "etl/testing/scenarios/settings.test.ts";
const WAITING = "etl/testing/scenarios/waits.test.ts";
const UNDO_CRASH = "etl/testing/scenarios/undo_crash.test.ts";

export const MUTATIONS: readonly Mutation[] = [
  {
    name: "of two drops the later load wins, whatever their sync dates",
    file: MERGE,
    find: "where (stored.synced_on, stored.load_id) <= (excluded.synced_on, excluded.load_id)",
    replace: "where stored.load_id < excluded.load_id",
    tests: [MERGING, HISTORY],
  },
  {
    name: "of two drops of one sync date the earlier load wins",
    file: MERGE,
    find: "where (stored.synced_on, stored.load_id) <= (excluded.synced_on, excluded.load_id)",
    replace: "where stored.synced_on < excluded.synced_on",
    tests: [MERGING, HISTORY],
  },
  {
    name: "an older drop overwrites a newer one",
    file: MERGE,
    find: "where (stored.synced_on, stored.load_id) <= (excluded.synced_on, excluded.load_id)",
    replace: "where true",
    tests: [MERGING, HISTORY],
  },
  {
    name: "a row that is confirmed keeps its old place in the order",
    file: MERGE,
    find: "            synced_on = excluded.synced_on\n",
    replace: `            synced_on = case when stored.total = excluded.total then stored.synced_on
              else excluded.synced_on end
`,
    tests: [MERGING, HISTORY],
  },
  {
    name: "the delta of a correction is the whole new total",
    file: MERGE,
    find: "             sum(total - coalesce(old_total, 0)) as total\n      from merged",
    replace: "             sum(total) as total\n      from merged",
    tests: [MERGING, HISTORY],
  },
  {
    name: "the delta of a correction has the wrong sign",
    file: MERGE,
    find: "             sum(total - coalesce(old_total, 0)) as total\n      from merged",
    replace:
      "             sum(case when is_new then total else old_total - total end) as total\n      from merged",
    tests: [MERGING, HISTORY],
  },
  {
    name: "what a correction overwrote is not kept",
    file: MERGE,
    find: "      from merged\n      where differs and not is_new\n",
    replace: "      from merged\n      where differs and not is_new and old_total <> total\n",
    tests: [MERGING],
  },
  {
    name: "of two lines with one key the earlier wins",
    file: MERGE,
    find: "order by created_on, venue_key, invoice_id, line desc`",
    replace: "order by created_on, venue_key, invoice_id, line`",
    tests: [MERGING, HISTORY],
  },
  {
    name: "a line that is read again replaces a later line of its drop",
    file: MERGE,
    find: "order by created_on, venue_key, invoice_id, line desc\n      ) last",
    replace: "order by created_on, venue_key, invoice_id, retried desc, line desc\n      ) last",
    tests: [RETRYING],
  },
  {
    name: "a line that is read again ranks by the number of the retry",
    file: MERGE,
    find: "select created_on, venue_key, invoice_id, ${statedBy}::integer",
    replace: "select created_on, venue_key, invoice_id, ${loadId}::integer",
    tests: [RETRYING],
  },
  {
    name: "a statement that is confirmed is not kept",
    file: MERGE,
    find: "      where not differs and old_load_id <> ${statedBy}\n",
    replace: "      where not differs and old_load_id > ${statedBy}\n",
    tests: [UNDOING, UNDO_CRASH],
  },
  {
    name: "a statement that comes too late is not kept",
    file: MERGE,
    find: "  if (keys > inserted + corrected + unchanged) await keepSuperseded({",
    replace: "  if (keys > inserted + corrected + unchanged && keys === 0) await keepSuperseded({",
    tests: [UNDOING, UNDO_CRASH],
  },
  {
    name: "an older drop brings an absent invoice back",
    file: ABSENCE,
    find: "        and (a.synced_on, a.stated_by) > (${syncedOn}::date, ${statedBy}::integer)",
    replace: "        and (a.synced_on, a.stated_by) < (${syncedOn}::date, ${statedBy}::integer)",
    tests: [ABSENT],
  },
  {
    name: "a load does not look at absences of its own sync date",
    file: ABSENCE,
    find: "return absentUntil !== null && absentUntil >= syncedOn;",
    replace: "return absentUntil !== null && absentUntil > syncedOn;",
    tests: [ABSENT],
  },
  {
    name: "a load that brings absences does not wait for those that are at work",
    file: "etl/load/careful.ts",
    find: "const alone = replacesVenueDays || voided > 0 || task",
    replace: "const alone = task",
    tests: [ABSENT],
  },
  {
    name: "an absence counts although a repair took the invoice out later",
    file: ABSENCE,
    find: "        and a.known_at > t.known_at",
    replace: "        and a.known_at <> t.known_at",
    tests: [ABSENT],
  },
  {
    name: "a statement of a load that is undone stands again",
    file: SETTLE,
    find: "where status = 'undone' and load_id <> ${subject.loadId}`",
    replace: "where status = 'failed' and load_id <> ${subject.loadId}`",
    tests: [UNDOING],
  },
  {
    name: "after an undo not the newest of the other statements stands",
    file: SETTLE,
    find: "      order by ${KEY}, counting desc, synced_on desc, load_id desc, kept_at desc, kept_by desc\n",
    replace: "      order by ${KEY}, counting desc, load_id desc, kept_at desc, kept_by desc\n",
    tests: [UNDOING, UNDO_CRASH],
  },
  {
    name: "a statement that a repair took out stands again",
    file: SETTLE,
    find: "and r.known_at >= l.known_at is not true as counting",
    replace: "and r.known_at < l.known_at is not true as counting",
    tests: [UNDOING],
  },
  {
    name: "an undo does not look for what was kept since the load",
    file: "etl/undo/restore.ts",
    find: "  return rows[0]?.last === true;",
    replace: "  return rows.length > 0;",
    tests: [UNDOING],
  },
  {
    name: "an undo takes the load's invoices for all that it brought",
    file: "etl/undo/restore.ts",
    find: "if (isWhole && (await isLastToKeep(tx, claim))) return settled;",
    replace: "if (isWhole || (await isLastToKeep(tx, claim)) || settled.rows.removed >= 0) return settled;",
    tests: [UNDOING],
  },
  {
    name: "after an undo what is absent stands",
    file: SETTLE,
    find: "  await leaveOutAbsent(tx);\n",
    replace: "",
    tests: [UNDOING],
  },
  {
    name: "an undo brings back nothing that was absent because of the load",
    file: UNDO_LOCK,
    find: "    if (hasAbsences) await addAbsentKeys(tx, family, ranges);\n",
    replace: "",
    tests: [UNDOING],
  },
  {
    name: "an undo does not wait for a load that meets the same invoices",
    file: UNDO_LOCK,
    find: "      order by i.created_on, i.venue_key, i.invoice_id\n      for update of i`;\n    await byKey(tx, () => tx.db.execute(ofLoad));",
    replace:
      "      order by i.created_on, i.venue_key, i.invoice_id`;\n    await byKey(tx, () => tx.db.execute(ofLoad));",
    tests: [UNDO_CRASH],
  },
  {
    name: "what an undo removes is not kept",
    file: SETTLE,
    find: "          from ${CHANGED}\n          where old_load_id is not null\n        ) old",
    replace:
      "          from ${CHANGED}\n          where old_load_id is not null and load_id is not null\n        ) old",
    tests: [UNDOING],
  },
  {
    name: "an undo does not put its changes into the queue of the refresh",
    file: SETTLE,
    find: "      ${recordNet(undoId)}\n",
    replace: `      ledger as (
        insert into \${deltas} (load_id, created_on, venue_key, invoices, total)
        select \${undoId}::integer, created_on, venue_key, invoices, total from net
      )
`,
    tests: [UNDOING, UNDO_CRASH],
  },
  {
    name: "the retries of a load are not undone with it",
    file: "etl/undo/claim.ts",
    find: "where load_id = ${target.loadId} or retry_of = ${target.loadId}`);",
    replace: "where load_id = ${target.loadId}`);",
    tests: [UNDOING],
  },
  {
    name: "lines that a load refused stay open when it is undone",
    file: "db/migrations/0009_open_rejects.sql",
    find: "  and coalesce(root.status, l.status) = 'loaded'\n",
    replace: "  and coalesce(root.status, l.status) in ('loaded', 'undone')\n",
    tests: [UNDOING],
  },
  {
    name: "the loader may undo",
    file: "db/roles/rights.ts",
    find: '  "absent",\n];',
    replace: '  "absent",\n  "removed",\n];',
    tests: ["etl/testing/scenarios/roles.test.ts"],
    simulate: false,
  },
  {
    name: "verify does not look for invoices of loads that are undone",
    file: "etl/refresh/recompute.ts",
    find: "where status = 'loaded' and synced_on is not null",
    replace: "where synced_on is not null",
    tests: ["etl/verify/verify.test.ts"],
    simulate: false,
  },
  {
    name: "verify does not count the statements that are kept",
    file: "etl/verify/ledger.ts",
    find: "(of_others > keeps or of_others < keeps and retry_of is null or own > superseded)",
    replace: "(of_others > keeps + superseded)",
    tests: ["etl/verify/verify.test.ts"],
    simulate: false,
  },
  {
    name: "corrections are not put into the queue of the refresh",
    file: "etl/load/net.ts",
    find: `      insert into warehouse.venue_day_pending (created_on, venue_key, invoices, total)
      select created_on, venue_key, invoices, total from net order by`,
    replace: `      insert into warehouse.venue_day_pending (created_on, venue_key, invoices, total)
      select created_on, venue_key, invoices, total from net where invoices <> 0 order by`,
    tests: [MERGING, HISTORY],
  },
  {
    name: "a plain insert that met a conflict is not rolled back to its savepoint",
    file: MERGE,
    find: "    await tx.db.execute(sql`rollback to savepoint all_new`);\n",
    replace: "",
    tests: [MERGING, HISTORY],
  },
  {
    name: "the direct way leaves what it wrote before a surprise",
    file: "etl/load/direct/direct.ts",
    find: "    await tx.db.execute(sql`rollback to savepoint direct`);\n    return undefined;",
    replace: `    if (!(error instanceof Surprise)) await tx.db.execute(sql\`rollback to savepoint direct\`);
    return undefined;`,
    tests: ["etl/load/direct/direct.test.ts"],
  },
  {
    name: "the direct way does not put its changes into the queue of the refresh",
    file: "etl/load/direct/insert.ts",
    find: "  await copyAll(tx, COPY_PENDING, untilStopped(target, encodePending(changed)));\n",
    replace: "",
    tests: [HISTORY],
  },
  {
    name: "the direct way counts a line that a later one replaces",
    file: "etl/load/direct/groups.ts",
    find: "  group.invoices--;\n",
    replace: "",
    tests: ["etl/load/direct/direct.test.ts"],
  },
  {
    name: "the direct way loses the quarantine",
    file: "etl/load/direct/insert.ts",
    find: "  await copyRejects(target.tx, target.loadId, more.rejects);\n",
    replace: "",
    tests: ["etl/load/direct/direct.test.ts"],
  },
  {
    name: "a drop that is sent again for another sync date counts as loaded",
    file: "etl/load/claim.ts",
    find: "        where sha256 = ${sha256} and synced_on = ${syncedOn} and venue_id is not distinct from ${venueId}::text\n          and status = 'loaded'\n      ),",
    replace: "        where sha256 = ${sha256} and status = 'loaded'\n        limit 1\n      ),",
    tests: [HISTORY],
  },
  {
    name: "a file that changed while it was read is loaded all the same",
    file: "etl/load/changed.ts",
    find: "  if (sha256.equals(task.sha256)) return;\n",
    replace: "  if (sha256.length > 0) return;\n",
    tests: [CRASH],
  },
  {
    name: "a load whose commit was answered by nobody is not recognised",
    file: LOAD,
    find: "    if (sent !== undefined) {\n      return { ...sent, touched",
    replace: "    if (sent !== undefined && sent.loadId === null) {\n      return { ...sent, touched",
    tests: [CRASH],
  },
  {
    name: "one reject too few is allowed",
    file: "etl/load/quarantine.ts",
    find: "BigInt(rejected) * 1_000_000_000n > allowed;",
    replace: "BigInt(rejected) * 1_000_000_000n >= allowed;",
    tests: ["etl/testing/scenarios/conformance.test.ts"],
  },
  {
    name: "dates are those of UTC, not of the warehouse's zone",
    file: "db/settings.ts",
    find: "`set local timezone = ${pg.escapeLiteral(timeZone)}`",
    replace: "`set local timezone = ${pg.escapeLiteral(timeZone && 'UTC')}`",
    tests: [HISTORY],
  },
  {
    name: "staging keeps the rows of a load",
    file: "etl/load/careful.ts",
    find: `  await emptyStaging(tx, slot);
  if (merged === undefined) {
`,
    replace: "  if (merged === undefined) {\n",
    tests: [CRASH],
  },
  {
    name: "a deadlock is not tried again",
    file: "db/errors.ts",
    find: "    state === SQLSTATE.deadlockDetected ||\n",
    replace: "",
    tests: [CRASH],
  },
  {
    name: "an error in a transaction commits what it did before",
    file: "db/client.ts",
    find: '    await session.client.query("rollback").catch(() => {});',
    replace: '    await session.client.query("commit").catch(() => {});',
    tests: [CRASH],
  },
  {
    name: "known_at is not in the order of the commits",
    file: GUARDED_LEDGER,
    find: "  perform pg_advisory_xact_lock(0x526f6c35, 0);\n",
    replace: "",
    tests: [HISTORY, "etl/testing/scenarios/readers.test.ts"],
  },
  {
    name: "known_at follows a clock that jumps back",
    file: GUARDED_LEDGER,
    find: "greatest(clock_timestamp(), (select max(l.known_at) from warehouse.loads l) + interval '1 microsecond')",
    replace: "clock_timestamp()",
    tests: [CRASH],
  },
  {
    name: "a loader decides on rejected lines of a load to come",
    file: GUARDED_DECISIONS,
    find: "for each row\nexecute function warehouse.guard_dismissals();",
    replace: "for each row\nwhen (new.load_id < 0)\nexecute function warehouse.guard_dismissals();",
    tests: [ATTEMPTS],
  },
  {
    name: "a loader says that the rows of a load were lost",
    file: GUARDED_DECISIONS,
    find: "\n  and error_code is distinct from 'loaded_again'\n",
    replace: "\n",
    tests: [ATTEMPTS],
  },
  {
    name: "a loader says that a partition is to be announced again",
    file: GUARDED_DECISIONS,
    find: "when (old.announced and not new.announced)",
    replace: "when (old.announced and old.announced is null)",
    tests: [ATTEMPTS],
  },
  {
    name: "reasons may be what no report can read",
    file: GUARDED_DECISIONS,
    find: '    || @.count.type() != "number" || @.count.floor() != @.count || @.count.abs() > 1000000000000000\n',
    replace: "",
    tests: [ATTEMPTS],
  },
  {
    name: "verify passes over entries that nobody will finish",
    file: LEDGER_CHECK,
    find: "('unfinished', status is not null and unfinished,",
    replace: "('unfinished', status is null and unfinished,",
    tests: [ATTEMPTS],
  },
  {
    name: "verify does not compare the sync dates of what loads said with theirs",
    file: LEDGER_CHECK,
    find: "l.synced_on <> said.synced_on",
    replace: "l.synced_on is null",
    tests: [ATTEMPTS],
  },
  {
    name: "verify does not see that the catalog hides absences",
    file: LEDGER_CHECK,
    find: "where (p.absent_until >= a.synced_on) is not true",
    replace: "where p.absent_until < a.synced_on",
    tests: [ATTEMPTS],
  },
  {
    name: "an invoice may stand for a load that left nothing in its group",
    file: STANDING,
    find: "or left_nothing and ",
    replace: "or not left_nothing and left_nothing and ",
    tests: [ATTEMPTS],
  },
  {
    name: "an invoice may stand for any load that failed",
    file: STANDING,
    find: "where status = 'failed' and error_code = ${LOADED_AGAIN}",
    replace: "where status = 'failed' or error_code = ${LOADED_AGAIN}",
    tests: [ATTEMPTS],
  },
  {
    name: "a repair leaves entries that nobody will finish, and their drops cannot come",
    file: "etl/verify/repair.ts",
    find: "if (unfinished.length > 0) await endUnfinished",
    replace: "if (unfinished.length < 0) await endUnfinished",
    tests: [ATTEMPTS],
  },
  {
    name: "a partition can be closed under an open load",
    file: "db/partitions/catalog.ts",
    find: '\n    .for(alone ? "update" : "key share");',
    replace: ";",
    tests: ["db/partitions/create.test.ts", "etl/retire.test.ts"],
  },
  {
    name: "partitions that are made meanwhile are taken for held",
    file: "db/partitions/catalog.ts",
    find: "  if (present.rowCount !== new Set(names).size) return undefined;\n",
    replace:
      "  if (present.rowCount !== new Set(names).size) return tx.db.select().from(partitions).where(inArray(partitions.partition, [...names]));\n",
    tests: ["db/partitions/create.test.ts"],
  },
  {
    name: "a load goes into a partition that was closed after its lines were read",
    file: "etl/load/prepare.ts",
    find: "held?.every(isOpen)",
    replace: "held?.every((p) => p.state.length > 0)",
    tests: ["etl/retire.test.ts"],
  },
  {
    name: "a partition is closed without what is pending in it",
    file: "db/partitions/remove.ts",
    find: "    await options.beforeClosing?.(tx, held);\n    await refuseOutdated(tx, held);\n",
    replace: "",
    tests: ["etl/retire.test.ts"],
  },
  {
    name: "two refreshes of one partition go on at once",
    file: "etl/refresh/partition.ts",
    find: "    lockStatement(LOCK.refreshPartition, target.partition.partitionId),\n",
    replace: "    `select ${LOCK.refreshPartition} + ${lockStatement.length}`,\n",
    tests: ["etl/refresh/refresh.test.ts"],
  },
  {
    name: "a refresh takes changes that it does not delete",
    file: APPLY,
    find: `      delete from \${pending}
      where created_on >= \${lower} and created_on < \${upper}
        and exists (select from \${partitions} where partition = \${partition} and state in ('open', 'dropped'))
      returning created_on, venue_key, invoices, total
`,
    replace: `      select created_on, venue_key, invoices, total from \${pending}
      where created_on >= \${lower} and created_on < \${upper}
        and exists (select from \${partitions} where partition = \${partition} and state in ('open', 'dropped'))
`,
    tests: [HISTORY],
  },
  {
    name: "an emptied group stays in the rollup",
    file: APPLY,
    find: "      when matched and stored.invoices + net.invoices = 0 then delete\n",
    replace: "",
    tests: ["etl/refresh/refresh.test.ts"],
  },
  {
    name: "deltas are applied to a partition that is stale",
    file: APPLY,
    find: "partition = ${partition} and state in ('open', 'dropped')",
    replace: "partition = ${partition} and state in ('open', 'stale', 'dropped')",
    tests: ["etl/refresh/refresh.test.ts"],
  },
  {
    name: "the control total misses what a refresh adds",
    file: APPLY,
    find: "          rollup_total = rollup_total + (select coalesce(sum(total), 0) from net),\n",
    replace: "",
    tests: ["etl/refresh/refresh.test.ts"],
  },
  {
    name: "a rebuild leaves the queue as it is",
    file: REBUILD,
    find: "      where created_on >= ${partition.lower} and created_on < ${partition.upper}\n      returning 1",
    replace:
      "      where created_on >= ${partition.lower} and created_on < ${partition.lower}\n      returning 1",
    tests: [HISTORY],
  },
  {
    name: "a rebuild empties the queue of all partitions",
    file: REBUILD,
    find: "      where created_on >= ${partition.lower} and created_on < ${partition.upper}\n      returning 1",
    replace: "      where created_on >= ${partition.lower}\n      returning 1",
    tests: [HISTORY],
  },
  {
    name: "a rebuild leaves groups that no invoice stands for",
    file: REBUILD,
    find: "      when matched and differing.invoices is null then delete\n",
    replace: "      when matched and differing.invoices is null then do nothing\n",
    tests: ["etl/refresh/refresh.test.ts", "etl/verify/verify.test.ts"],
  },
  {
    name: "a refresh says that it is done before the disk has it",
    file: REFRESH,
    find: '  if (reports.some(({ method }) => method !== "none")) await makeDurable(options);\n',
    replace: '  if (reports.some(({ method }) => method === "none")) await makeDurable(options);\n',
    tests: [CRASH],
    simulate: false,
  },
  {
    name: "a partition that does not verify is not rebuilt",
    file: "etl/verify/verify.ts",
    find: "  if (checked.rollupDiverges) await markStale(options, partitionId);\n",
    replace: "  if (partitionId < 0) await markStale(options, partitionId);\n",
    tests: ["etl/verify/verify.test.ts"],
  },
  {
    name: "verify does not look at the totals of groups",
    file: "etl/verify/groups.ts",
    find: "    diverges ||= row.rollup_wrong || row.deltas_wrong;\n    rollupDiverges ||= row.rollup_wrong;\n    found({",
    replace: "    diverges ||= row.invoices !== row.shown_invoices;\n    if (diverges)\n    found({",
    tests: ["etl/verify/verify.test.ts"],
  },
  {
    name: "as known at the moment of a commit misses that commit",
    file: CHECKPOINTS,
    find: "      where l.known_at <= venue_daily_totals_as_known_on.known_at\n",
    replace: "      where l.known_at < venue_daily_totals_as_known_on.known_at\n",
    tests: ["etl/reports/totals.test.ts", CHECKPOINTING],
  },
  {
    name: "a question as known on a moment takes the newest checkpoint, whenever it is from",
    file: CHECKPOINTS,
    find: "      select max(c.known_at) from reports.checkpoints c where c.known_at <= venue_daily_totals_as_known_on.known_at\n    )\n    union all",
    replace: "      select max(c.known_at) from reports.checkpoints c\n    )\n    union all",
    tests: [CHECKPOINTING],
  },
  {
    name: "what changed from the last list to the checkpoint is left out",
    file: CHECKPOINTS,
    find: "g.list_id = last.list_id and g.checkpoint_id <= c.checkpoint_id",
    replace: "g.list_id = last.list_id and g.checkpoint_id = g.list_id",
    tests: [CHECKPOINTING],
  },
  {
    name: "what changed after the checkpoint counts in it",
    file: CHECKPOINTS,
    find: "g.list_id = last.list_id and g.checkpoint_id <= c.checkpoint_id",
    replace: "g.list_id = last.list_id",
    tests: [CHECKPOINTING],
  },
  {
    name: "no date ever gets a list of all groups but its first",
    file: CHECKPOINTS,
    find: "n.changes + kept.changes >= kept.groups as is_due",
    replace: "kept.groups = 0 as is_due",
    tests: [CHECKPOINTING],
    simulate: false,
  },
  {
    name: "a partition that is attached again is not added to the checkpoints",
    file: CHECKPOINTS,
    find: "  if found then\n    update warehouse.partitions p set checkpointed = true",
    replace: "  if false then\n    update warehouse.partitions p set checkpointed = true",
    tests: [CHECKPOINTING],
    simulate: false,
  },
  {
    name: "a partition that is being detached counts as held by the checkpoints",
    file: "db/partitions/checkpoints.ts",
    find: "set({ checkpointed: false })",
    replace: "set({ checkpointed: true })",
    tests: [CHECKPOINTING],
  },
  {
    name: "a detach leaves its groups in the checkpoints",
    file: "db/partitions/remove.ts",
    find: '    if (state === "detached") await forgetCheckpoints(tx, held);\n',
    replace: "",
    tests: [CHECKPOINTING],
  },
  {
    name: "a checkpoint does not wait for a partition that is being closed",
    file: CHECKPOINTS,
    find: "  perform pg_advisory_xact_lock(0x526f6c3c, 0);\n",
    replace: "",
    tests: [CHECKPOINTING],
  },
  {
    name: "verify proves the lists of checkpoints alone",
    file: "etl/verify/checkpoints.ts",
    find: "      where p.last is distinct from checkpoint_id\n",
    replace: "      where false\n",
    tests: [CHECKPOINTING],
  },
  {
    name: "verify does not see that a checkpoint is gone",
    file: "etl/verify/checkpoints.ts",
    find: "    where c.checkpoint_id <> c.number or ",
    replace: "    where ",
    tests: [CHECKPOINTING],
    simulate: false,
  },
  {
    name: "a closing leaves out the newest load that is known",
    file: "etl/closings/groups.ts",
    find: "c.known_at <= ${knownAt}::timestamptz",
    replace: "c.known_at < ${knownAt}::timestamptz",
    tests: [CLOSING],
    simulate: false,
  },
  {
    name: "closings at once do not wait for each other",
    file: "etl/closings/close.ts",
    find: "withSessionLock(session, LOCK.closings, async (): Promise<CloseReport> => {",
    replace:
      "((_session, _lock, work) => work())(session, LOCK.closings, async (): Promise<CloseReport> => {",
    tests: [CLOSING],
    simulate: false,
  },
  {
    name: "a load that refuses closed periods does not wait for a closing that is being made",
    file: "etl/closings/restated_by_load.ts",
    find: "  if (refuses) await shareLockUntilEnd(tx, LOCK.closings);\n",
    replace: "",
    tests: [REFUSE_CLOSED],
    simulate: false,
  },
  {
    name: "a load commits what it restates although closed periods refuse changes",
    file: "etl/closings/restated_by_load.ts",
    find: "  if (!refuses || restated.length === 0) return restated;\n",
    replace: "  if (load.loadId > 0) return restated;\n",
    tests: [REFUSE_CLOSED],
    simulate: false,
  },
  {
    name: "a period within a longer one that is closed shortens it",
    file: "etl/drop/rules.ts",
    find: "    else if (last[1] < to) last[1] = to;\n",
    replace: "    else last[1] = to;\n",
    tests: [REFUSE_CLOSED],
    simulate: false,
  },
  {
    name: "a period is closed before its last date has ended",
    file: "etl/closings/close.ts",
    find: "  if (period.to <= today) return;\n",
    replace: "  if (period.from <= today) return;\n",
    tests: [CLOSING],
    simulate: false,
  },
  {
    name: "the load that was known last before a closing restates it",
    file: "db/migrations/0014_closings.sql",
    find: "and l.known_at > c.known_at\n",
    replace: "and l.known_at >= c.known_at\n",
    tests: [CLOSING],
    simulate: false,
  },
  {
    name: "the digest of a closing does not hold the one before",
    file: "etl/closings/certificate.ts",
    find: "  return [...what, closedBy, closedAt, previousSha256];\n",
    replace: "  return [...what, closedBy, closedAt, previousSha256 && null];\n",
    tests: [CLOSING],
    simulate: false,
  },
  {
    name: "closings are verified without the deltas that are detached",
    file: "etl/closings/verify.ts",
    find: "certify(tx, allChanges(tables), closing)",
    replace: "certify(tx, allChanges([]), closing)",
    tests: [CLOSING],
    simulate: false,
  },
  {
    name: "a session may be ended by a timeout of the server's",
    file: "db/client.ts",
    find: '  statement_timeout: "0",\n',
    replace: "",
    tests: ["db/client.test.ts"],
    simulate: false,
  },
  {
    name: "what was read of a drop is kept until its end",
    file: "etl/drop/read.ts",
    find: "    yield event;\n",
    replace: "    Object.assign(hash, { [bytes]: event });\n    yield event;\n",
    tests: ["etl/testing/scenarios/memory.test.ts"],
    simulate: false,
  },
  {
    name: "sessions are told only once of a new partition",
    file: "db/partitions/announce.ts",
    find: "      await tx.db.execute(sql`select warehouse.announce_partitions()`);\n",
    replace: "",
    tests: ["db/partitions/create.test.ts"],
    simulate: false,
  },
  {
    name: "sessions are told only once of a new day of a year",
    file: PARTITIONS_BY_YEAR,
    find: "    where not n.announced\n",
    replace: "    where false\n",
    tests: ["db/partitions/create.test.ts"],
    simulate: false,
  },
  {
    name: "a year gets a table although days of it stand beside it",
    file: PARTITIONS_BY_YEAR,
    find: "where p.lower >= year and p.lower < (year + interval '1 year')::date",
    replace: "where p.lower >= year and p.lower < year",
    tests: ["db/partitions/create.test.ts"],
    simulate: false,
  },
  {
    name: "the table of a year that was detached by hand is not missed",
    file: "db/partitions/missing.ts",
    find: "(coalesce(year.inhparent, i.inhparent) = t.oid) is not true",
    replace: "i.inhparent is null",
    tests: ["etl/testing/scenarios/lost_tables.test.ts"],
    simulate: false,
  },
  {
    name: "a load looks up a sample in all partitions",
    file: "etl/load/sample.ts",
    find: "          and i.created_on = any (${sql.param(dates)}::date[])\n",
    replace: "",
    tests: [MERGING],
    simulate: false,
  },
  {
    name: "a load of more partitions than the server has locks for is begun",
    file: "etl/load/prepare.ts",
    find: "if (needed <= locks) return;",
    replace: "if (needed > 0) return;",
    tests: ["etl/retire.test.ts"],
    simulate: false,
  },
  {
    name: "with a decimal comma 12.500 is 12.50",
    file: "etl/drop/value/total.ts",
    find: 'ambiguous: decimalComma && mark === "." && fraction.length === 3,',
    replace: "ambiguous: false,",
    tests: ["etl/drop/validate.test.ts"],
    simulate: false,
  },
  {
    name: "the direct way's days start at midnight",
    file: "etl/load/direct/keys.ts",
    find: "Math.floor((wall - dayStartsAt) / DAY_SECONDS)",
    replace: "Math.floor((wall - 0 * dayStartsAt) / DAY_SECONDS)",
    tests: ["etl/load/direct/direct.test.ts"],
    simulate: false,
  },
  {
    name: "a record of several lines reaches over the header",
    file: "etl/drop/lines.ts",
    find: "header && decideRecords(reading, batch, { from, to: header.from, last: true })",
    replace: "header && decideRecords(reading, batch, { from, to: header.next, last: true })",
    tests: ["etl/drop/read.test.ts"],
    simulate: false,
  },
  {
    name: "groups that are entered before all chunks are written are entered again",
    file: "etl/load/direct/insert.ts",
    find: "  groups.clear();\n",
    replace: "",
    tests: ["etl/load/direct/direct.test.ts"],
    simulate: false,
  },
  {
    name: "the last of 10,000 new venues is left out",
    file: "etl/load/prepare.ts",
    find: "ids.slice(from, from + VENUES_PER_INSERT)",
    replace: "ids.slice(from, from + VENUES_PER_INSERT - 1)",
    tests: [MERGING],
    simulate: false,
  },
  {
    name: "verify takes no lock against a detach",
    file: VERIFY,
    find: "    await shareLockUntilEnd(tx, LOCK.verifyPartition, partitionId);\n",
    replace: "",
    tests: [VERIFYING],
  },
  {
    name: "the ledger is compared statement by statement",
    file: VERIFY,
    find: '  const findings = await withTransaction({ ...options, isolation: "repeatable read" }, (tx) =>\n    checkLedger',
    replace: "  const findings = await withTransaction(options, (tx) =>\n    checkLedger",
    tests: [VERIFYING],
  },
  {
    name: "watch takes a file that has not settled",
    file: "etl/watch.ts",
    find: "      settled.filter((file) => isDue",
    replace: "      now.filter((file) => isDue",
    tests: ["etl/commands/watch.test.ts"],
    simulate: false,
  },
  {
    name: "load --again releases the same bytes of every sync date",
    file: "etl/load/claim.ts",
    find: "        eq(loads.syncedOn, syncedOn),\n        isGivenVenue",
    replace: "        isGivenVenue",
    tests: [CLAIMING],
    simulate: false,
  },
  {
    name: "a load whose commit was sent is known by its number alone",
    file: "etl/load/claim.ts",
    find: "        eq(loads.sha256, past.content.sha256),\n",
    replace: "",
    tests: [CLAIMING],
  },
  {
    name: "a sync date to come is taken",
    file: LOAD,
    find: "if (tomorrow === null || given === syncedOn) return undefined;",
    replace: "if (tomorrow !== undefined || given === syncedOn) return undefined;",
    tests: [CLAIMING],
    simulate: false,
  },
  {
    name: "what is pending on the first day of the next partition counts for this one",
    file: "db/migrations/0005_partition_names.sql",
    find: "d.created_on >= p.lower and d.created_on < p.upper",
    replace: "d.created_on between p.lower and p.upper",
    tests: ["etl/reports/status.test.ts"],
  },
  {
    name: "a partition is made that ends when the warehouse begins",
    file: "db/migrations/0005_partition_names.sql",
    find: "missing.upper <= first_date",
    replace: "missing.upper < first_date",
    tests: ["db/roles/grant.test.ts"],
    simulate: false,
  },
  {
    name: "an error of COPY that comes between two writes is lost",
    file: "etl/load/copy.ts",
    find: "    failure ??= error;\n    fail?.(failure);",
    replace: "    fail?.(error);",
    tests: ["etl/load/copy.test.ts"],
  },
  {
    name: "the reader may look into the venues",
    file: "db/roles/rights.ts",
    find: '  venues: forLoader("select", "insert(venue_id)"),',
    replace: '  venues: { ...forLoader("select", "insert(venue_id)"), reader: ["select"] },',
    tests: ["db/roles/grant.test.ts"],
    simulate: false,
  },
  {
    name: "the view hides a group of zero euros while it changes",
    file: "db/migrations/0001_reports.sql",
    find: "group by created_on, venue_key\nhaving sum(invoices) <> 0;",
    replace: "group by created_on, venue_key\nhaving sum(total) <> 0;",
    tests: ["etl/reports/totals.test.ts"],
  },
  {
    name: "short work makes a connection to look for waits",
    file: "db/waits/watch.ts",
    find: "? afterMs / 5 : afterMs);",
    replace: "? afterMs / 5 : 0);",
    tests: [WAITING],
    simulate: false,
  },
  {
    name: "a wait that is given up and begun anew is never a long one",
    file: "db/waits/watch.ts",
    find: "attempt.gaveUpAt ??= began;",
    replace: "attempt.gaveUpAt = undefined;",
    tests: [WAITING],
    simulate: false,
  },
  {
    name: "who holds the staging tables is not looked for",
    file: "db/waits/watch.ts",
    find: "      polls.add(poll);\n",
    replace: "",
    tests: [WAITING],
    simulate: false,
  },
  {
    name: "nobody is told for which lock a session waits",
    file: "db/waits/look.ts",
    find: "and wait_event_type = 'Lock'\"",
    replace: "and wait_event_type = 'LWLock'\"",
    tests: [WAITING],
    simulate: false,
  },
  {
    name: "row policies may be off, as the login says",
    file: "db/client.ts",
    find: '  row_security: "on",\n',
    replace: "",
    tests: [SETTINGS],
    simulate: false,
  },
  {
    name: "numbers are printed as the login says",
    file: "db/client.ts",
    find: '  extra_float_digits: "1",\n',
    replace: "",
    tests: [SETTINGS],
    simulate: false,
  },
  {
    name: "commits may be lost in a crash of the server, as the login says",
    file: "db/client.ts",
    find: "current_setting('synchronous_commit') = 'off'",
    replace: "current_setting('synchronous_commit') = 'never'",
    tests: [SETTINGS],
    simulate: false,
  },
  {
    name: "a session whose triggers do not fire goes to work",
    file: "db/client.ts",
    find: 'answering.replication !== "origin"',
    replace: 'answering.replication === "never"',
    tests: [SETTINGS],
    simulate: false,
  },
  {
    name: "a full lock table is not explained",
    file: "db/connection/refusal.ts",
    find: "return isLockTableFull(error) ?",
    replace: "return isLockTableFull(undefined) ?",
    tests: [SETTINGS],
    simulate: false,
  },
  {
    name: "a connection pooler that gives no session is waited for",
    file: "db/connection/pooler.ts",
    find: "client.query<Row>({ ...query, ...IN_TIME })",
    replace: "client.query<Row>(query)",
    tests: ["etl/testing/scenarios/pooler.test.ts"],
    simulate: false,
  },
];
