/** Broken undos. */
import type { Mutation } from "../mutation.ts";

const SETTLE = "etl/undo/settle.ts";
const UNDO_LOCK = "etl/undo/lock.ts";
const UNDOING = "etl/undo/undo.test.ts";
const UNDO_CRASH = "etl/testing/scenarios/undo_crash.test.ts";

export const OF_UNDOS: readonly Mutation[] = [
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
    name: "what a load says that counts again is not looked at",
    file: "etl/undo/settle.ts",
    find: " or said.kept_by in (${turnedLately()})",
    replace: "",
    tests: ["etl/undo/undo.test.ts"],
    simulate: false,
  },
];
