/** Broken proofs. */
import type { Mutation } from "../mutation.ts";

const CHECKPOINTING = "etl/reports/checkpoints.test.ts";
const LEDGER_CHECK = "etl/verify/ledger.ts";
const STANDING = "etl/verify/standing.ts";
const ATTEMPTS = "etl/testing/scenarios/attempts.test.ts";
const PROVING = "etl/verify/subjects.ts";
const RECORDED_PROOFS = "db/migrations/0024_proofs.sql";
const SLICING = "etl/verify/slice.test.ts";
const VERIFYING = "etl/verify/verify.test.ts";

export const OF_PROOFS: readonly Mutation[] = [
  {
    name: "verify does not look for invoices of loads that are undone",
    file: STANDING,
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
    name: "verify takes no lock against a detach",
    file: PROVING,
    find: "    await shareLockUntilEnd(tx, LOCK.verifyPartition, partitionId);\n",
    replace: "",
    tests: [VERIFYING],
  },
  {
    name: "the ledger is compared statement by statement",
    file: PROVING,
    find: '    { ...options, isolation: "repeatable read" },\n',
    replace: "    options,\n",
    tests: [VERIFYING],
  },
  {
    name: "a partition that does not verify is recorded as proved",
    file: PROVING,
    find: "{ ...begun, diverged: count() > 0 });\n    return checked;\n  });\n}\n\n/** Proves that what is pending",
    replace:
      "{ ...begun, diverged: count() < 0 });\n    return checked;\n  });\n}\n\n/** Proves that what is pending",
    tests: [SLICING],
    simulate: false,
  },
  {
    name: "a proof is said to hold what commits while it runs",
    file: PROVING,
    find: "    const begun = await beginProof(tx);\n    const checked = await checkPartition(tx, options.settings, current, found);\n",
    replace:
      "    const checked = await checkPartition(tx, options.settings, current, found);\n    const begun = await beginProof(tx);\n",
    tests: [SLICING],
    simulate: false,
  },
  {
    name: "closings that cannot be proved are recorded as proved",
    file: PROVING,
    find: "    ({ unprovable }) => unprovable.length === 0,\n",
    replace: "    ({ unprovable }) => unprovable.length >= 0,\n",
    tests: [SLICING],
    simulate: false,
  },
  {
    name: "slices leave the ledger out",
    file: "etl/verify/slice.ts",
    find: "      await proveLedger(options);\n",
    replace: "",
    tests: [ATTEMPTS, VERIFYING],
    simulate: false,
  },
  {
    name: "a slice does not look for what is pending and belongs to no partition",
    file: "etl/verify/slice.ts",
    find: "  await proveQueue(options);\n",
    replace: "",
    tests: [ATTEMPTS, VERIFYING],
    simulate: false,
  },
  {
    name: "a slice begins what takes longer than it has",
    file: "etl/verify/slice.ts",
    find: "(leftMs <= 0 || (turn.durationMs ?? 0) > leftMs)",
    replace: "leftMs <= 0",
    tests: [SLICING],
    simulate: false,
  },
  {
    name: "a proof may be of a time to come",
    file: RECORDED_PROOFS,
    find: "least(record_proof.began_at, clock_timestamp())",
    replace: "least(record_proof.began_at, 'infinity')",
    tests: [SLICING],
    simulate: false,
  },
  {
    name: "of two proofs at once the one that ends later counts",
    file: RECORDED_PROOFS,
    find: "\n  where greatest(f.proved_at, f.diverged_at) < began;",
    replace: ";",
    tests: [SLICING],
    simulate: false,
  },
];
