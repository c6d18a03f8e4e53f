/** Broken refreshes, rebuilds and queues. */
import type { Mutation } from "../mutation.ts";

const REFRESH = "etl/refresh/refresh.ts";
const APPLY = "etl/refresh/apply.ts";
const REBUILD = "etl/refresh/rebuild.ts";
const HISTORY = "etl/testing/scenarios/history.test.ts";
const PENDING_EPOCHS = "db/migrations/0023_pending_epochs.sql";
const QUEUEING = "etl/refresh/queue.test.ts";

export const OF_REFRESHES: readonly Mutation[] = [
  {
    name: "a queue that has grown is left to the autovacuum",
    file: "etl/refresh/refresh.ts",
    find: "const PENDING_BYTES_WORTH_A_VACUUM = 512 * 1024;",
    replace: "const PENDING_BYTES_WORTH_A_VACUUM = 512 * 1024 * 1024;",
    tests: ["etl/refresh/refresh.test.ts"],
    simulate: false,
  },
  {
    name: "a refresh makes a checkpoint that is not full",
    file: "etl/refresh/refresh.ts",
    find: "offset ${ENTRIES_PER_CHECKPOINT - 1}",
    replace: "offset ${ENTRIES_PER_CHECKPOINT - 2}",
    tests: ["etl/reports/checkpoints.test.ts"],
    simulate: false,
  },
  {
    name: "the floor of the queue is raised while somebody enters something",
    file: PENDING_EPOCHS,
    find: "and l.mode = 'RowExclusiveLock' and l.granted",
    replace: "and l.mode = 'ShareRowExclusiveLock' and l.granted",
    tests: [QUEUEING],
  },
  {
    name: "the floor of the queue is raised over what is pending",
    file: PENDING_EPOCHS,
    find: "else least(begun, oldest) end",
    replace: "else begun end",
    tests: [QUEUEING],
  },
  {
    name: "the floor of the queue is raised by who does not see what was committed meanwhile",
    file: PENDING_EPOCHS,
    find: "  if current_setting('transaction_isolation') <> 'read committed' then return; end if;\n",
    replace: "",
    tests: [QUEUEING],
    simulate: false,
  },
  {
    name: "an epoch that was set back hides what is entered from then on",
    file: PENDING_EPOCHS,
    find: "case when floor >= begun then 0 else",
    replace: "case when floor >= begun then floor else",
    tests: [QUEUEING],
    simulate: false,
  },
  {
    name: "a refresh never raises the floor of the queue",
    file: REFRESH,
    find: "if (row?.raise === true)",
    replace: "if (row?.raise === undefined)",
    tests: [QUEUEING],
    simulate: false,
  },
  {
    name: "two refreshes of one partition go on at once",
    file: "etl/refresh/partition.ts",
    find: "[...OPENING, lockStatement(LOCK.refreshPartition, target.partition.partitionId)]",
    replace: "[...OPENING, `select ${LOCK.refreshPartition} + ${lockStatement.length}`]",
    tests: ["etl/refresh/refresh.test.ts"],
  },
  {
    name: "a refresh takes changes that it does not delete",
    file: APPLY,
    find: `      delete from \${pending}
      where epoch >= (select epoch from \${pendingFloor}) and created_on >= \${lower} and created_on < \${upper}
        and exists (select from \${partitions} where partition = \${partition} and state in ('open', 'dropped'))
      returning created_on, venue_key, invoices, total
`,
    replace: `      select created_on, venue_key, invoices, total from \${pending}
      where epoch >= (select epoch from \${pendingFloor}) and created_on >= \${lower} and created_on < \${upper}
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
    find: '{ refreshed: reports.some(({ method }) => method !== "none") }',
    replace: '{ refreshed: reports.some(({ method }) => method === "none") }',
    tests: ["etl/testing/scenarios/crash.test.ts"],
    simulate: false,
  },
  {
    name: "a refresh is counted as if it took no time",
    file: "etl/refresh/times.ts",
    find: "clock_timestamp() - statement_timestamp()",
    replace: "statement_timestamp() - statement_timestamp()",
    tests: ["etl/refresh/times.test.ts"],
    simulate: false,
  },
];
