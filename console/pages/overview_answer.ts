/** What the overview says. */
import * as v from "valibot";
import { count, date, euros, instant, month } from "../schemas.ts";
import { listedLoad } from "./loads.ts";

/** Venues that are named. */
export const NAMED_VENUES = 6;

const total = { invoices: count(), total: euros() };
const span = v.pipe(
  v.object({ from: date(), to: date(), ...total }),
  v.description("The first dates of a month, up to `to` inclusive, as many as the newest month has."),
);

export const overviewAnswer = v.object({
  today: date(),
  newest: v.pipe(
    v.nullable(date()),
    v.description("Newest creation date, up to today; null: nothing is loaded."),
  ),
  months: v.array(v.object({ month: month(), ...total })),
  days: v.array(v.object({ date: date(), ...total })),
  compared: v.nullable(v.object({ newest: span, before: span, yearBefore: span })),
  freshness: v.object({
    partitions: count(),
    ...total,
    pendingChanges: count(),
    pendingPartitions: count(),
    stalePartitions: count(),
    refreshedAt: v.nullable(instant()),
    newestKnownAt: v.nullable(instant()),
  }),
  loads: v.array(listedLoad),
  proofs: v.pipe(
    v.object({
      oldest: v.nullable(v.object({ name: v.string(), provedAt: v.nullable(instant()) })),
      never: count(),
      diverged: v.array(v.object({ name: v.string(), divergedAt: instant() })),
    }),
    v.description("What was not proved for longest, how many parts never were, and what did not verify."),
  ),
  openRejects: v.object({ files: count(), lines: count(), total: euros() }),
  silence: v.pipe(
    v.nullable(v.object({ asOf: instant(), venues: v.array(v.string()), silent: count(), missing: count() })),
    v.description("At most six venues by name. Null as long as it is being counted."),
  ),
  closings: v.pipe(
    v.nullable(
      v.array(
        v.object({
          closing: v.number(),
          period: v.string(),
          ...total,
          closedAt: instant(),
          changedGroups: count(),
          changedTotal: euros(),
        }),
      ),
    ),
    v.description("The newest, with what has changed since. Null as long as it is being counted."),
  ),
});
export type Overview = v.InferOutput<typeof overviewAnswer>;
