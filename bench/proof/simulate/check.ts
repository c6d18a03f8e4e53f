/** Compares what loads and readers did with the ledger and the model. */
import { SQLSTATE } from "../../../db/errors.ts";
import { type Applied, rejectsOf } from "../../../etl/testing/models/warehouse.ts";
import { compareClosings } from "./closings.ts";
import {
  compareLoad,
  correctionText,
  Difference,
  expectSame,
  expectTrue,
  partitionAt,
  totalTexts,
} from "./compare.ts";
import { isWhole } from "./content.ts";
import type { FaultyEnd } from "./jobs.ts";
import {
  type Disturbance,
  hashOf,
  type KnownDrop,
  type Life,
  type LoadAct,
  type Meanwhile,
  type Move,
  readLines,
} from "./life.ts";
import type { Observation, ObservedLoad, Read } from "./observe.ts";
import { closedFor, compareOpen, linesOfRetry, NOTHING_MEANWHILE } from "./rejects.ts";
import { hasCounted, isRefused, isUndoneBy, kindOf, type Recent } from "./undos.ts";

/**
 * Takes the loads, repairs and undos that are new in the ledger into the model, and compares every entry with
 * what it must have done.
 */
export function takeIn(life: Life, observed: Observation, meanwhile = NOTHING_MEANWHILE): void {
  const { model, tally } = life;
  const known = observed.loads.filter(({ known_at }) => known_at !== null);
  const loaded = known.filter(({ status }) => status === "loaded");
  const before = model.applied().map(({ loadId }) => loadId);
  expectSame(
    "the entries that were in before",
    known.slice(0, before.length).map(({ load_id }) => String(load_id)),
    before.map(String),
  );
  const identities = loaded.map(({ sha256, synced_on }) => `${sha256} ${synced_on}`);
  expectTrue("a drop is loaded twice", new Set(identities).size === identities.length);
  for (const entry of known.slice(before.length)) {
    const applied = takeInEntry(life, observed, entry, meanwhile);
    tally.add("lines", applied.counts.read);
    if (applied.counts.absent > 0) tally.count("outcomes", "invoices absent", applied.counts.absent);
  }
  life.ledger = known;
  life.open = observed.open;
  life.closings = observed.closings;
  for (const [index, entry] of known.entries()) {
    const applied = model.applied()[index];
    if (applied !== undefined) compareLoad(observed, entry, applied);
    // A retry is undone with its load.
    const undone = model.isUndone(entry.retry_of ?? entry.load_id);
    expectTrue(`${entry.load_id} is ${entry.status}`, (entry.status === "undone") === undone);
  }
  const knownAt = known.map(({ known_at }) => known_at ?? "");
  expectTrue(
    "known_at does not increase",
    knownAt.every((at, index) => at > (knownAt[index - 1] ?? "")),
  );
  compareOpen(observed);
  compareClosings(observed, model);
}

function takeInEntry(life: Life, observed: Observation, entry: ObservedLoad, meanwhile: Meanwhile): Applied {
  switch (kindOf(entry)) {
    case "load":
      return apply(life, observed, entry, meanwhile);
    case "retry":
      return retry(life, observed, entry, meanwhile);
    case "take out":
      return takeOut(life, observed, entry);
    case "undo":
      return life.model.undo(entry.load_id, entry.undo_of ?? 0);
  }
}

/**
 * Which statements a repair took out, its corrections tell: they depend on what the loads beside it had
 * committed. The model takes out no others than those for which it knows a newer one.
 */
function takeOut(
  { model, tally }: Life,
  { corrections }: Observation,
  { load_id: loadId }: ObservedLoad,
): Applied {
  const kept = new Set(corrections);
  tally.count("outcomes", "older statements taken out");
  return model.takeOutOlder(loadId, (older) => kept.has(correctionText(loadId, older)));
}

function apply(life: Life, observed: Observation, load: ObservedLoad, meanwhile: Meanwhile): Applied {
  const { load_id: loadId, synced_on: syncedOn, sha256 } = load;
  const content = life.texts.get(sha256 ?? "")?.content;
  if (syncedOn === null || content === undefined) {
    throw new Difference(`load ${loadId} has a content that no drop has`);
  }
  const closed = closedFor(life, observed, { load, syncedOn, meanwhile, isRetry: false });
  const isSnapshot = isWhole(content);
  return life.model.apply(
    { loadId, syncedOn, isSnapshot },
    readLines(life, { sha256, syncedOn, ...closed }) ?? [],
  );
}

function retry(life: Life, observed: Observation, entry: ObservedLoad, meanwhile: Meanwhile): Applied {
  const { load_id: loadId, retry_of, synced_on } = entry;
  const lines = linesOfRetry(life, observed, entry, meanwhile);
  return life.model.apply({ loadId, syncedOn: synced_on ?? "", retryOf: retry_of ?? 0 }, lines);
}

/** Compares what a load's process said with the ledger, and with what it had to come to. */
export function checkLoad(
  life: Life,
  observed: Observation,
  load: LoadAct,
  { disturbance, recent }: { readonly disturbance: Disturbance; readonly recent: Recent },
): void {
  const { act, drop, replaces, done } = load;
  const { end, struck } = done;
  const { crashed, failing, moving, locking, closing } = disturbance;
  const { bytes, changed } = drop.file;
  const fault = act.do === "load" ? act.fault : null;
  // A file that changes in time, or before another attempt, is loaded as it is then.
  const contents = fault?.kind === "file" ? [hashOf(bytes), hashOf(changed)] : [hashOf(bytes)];
  const isIn = observed.loads.some(
    (entry) =>
      entry.known_at !== null &&
      contents.includes(entry.sha256 ?? "") &&
      entry.synced_on === drop.syncedOn &&
      hasCounted(observed, entry, recent),
  );
  const what = `${act.do} of ${JSON.stringify(drop.file.name)}`;
  const { outcome, detail } = outcomeOf(end);
  life.tally.count("outcomes", outcome);
  if (end.kind === "load") {
    for (const state of end.retries) life.tally.count("retries", state);
    checkReport(observed, end.report, { what, recent });
    const replaced = replaces === undefined || isUndoneBy(observed, replaces, recent);
    if (outcome === "loaded") expectTrue(`${what} did not replace ${replaces}`, replaced);
  }
  const allowed = allowedOutcomes(life, drop, contents, {
    strict: (act.do === "load" && act.strict) || isWhole(drop.content),
    moving: moving || (life.refusesClosed && observed.closings.length > 0),
  });
  if (struck) {
    if (outcome === "killed" && fault?.kind === "kill" && fault.at === "committed") {
      expectTrue(`${what} was killed after its commit, and is not in`, isIn || allowed.has("rejected"));
    }
    return;
  }
  if (crashed || failing) allowed.add("failed");
  if (replaces !== undefined && end.kind === "load") {
    const code = end.report.error?.code ?? "";
    if (isRefused(life, observed, { target: replaces, code, disturbance, recent })) allowed.add("failed");
  }
  // Periods were closed in each of its attempts.
  if (closing && end.kind === "load" && end.report.error?.code === "period_closed") allowed.add("failed");
  // It has written, and needs a partition; who wants the lock waits for a load that waits for it.
  if (locking && end.kind === "load" && end.report.error?.code === "partition_busy") allowed.add("failed");
  expectTrue(
    `${what} came to ${outcome} (${detail}), not to ${[...allowed].join(" or ")}`,
    allowed.has(outcome),
  );
  const said = outcome === "loaded" || outcome === "already_loaded" || outcome === "done";
  if (said) expectTrue(`${what} said ${outcome}, and is not in`, isIn);
}

function outcomeOf(end: FaultyEnd["end"]): { readonly outcome: string; readonly detail: string } {
  switch (end.kind) {
    case "load":
      return { outcome: end.report.outcome, detail: JSON.stringify(end.report.error ?? null) };
    case "error":
      return { outcome: end.code === "aborted" ? "aborted" : "error", detail: end.message };
    case "refresh":
    case "retry":
    case "undo":
      return { outcome: "error", detail: `a ${end.kind}` };
    case "ended": {
      if (end.signal !== null) return { outcome: "killed", detail: end.signal };
      const outcomes: Readonly<Record<number, string>> = { 0: "done", 1: "failed", 3: "rejected" };
      return { outcome: outcomes[end.code ?? -1] ?? "aborted", detail: `exit code ${end.code}` };
    }
  }
}

/**
 * What a drop's load may come to when nothing struck it. `contents`: what its file may have held, by hash.
 */
function allowedOutcomes(
  life: Life,
  { content, syncedOn }: KnownDrop,
  contents: readonly string[],
  { strict, moving }: { readonly strict: boolean; readonly moving: boolean },
): Set<string> {
  if (content.spoiled !== null) return new Set(["rejected"]);
  const allowed = new Set(["loaded", "already_loaded", "done"]);
  if (!strict) return allowed;
  const rejecting = contents.map(
    (sha256) => rejectsOf(readLines(life, { sha256, syncedOn }) ?? []).length > 0,
  );
  if (rejecting.every(Boolean)) allowed.delete("loaded");
  if (rejecting.some(Boolean) || moving || life.closed.size > 0) allowed.add("rejected");
  return allowed;
}

/** What a report says of a load is what the ledger has. */
function checkReport(
  observed: Observation,
  report: { readonly outcome: string; readonly loadId: number | null; readonly rows: object },
  { what, recent }: { readonly what: string; readonly recent: Recent },
): void {
  if (report.outcome !== "loaded" && report.outcome !== "already_loaded") return;
  const entry = observed.loads.find(({ load_id }) => load_id === report.loadId);
  const isIn = entry !== undefined && entry.known_at !== null && hasCounted(observed, entry, recent);
  expectTrue(`${what} is not in the ledger as ${report.loadId}`, isIn);
  if (report.outcome === "already_loaded") return;
  for (const [name, count] of Object.entries(report.rows)) {
    const kept = entry?.[name as keyof ObservedLoad];
    expectTrue(`${what} said ${count} ${name}, the ledger ${kept}`, kept === count);
  }
}

/** Each read showed the ledger up to some commit, and exactly the totals that its entries make. */
export function checkReads(
  life: Life,
  observed: Observation,
  step: {
    readonly reads: { readonly seen: readonly Read[]; readonly errors: readonly string[] };
    readonly move: Move | undefined;
    readonly before: number;
    readonly disturbance: Disturbance;
  },
): void {
  const { model, tally } = life;
  const { seen, errors } = step.reads;
  const { crashed, full } = step.disturbance;
  const unexpected = full ? errors.filter((text) => !text.startsWith(SQLSTATE.diskFull)) : errors;
  if (!crashed) expectSame("errors of readers", unexpected, []);
  tally.add("reads", seen.length);
  const order = model.applied().map(({ loadId }) => loadId);
  const isShown = (createdOn: string) => {
    const name = partitionAt(observed.partitions, createdOn)?.partition;
    return name !== step.move?.partition && life.closed.get(name ?? "") !== "detached";
  };
  for (const read of seen) {
    const { length } = read.loads;
    expectSame("loads that a reader saw", read.loads.map(String), order.slice(0, length).map(String));
    expectTrue("a reader saw fewer loads than were in before", length >= step.before);
    expectSame(
      `totals that a reader saw with ${length} loads`,
      read.reports.filter((text) => isShown(text.slice(0, 10))),
      totalTexts(model.totals(length), isShown),
    );
  }
}
