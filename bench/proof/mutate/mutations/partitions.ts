/** Broken partitions. */
import type { Mutation } from "../mutation.ts";

const CHECKPOINTING = "etl/reports/checkpoints.test.ts";
const PARTITIONS_BY_YEAR = "db/migrations/0020_partitions_by_year.sql";

export const OF_PARTITIONS: readonly Mutation[] = [
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
    name: "a partition is closed without what is pending in it",
    file: "db/partitions/remove.ts",
    find: "    await options.beforeClosing?.(tx, held);\n    await refuseOutdated(tx, held);\n",
    replace: "",
    tests: ["etl/retire.test.ts"],
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
    name: "sessions are told only once of a new partition",
    file: "db/partitions/announce.ts",
    find: "  await db.execute(sql`select warehouse.announce_partitions()`);\n",
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
    name: "a partition that was away keeps its proof",
    file: "db/partitions/attach.ts",
    find: 'eq(proofs.subject, "partition"), ',
    replace: 'eq(proofs.subject, "ledger"), ',
    tests: ["etl/verify/slice.test.ts"],
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
    name: "two sessions announce the same partition, and one waits for a load that holds it by then",
    file: "db/partitions/announce.ts",
    find: "withSessionLock(session, LOCK.ensurePartitions, () => announceMissing(session, options.partitions))",
    replace: "announceMissing(session, options.partitions)",
    tests: ["db/partitions/create.test.ts"],
    simulate: false,
  },
];
