/** Which seconds are taken: those whose `created_on` is a date that a drop may have. */
import type { RejectReason } from "./reject.ts";
import type { LineRules } from "./rules.ts";
import type { TimeKind, Timestamp } from "./value/timestamp.ts";

/**
 * The seconds that are taken, as alternating starts and ends of spans, ends not included: `[start, end,
 * start, end, …]`.
 */
export type OpenSpans = Readonly<Record<TimeKind, readonly number[]>>;

export function findOpenSpans(rules: LineRules): OpenSpans {
  return { walls: openSpans(rules, "walls"), instants: openSpans(rules, "instants") };
}

/** Why a time is not taken; undefined when it is. */
export function checkCreated(
  { kind, second }: Pick<Timestamp, "kind" | "second">,
  open: OpenSpans,
  rules: LineRules,
): RejectReason | undefined {
  if (isWithin(open[kind], second)) return undefined;
  if (!isWithin(rules.earliest[kind], second)) return "created_before_earliest";
  if (isWithin(rules.afterSync[kind], second)) return "created_after_sync";
  const inPartition = rules.closed.some(({ from, to }) => isBetween(from[kind], to[kind], second));
  return inPartition ? "partition_closed" : "period_closed";
}

function isBetween(from: readonly number[], to: readonly number[], second: number): boolean {
  return isWithin(from, second) && !isWithin(to, second);
}

function isWithin(spans: readonly number[], second: number): boolean {
  return spanAt(spans, second) % 2 === 1;
}

/** How many entries of the ascending list are at or before the second. Odd means: within a span. */
function spanAt(ascending: readonly number[], second: number): number {
  let from = 0;
  let to = ascending.length;
  while (from < to) {
    const middle = (from + to) >>> 1;
    if ((ascending[middle] ?? 0) <= second) from = middle + 1;
    else to = middle;
  }
  return from;
}

/**
 * Counts at each threshold how many reasons to reject a line hold: one before the earliest date, one after
 * the sync date, one within each range of closed partitions or periods. A second is taken where the count is zero.
 */
function openSpans(rules: LineRules, kind: TimeKind): number[] {
  const changes = [
    ...alternate(rules.earliest[kind], -1),
    ...alternate(rules.afterSync[kind], 1),
    ...[...rules.closed, ...(rules.closedPeriods ?? [])].flatMap(({ from, to }) => [
      ...alternate(from[kind], 1),
      ...alternate(to[kind], -1),
    ]),
  ].sort((a, b) => a.second - b.second);
  const spans: number[] = [];
  let reasons = 1;
  for (const { second, change } of changes) {
    reasons += change;
    if ((reasons === 0) !== (spans.length % 2 === 1)) spans.push(second);
  }
  return spans;
}

function alternate(threshold: readonly number[], first: 1 | -1): { second: number; change: number }[] {
  return threshold.map((second, index) => ({ second, change: index % 2 === 0 ? first : -first }));
}

/**
 * A check of single seconds. It remembers the span of the last one, because times are nearly always of one
 * span.
 */
export function createSpanCheck(spans: readonly number[]): (second: number) => boolean {
  let start = Number.POSITIVE_INFINITY;
  let end = Number.POSITIVE_INFINITY;
  return (second) => {
    if (second >= start && second < end) return true;
    const before = spanAt(spans, second);
    if (before % 2 === 0) return false;
    start = spans[before - 1] ?? Number.POSITIVE_INFINITY;
    end = spans[before] ?? Number.POSITIVE_INFINITY;
    return true;
  };
}
