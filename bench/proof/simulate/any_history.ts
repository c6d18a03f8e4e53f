/** How likely a history holds what: fast-check makes one from a seed, and finds a smaller one that fails as well. */
import fc from "fast-check";
import { LOAD_STEPS } from "../../../etl/load/steps.ts";
import { LIES, type LieName } from "../../../etl/testing/lies.ts";
import { UNDO_STEPS } from "../../../etl/undo/undo.ts";
import {
  type Act,
  BAD_LINES,
  type Content,
  ERROR_STATES,
  FAULTY_TABLES,
  GRANULARITIES,
  HELD,
  type History,
  type LoadFault,
  NAMES,
  RETRY_STEPS,
  type RefreshFault,
  type RetryFault,
  SAYS,
  type UndoFault,
  VENUES,
  ZONES,
} from "./history.ts";

const lineFields = {
  venue: fc.oneof({ weight: 4, arbitrary: fc.nat(1) }, { weight: 1, arbitrary: fc.nat(VENUES.length - 1) }),
  invoice: fc.nat(4),
  day: fc.oneof(
    { weight: 5, arbitrary: fc.integer({ min: -1, max: 4 }) },
    { weight: 2, arbitrary: fc.integer({ min: -75, max: -2 }) },
    { weight: 1, arbitrary: fc.integer({ min: -800, max: -76 }) },
  ),
  second: fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom(0, 43_200, 86_399) },
    { weight: 1, arbitrary: fc.nat(86_399) },
  ),
  cents: fc.oneof(
    { weight: 4, arbitrary: fc.integer({ min: -300, max: 30_000 }) },
    { weight: 1, arbitrary: fc.constantFrom(0, 1, 99_999_999_999_999, -99_999_999_999_999) },
  ),
  form: fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(59) }),
};
const isVoid = fc.oneof(
  { weight: 4, arbitrary: fc.constant(false) },
  { weight: 1, arbitrary: fc.constant(true) },
);
const line = fc.record({ ...lineFields, isVoid, comma: fc.constant(false) });
const commaLine = fc.record({ ...lineFields, isVoid, comma: fc.constant(true) });

const contentFields = {
  lines: fc.oneof(
    { weight: 6, arbitrary: fc.array(line, { maxLength: 25 }) },
    {
      weight: 4,
      arbitrary: fc.array(
        fc.oneof(
          { weight: 8, arbitrary: line },
          { weight: 2, arbitrary: commaLine },
          { weight: 1, arbitrary: fc.constantFrom(...BAD_LINES) },
        ),
        { maxLength: 25 },
      ),
    },
  ),
  header: fc.boolean(),
  delimiter: fc.constantFrom(",", ",", ";", "\t"),
  crlf: fc.boolean(),
  gzip: fc.oneof({ weight: 4, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
  says: fc.oneof(
    { weight: 6, arbitrary: fc.constant("nothing" as const) },
    { weight: 3, arbitrary: fc.constantFrom(...SAYS) },
  ),
  spoiled: fc.oneof(
    { weight: 14, arbitrary: fc.constant(null) },
    {
      weight: 1,
      arbitrary: fc.constantFrom("no_sync_date" as const, "bad_header" as const, "truncated" as const),
    },
  ),
};
/** Of few groups, and without lines that are refused, so that drops that hold all there is meet the others. */
const nearContent = fc.record({
  ...contentFields,
  lines: fc.array(
    fc.record({ ...lineFields, isVoid, comma: fc.constant(false), venue: fc.nat(1), day: fc.nat(1) }),
    { minLength: 1, maxLength: 12 },
  ),
  says: fc.constantFrom(...SAYS, "nothing" as const, "whole" as const),
  spoiled: fc.constant(null),
});
const content: fc.Arbitrary<Content> = fc.oneof(
  { weight: 3, arbitrary: fc.record(contentFields) },
  { weight: 2, arbitrary: nearContent },
);

const drop = fc.record({
  content: fc.nat(7),
  syncDay: fc.oneof(
    { weight: 6, arbitrary: fc.integer({ min: 3, max: 7 }) },
    { weight: 1, arbitrary: fc.integer({ min: -3, max: 2 }) },
  ),
  name: fc.oneof(
    { weight: 3, arbitrary: fc.constant(0) },
    { weight: 1, arbitrary: fc.nat(NAMES.length - 1) },
  ),
});

function stepFaults<Step extends string>(steps: readonly Step[]) {
  const at = fc.constantFrom(...steps);
  return [
    fc.record({ kind: fc.constant("kill" as const), at }),
    fc.record({ kind: fc.constant("abort" as const), at }),
    fc.record({ kind: fc.constant("pause" as const), at, ms: fc.integer({ min: 1, max: 60 }) }),
    fc.record({ kind: fc.constant("terminate" as const), at }),
    fc.record({ kind: fc.constant("crash" as const), at }),
    fc.record({ kind: fc.constant("cut" as const), bytes: fc.integer({ min: 500, max: 12_000 }) }),
    fc.record({ kind: fc.constant("swallow" as const) }),
  ] as const;
}

const loadFault: fc.Arbitrary<LoadFault> = fc.oneof(
  ...stepFaults(LOAD_STEPS),
  fc.record({
    kind: fc.constant("file" as const),
    at: fc.constantFrom(...LOAD_STEPS),
    change: fc.constantFrom("append" as const, "truncate" as const, "vanish" as const, "replace" as const),
  }),
);
const undoFault: fc.Arbitrary<UndoFault> = fc.oneof(...stepFaults(UNDO_STEPS));
const retryFault: fc.Arbitrary<RetryFault> = fc.oneof(...stepFaults(RETRY_STEPS));
const refreshFault: fc.Arbitrary<RefreshFault> = fc.record({
  kind: fc.constantFrom("kill" as const, "terminate" as const, "crash" as const),
});

/** One of several, most often none. */
function seldom<T>(weight: number, arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | null> {
  return fc.oneof({ weight, arbitrary: fc.constant(null) }, { weight: 1, arbitrary });
}

const load: fc.Arbitrary<Act> = fc.record({
  do: fc.constant("load" as const),
  drop: fc.nat(9),
  careful: fc.boolean(),
  strict: fc.oneof({ weight: 4, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
  chunkLines: fc.constantFrom(262_144, 262_144, 5),
  replaces: seldom(9, fc.nat(99)),
  fault: seldom(2, loadFault),
});

const act: fc.Arbitrary<Act> = fc.oneof(
  { weight: 44, arbitrary: load },
  {
    // It costs most of all: a process is started for it.
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("command" as const),
      drop: fc.nat(9),
      signal: fc.constantFrom("SIGTERM" as const, "SIGINT" as const, "SIGKILL" as const, null),
      afterMs: fc.nat(250),
    }),
  },
  {
    weight: 14,
    arbitrary: fc.record({
      do: fc.constant("refresh" as const),
      strategy: fc.constantFrom("auto" as const, "delta" as const, "partition" as const, "full" as const),
      fault: seldom(5, refreshFault),
    }),
  },
  {
    weight: 18,
    arbitrary: fc.record({
      do: fc.constant("undo" as const),
      what: fc.constantFrom("load" as const, "undo" as const),
      entry: fc.nat(99),
      fault: seldom(2, undoFault),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant("retry" as const),
      open: fc.nat(99),
      fault: seldom(2, retryFault),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("dismiss" as const), open: fc.nat(99) }) },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("close" as const),
      day: fc.oneof(
        { weight: 2, arbitrary: fc.integer({ min: -1, max: 6 }) },
        { weight: 1, arbitrary: fc.integer({ min: -100, max: 0 }) },
      ),
      days: fc.constantFrom(1, 2, 7, 90, 1000),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant("refuse closed" as const),
      refuse: fc.constantFrom(true, true, false),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("prune" as const) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("checkpoint" as const) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("verify" as const),
      identity: fc.boolean(),
      bySlices: fc.boolean(),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("take out" as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("init" as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant("ensure" as const), day: fc.integer({ min: -900, max: 9 }) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constantFrom("detach" as const, "attach" as const, "attach" as const, "drop" as const),
      partition: fc.nat(99),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("hold" as const),
      what: fc.constantFrom(...HELD),
      ms: fc.integer({ min: 5, max: 120 }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("error" as const),
      table: fc.constantFrom(...FAULTY_TABLES),
      state: fc.constantFrom(...ERROR_STATES),
      times: fc.integer({ min: 1, max: 2 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("full" as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("crash" as const), afterMs: fc.nat(80) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant("clock" as const),
      minutes: fc.integer({ min: 1, max: 100_000 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("tamper" as const), row: fc.nat(99) }) },
  {
    weight: 24,
    arbitrary: fc.record({
      do: fc.constant("hostile" as const),
      lie: fc.constantFrom(...(Object.keys(LIES) as LieName[])),
      about: fc.nat(99),
      when: fc.constantFrom("beside" as const, "after" as const),
      ms: fc.integer({ min: 1, max: 120 }),
    }),
  },
);

/** Small histories: more of them find more than long ones, and what they find is smaller. */
export const anyHistory: fc.Arbitrary<History> = fc.noBias(
  fc.record({
    timeZone: fc.constantFrom(...ZONES),
    granularity: fc.constantFrom(...GRANULARITIES),
    contents: fc.array(content, { minLength: 2, maxLength: 6 }),
    drops: fc.array(drop, { minLength: 3, maxLength: 8 }),
    steps: fc.array(fc.array(act, { minLength: 1, maxLength: 5 }), { minLength: 1, maxLength: 6 }),
  }),
);
