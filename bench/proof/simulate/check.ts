/** Holds what loads and readers did against the ledger and the model. */
import type { LoadEnd } from "./acts.ts";
import { compareLoad, Difference, expectSame, expectTrue, partitionAt, totalTexts } from "./compare.ts";
import type { LineTruth } from "./drop.ts";
import { type Disturbance, hashOf, type KnownDrop, type Life, type LoadAct, type Move } from "./life.ts";
import { type Applied, rejectsOf } from "./model.ts";
import type { Observation, ObservedLoad, Read } from "./observe.ts";

/** Takes the loads that are new in the ledger into the model, and holds each against what it must have done. */
export function takeIn(life: Life, observed: Observation, move: Move | undefined): void {
  const { model, tally } = life;
  const loaded = observed.loads.filter(({ status }) => status === "loaded");
  const before = model.applied().map(({ loadId }) => loadId);
  expectSame(
    "the loads that were in before",
    loaded.slice(0, before.length).map(({ load_id }) => String(load_id)),
    before.map(String),
  );
  const identities = loaded.map(({ sha256, synced_on }) => `${sha256} ${synced_on}`);
  expectTrue("a drop is loaded twice", new Set(identities).size === identities.length);
  for (const load of loaded.slice(before.length)) {
    const applied = apply(life, observed, load, move);
    compareLoad(observed, load, applied);
    tally.add("lines", applied.counts.read);
  }
  life.knownAt = loaded.map(({ known_at }) => known_at ?? "");
  expectTrue(
    "known_at does not increase",
    life.knownAt.every((at, index) => at > (life.knownAt[index - 1] ?? "")),
  );
}

function apply(life: Life, observed: Observation, load: ObservedLoad, move: Move | undefined): Applied {
  const lines = life.known.get(load.sha256 ?? "");
  if (lines === undefined || load.synced_on === null) {
    throw new Difference(`load ${load.load_id} has a content that no drop has`);
  }
  const isClosed = closedFor(life, observed, load, lines, move);
  return life.model.apply({ loadId: load.load_id, syncedOn: load.synced_on }, lines, isClosed);
}

/**
 * Whether the partition of a date was closed for a load. Of the one that moved in this step the quarantine tells: the load came before, or after,
 * with all its lines.
 */
function closedFor(
  life: Life,
  observed: Observation,
  load: ObservedLoad,
  lines: readonly LineTruth[],
  move: Move | undefined,
): (createdOn: string) => boolean {
  const nameAt = (createdOn: string) => partitionAt(observed.partitions, createdOn)?.partition ?? "";
  const refused = new Set(
    observed.rejects
      .filter(({ load_id, reason }) => load_id === load.load_id && reason === "partition_closed")
      .map(({ line }) => line),
  );
  const movedIsClosed = lines.some(
    (line) =>
      line.kind === "statement" && refused.has(line.number) && nameAt(line.createdOn) === move?.partition,
  );
  return (createdOn) => {
    const name = nameAt(createdOn);
    return name === move?.partition ? movedIsClosed : life.closed.has(name);
  };
}

/** Holds what a load's process said against the ledger, and against what it had to come to. */
export function checkLoad(life: Life, observed: Observation, load: LoadAct, disturbance: Disturbance): void {
  const { act, drop, done } = load;
  const { end, struck } = done;
  const { crashed, failing, moving, locking } = disturbance;
  const { bytes, changed } = drop.file;
  const fault = act.do === "load" ? act.fault : null;
  // A file that changes in time, or before another attempt, is loaded as it is then.
  const contents = fault?.kind === "file" ? [hashOf(bytes), hashOf(changed)] : [hashOf(bytes)];
  const isIn = observed.loads.some(
    ({ status, sha256, synced_on }) =>
      status === "loaded" && contents.includes(sha256 ?? "") && synced_on === drop.syncedOn,
  );
  const what = `${act.do} of ${JSON.stringify(drop.file.name)}`;
  const { outcome, detail } = outcomeOf(end);
  life.tally.count("outcomes", outcome);
  if (end.kind === "load") {
    for (const state of end.retries) life.tally.count("retries", state);
    checkReport(observed, end.report, what);
  }
  const allowed = allowedOutcomes(life, drop, contents, { strict: act.do === "load" && act.strict, moving });
  if (struck) {
    if (outcome === "killed" && fault?.kind === "kill" && fault.at === "committed") {
      expectTrue(`${what} was killed after its commit, and is not in`, isIn || allowed.has("rejected"));
    }
    return;
  }
  if (crashed || failing) allowed.add("failed");
  // It has written, and needs a partition; who wants the lock waits for a load that waits for it.
  if (locking && end.kind === "load" && end.report.error?.code === "partition_busy") allowed.add("failed");
  expectTrue(
    `${what} came to ${outcome} (${detail}), not to ${[...allowed].join(" or ")}`,
    allowed.has(outcome),
  );
  const said = outcome === "loaded" || outcome === "already_loaded" || outcome === "done";
  if (said) expectTrue(`${what} said ${outcome}, and is not in`, isIn);
}

function outcomeOf(end: LoadEnd["end"]): { readonly outcome: string; readonly detail: string } {
  switch (end.kind) {
    case "load":
      return { outcome: end.report.outcome, detail: JSON.stringify(end.report.error ?? null) };
    case "error":
      return { outcome: end.code === "aborted" ? "aborted" : "error", detail: end.message };
    case "refresh":
      return { outcome: "error", detail: "a refresh" };
    case "ended": {
      if (end.signal !== null) return { outcome: "killed", detail: end.signal };
      const outcomes: Readonly<Record<number, string>> = { 0: "done", 1: "failed", 3: "rejected" };
      return { outcome: outcomes[end.code ?? -1] ?? "aborted", detail: `exit code ${end.code}` };
    }
  }
}

/** What a drop's load may come to when nothing struck it. `contents`: what its file may have held, by hash. */
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
    (hash) => rejectsOf(life.known.get(hash) ?? [], syncedOn, () => false).length > 0,
  );
  if (rejecting.every(Boolean)) allowed.delete("loaded");
  if (rejecting.some(Boolean) || moving || life.closed.size > 0) allowed.add("rejected");
  return allowed;
}

/** What a report says of a load is what the ledger has. */
function checkReport(
  observed: Observation,
  report: { readonly outcome: string; readonly loadId: number | null; readonly rows: object },
  what: string,
): void {
  if (report.outcome !== "loaded" && report.outcome !== "already_loaded") return;
  const entry = observed.loads.find(({ load_id }) => load_id === report.loadId);
  expectTrue(`${what} is not in the ledger as ${report.loadId}`, entry?.status === "loaded");
  if (report.outcome === "already_loaded") return;
  for (const [name, count] of Object.entries(report.rows)) {
    const kept = entry?.[name as keyof ObservedLoad];
    expectTrue(`${what} said ${count} ${name}, the ledger ${kept}`, kept === count);
  }
}

/** Each read showed the loads up to some commit, and exactly the totals that these make. */
export function checkReads(
  life: Life,
  observed: Observation,
  step: {
    readonly reads: { readonly seen: readonly Read[]; readonly errors: readonly string[] };
    readonly move: Move | undefined;
    readonly before: number;
    readonly crashed: boolean;
  },
): void {
  const { model, tally } = life;
  const { seen, errors } = step.reads;
  if (!step.crashed) expectSame("errors of readers", errors, []);
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
