/** A broken ledger: what the database itself refuses or writes. */
import type { Mutation } from "../mutation.ts";

const GUARDED_LEDGER = "db/migrations/0017_guarded_ledger.sql";
const GUARDED_DECISIONS = "db/migrations/0021_guarded_decisions.sql";
const ATTEMPTS = "etl/testing/scenarios/attempts.test.ts";

export const OF_THE_LEDGER: readonly Mutation[] = [
  {
    name: "known_at is not in the order of the commits",
    file: GUARDED_LEDGER,
    find: "  perform pg_advisory_xact_lock(0x526f6c35, 0);\n",
    replace: "",
    tests: ["etl/testing/scenarios/history.test.ts", "etl/testing/scenarios/readers.test.ts"],
  },
  {
    name: "known_at follows a clock that jumps back",
    file: GUARDED_LEDGER,
    find: "greatest(clock_timestamp(), (select max(l.known_at) from warehouse.loads l) + interval '1 microsecond')",
    replace: "clock_timestamp()",
    tests: ["etl/testing/scenarios/crash.test.ts"],
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
];
