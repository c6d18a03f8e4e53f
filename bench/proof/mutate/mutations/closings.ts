/** Broken closings. */
import type { Mutation } from "../mutation.ts";

const CLOSING = "etl/closings/closings.test.ts";
const REFUSE_CLOSED = "etl/closings/refuse_closed.test.ts";

export const OF_CLOSINGS: readonly Mutation[] = [
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
];
