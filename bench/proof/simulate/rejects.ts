/** Rejected lines: what closed partitions refuse, what retries take in, and what stays open. */
import type { ReadLine } from "../../../etl/testing/models/format.ts";
import type { World } from "../../../etl/testing/models/line.ts";
import type { SaidLine } from "../../../etl/testing/models/warehouse.ts";
import { Difference, expectSame, expectTrue } from "./compare.ts";
import type { DropFile } from "./jobs.ts";
import { type Disturbance, hashOf, type Life, type Meanwhile, type RetryAct, readLines } from "./life.ts";
import type { Observation, ObservedLoad } from "./observe.ts";
import { isUndoneBy, type Recent } from "./undos.ts";

export const NOTHING_MEANWHILE: Meanwhile = { move: undefined, replacing: new Set() };

/**
 * The ranges of dates that took no lines of a load or a retry. Whether a partition that moved in this step did, or
 * a period that was closed in it, the quarantine tells: the load came before with all lines of those dates, or after
 * it with all of them.
 */
export function closedFor(
  life: Life,
  { partitions, rejects, closings }: Observation,
  of: {
    readonly load: ObservedLoad;
    readonly syncedOn: string;
    readonly meanwhile: Meanwhile;
    readonly isRetry: boolean;
  },
): Pick<World, "closed" | "closedPeriods"> {
  const { load, syncedOn, meanwhile, isRetry } = of;
  const { move, replacing } = meanwhile;
  const refused = new Map(
    rejects.filter(({ load_id }) => load_id === load.load_id).map(({ line, reason }) => [line, reason]),
  );
  const lines = readLines(life, { sha256: load.sha256, syncedOn, isRetry }) ?? [];
  const reasonsWithin = (lower: string, upper: string) =>
    lines.flatMap(({ number, decision }) => {
      if (decision.kind !== "taken") return [];
      const { createdOn } = decision.invoice;
      return createdOn >= lower && createdOn < upper ? [refused.get(number)] : [];
    });
  const closed = partitions.filter(({ partition, lower, upper }) =>
    partition === move?.partition
      ? reasonsWithin(lower, upper).includes("partition_closed")
      : life.closed.has(partition),
  );
  const isSure = load.retry_of !== null || !replacing.has(load.sha256 ?? "");
  const wasClosed = (closing: number) => life.closings.some((one) => one.closing === closing);
  const periods = closings.filter(
    ({ closing, first_date, date_after }) =>
      life.refusesClosed &&
      ((isSure && wasClosed(closing)) ||
        reasonsWithin(first_date, date_after).every((reason) => reason?.endsWith("_closed"))),
  );
  return {
    closed: closed.map(({ lower, upper }) => [lower, upper] as const),
    closedPeriods: periods.map(({ first_date, date_after }) => [first_date, date_after] as const),
  };
}

/**
 * The lines that a retry read: those that were open. All lines of the drop are read, for a later one counts, but
 * those that were dismissed.
 */
export function linesOfRetry(
  life: Life,
  observed: Observation,
  retry: ObservedLoad,
  meanwhile: Meanwhile,
): readonly SaidLine[] {
  const { load_id: loadId, sha256, synced_on: syncedOn, retry_of: root } = retry;
  if (syncedOn === null || root === null) throw new Difference(`${loadId} is a retry of nothing`);
  const family = observed.loads
    .filter((one) => (one.load_id === root || one.retry_of === root) && one.load_id < loadId)
    .map(({ load_id }) => load_id);
  const refusedBy = observed.rejects.filter(({ load_id }) => family.includes(load_id));
  const isDismissed = ({ load_id, reason }: { readonly load_id: number; readonly reason: string }) =>
    observed.dismissals.some((one) => one.load_id === load_id && one.reason === reason);
  const newest = Math.max(...family);
  const open = new Set(
    refusedBy.filter((one) => one.load_id === newest && !isDismissed(one)).map(({ line }) => line),
  );
  const dismissed = new Set(refusedBy.filter(isDismissed).map(({ line }) => line));
  const closed = closedFor(life, observed, { load: retry, syncedOn, meanwhile, isRetry: true });
  const lines = (readLines(life, { sha256, syncedOn, ...closed, isRetry: true }) ?? []).filter(
    ({ number }) => !dismissed.has(number),
  );
  const lastOf = new Map(lines.map((line) => [keyOf(line), line.number]));
  return lines
    .filter(({ number }) => open.has(number))
    .map((line) => ({
      ...line,
      isOverridden: line.decision.kind === "taken" && lastOf.get(keyOf(line)) !== line.number,
    }));
}

function keyOf({ decision, number }: ReadLine): string {
  if (decision.kind !== "taken") return String(number);
  const { createdOn, venue, uuid } = decision.invoice;
  return `${createdOn} ${uuid} ${venue}`;
}

/** The file of a drop that is in, by the name that it had. */
export function fileOf({ drops }: Life, { file_name: name, sha256 }: ObservedLoad): DropFile {
  const all = drops.flatMap(({ file }) => [file.bytes, file.changed]);
  const bytes = all.find((one) => hashOf(one) === sha256);
  if (bytes === undefined) throw new Error(`${name} has a content that no drop has`);
  return { name, bytes, changed: bytes };
}

/** What is open is what the newest entry of each load that counts refused, but what was dismissed. */
export function compareOpen({ open, loads, rejects, dismissals }: Observation): void {
  const counting = loads.filter(
    ({ known_at, undo_of, status }) => known_at !== null && undo_of === null && status !== "undone",
  );
  const isNewest = ({ load_id, retry_of }: ObservedLoad) =>
    !loads.some((one) => one.retry_of === (retry_of ?? load_id) && one.load_id > load_id);
  const expected = new Map<string, number>();
  for (const entry of counting.filter(isNewest)) {
    for (const { load_id, reason } of rejects) {
      if (load_id !== entry.load_id) continue;
      if (dismissals.some((one) => one.load_id === load_id && one.reason === reason)) continue;
      const text = `${load_id} | ${reason}`;
      expected.set(text, (expected.get(text) ?? 0) + 1);
    }
  }
  expectSame(
    "open rejects",
    open.map(({ load_id, reason, lines }) => `${load_id} | ${reason} | ${lines}`),
    [...expected].map(([text, lines]) => `${text} | ${lines}`),
  );
}

/** Compares what a retry's process said with the ledger, and with what it had to come to. */
export function checkRetry(
  life: Life,
  observed: Observation,
  { root, done }: RetryAct,
  { disturbance, recent }: { readonly disturbance: Disturbance; readonly recent: Recent },
): void {
  const { end, struck } = done;
  const what = `the retry of ${root}`;
  const count = (outcome: string) => life.tally.count("outcomes", `retry: ${outcome}`);
  const { crashed, failing, raising, moving, locking, closing, deciding } = disturbance;
  const disturbed = struck || crashed || failing || raising;
  if (end.kind === "retry") {
    const { outcome, loadId, rows } = end.report;
    count(outcome);
    if (outcome === "taken_in") {
      const entry = observed.loads.find(({ load_id }) => load_id === loadId);
      expectTrue(`${what} is not in the ledger as ${loadId}`, entry?.retry_of === root);
      for (const [name, said] of Object.entries(rows)) {
        const kept = entry?.[name as keyof ObservedLoad];
        expectTrue(`${what} said ${said} ${name}, the ledger ${kept}`, kept === said);
      }
      return;
    }
    if (outcome === "nothing_open") expectTrue(`${what} found nothing open`, disturbed || deciding);
    else if (!moving && !closing && !deciding && !disturbed) expectUnreadable(life, observed, root);
    return;
  }
  count(end.kind === "ended" ? "killed" : "failed");
  if (disturbed) return;
  const code = end.kind === "error" ? end.code : "";
  if (code === "usage" && isUndoneBy(observed, root, recent)) return;
  if (code === "partitions_changed" && moving) return;
  if (code === "period_closed" && closing) return;
  if (code === "partition_busy" && locking) return;
  throw new Difference(`${what} failed: ${JSON.stringify(end)}`);
}

/** None of the open lines of a load can be read today. */
function expectUnreadable(life: Life, observed: Observation, root: number): void {
  const entry = observed.loads.find(({ load_id }) => load_id === root);
  if (entry === undefined) throw new Difference(`${root} is not in the ledger`);
  // As a retry would be that came next.
  const next = { ...entry, load_id: Number.MAX_SAFE_INTEGER, retry_of: root };
  const readable = linesOfRetry(life, observed, next, NOTHING_MEANWHILE).filter(
    ({ decision }) => decision.kind === "taken",
  );
  expectTrue(`the retry of ${root} left ${readable.length} lines that can be read`, readable.length === 0);
}
