/** Entries of the ledger that acts undo: which ones, and what must become of them. */
import { TAKEN_OUT } from "../../../etl/load/absence.ts";
import { Difference, expectTrue } from "./compare.ts";
import type { Act } from "./history.ts";
import type { Disturbance, Life, UndoAct } from "./life.ts";
import type { Observation, ObservedLoad } from "./observe.ts";

export type EntryKind = "load" | "retry" | "take out" | "undo";

export function kindOf({ undo_of, retry_of, status, file_name }: ObservedLoad): EntryKind {
  if (undo_of !== null) return "undo";
  if (retry_of !== null) return "retry";
  return status === "repair" || file_name === TAKEN_OUT ? "take out" : "load";
}

/** The entry that an act undoes; undefined where there is none. */
export function chooseTarget(life: Life, { what, entry }: Act & { do: "undo" }): number | undefined {
  const pick = (able: readonly ObservedLoad[]) => able[entry % Math.max(able.length, 1)]?.load_id;
  const loads = undoable(life, "load");
  if (what === "load") return pick(loads);
  return pick([...undoable(life, "take out"), ...undoable(life, "undo")]) ?? pick(loads);
}

/** The load that a load replaces; undefined where it replaces none. */
export function chooseReplaced(life: Life, { replaces }: Act & { do: "load" }): number | undefined {
  const able = undoable(life, "load");
  return replaces === null ? undefined : able[replaces % Math.max(able.length, 1)]?.load_id;
}

/** The entries of a kind that are not undone, and may be. */
export function undoable({ ledger, model }: Life, kind: EntryKind): readonly ObservedLoad[] {
  return ledger.filter((entry) => {
    if (kindOf(entry) !== kind || model.isUndone(entry.load_id)) return false;
    if (kind === "take out") return entry.file_name === TAKEN_OUT;
    const undone = ledger.find(({ load_id }) => load_id === entry.undo_of);
    return undone === undefined || kindOf(undone) === "load";
  });
}

/** The entries that a step brought into the ledger. */
export type Recent = ReadonlySet<number>;

/** Whether an entry counts, or did so when the step began. */
export function hasCounted(
  observed: Observation,
  { status, load_id }: ObservedLoad,
  recent: Recent,
): boolean {
  return status !== "undone" || isUndoneBy(observed, load_id, recent);
}

export function isUndoneBy({ loads }: Observation, loadId: number, recent: Recent): boolean {
  return loads.some(({ undo_of, load_id }) => undo_of === loadId && recent.has(load_id));
}

/** Compares what an undo's process said with the ledger, and with what it had to come to. */
export function checkUndo(
  life: Life,
  observed: Observation,
  { target, done }: UndoAct,
  of: {
    readonly disturbance: Disturbance;
    readonly recent: Recent;
    /** The ledger when the step began. */
    readonly before: readonly ObservedLoad[];
  },
): void {
  const { disturbance, recent, before } = of;
  const { end, struck } = done;
  const what = `the undo of ${target}`;
  const count = (outcome: string) => life.tally.count("outcomes", `undo: ${outcome}`);
  if (end.kind === "undo") {
    const { report } = end;
    const { loadId, rows, groups, invoices } = report;
    expectTrue(`${what}: what others said was forgotten`, !isPruned(before, target));
    const entry = observed.loads.find(({ load_id }) => load_id === loadId);
    const applied = life.model.applied().find((one) => one.loadId === loadId);
    expectTrue(`${what} is not in the ledger as ${loadId}`, entry?.undo_of === target);
    for (const [name, said] of Object.entries(rows)) {
      const kept = entry?.[name as keyof typeof rows];
      expectTrue(`${what} said ${said} ${name}, the ledger ${kept}`, kept === said);
    }
    const deltas = applied?.deltas ?? [];
    const added = deltas.reduce((sum, delta) => sum + delta.invoices, 0);
    expectTrue(
      `${what} said ${groups} groups and ${invoices} invoices, its deltas ${deltas.length} and ${added}`,
      groups === deltas.length && invoices === added,
    );
    count(report.undone);
    return;
  }
  if (end.kind === "error" && isRefused(life, observed, { target, code: end.code, disturbance, recent })) {
    count(`refused: ${end.code}`);
    return;
  }
  const outcome = end.kind === "error" ? `${end.code}: ${end.message}` : JSON.stringify(end);
  if (!struck && !disturbance.crashed && !disturbance.failing)
    throw new Difference(`${what} failed: ${outcome}`);
  count(end.kind === "ended" ? "killed" : "failed");
}

/** Whether an error says that the undo of an entry is refused, and there is a reason for it. */
export function isRefused(
  life: Life,
  observed: Observation,
  of: {
    readonly target: number;
    readonly code: string;
    readonly disturbance: Disturbance;
    readonly recent: Recent;
  },
): boolean {
  const { target, code, disturbance, recent } = of;
  if (code === "partition_closed") return disturbance.moving || life.closed.size > 0;
  if (code === "statements_pruned") return isPruned(observed.loads, target);
  return code === "usage" && mayBeRefused(life, observed, target, recent);
}

/** Whether what others said of the invoices of an entry may be forgotten; of an undo, of the load that it undid. */
export function isPruned(loads: readonly ObservedLoad[], target: number): boolean {
  const entry = loads.find(({ load_id }) => load_id === target);
  if (entry === undefined) return false;
  return entry.undo_of === null ? entry.pruned === true : isPruned(loads, entry.undo_of);
}

/**
 * Whether there is a reason to refuse an undo: another one of the step was ahead; the drop of the load that
 * would count again was loaded again; or a take-out may have been made because of the load.
 */
function mayBeRefused({ model }: Life, observed: Observation, target: number, recent: Recent): boolean {
  if (isUndoneBy(observed, target, recent)) return true;
  const find = (loadId: number | null | undefined) =>
    observed.loads.find(({ load_id }) => load_id === loadId);
  const load = find(find(target)?.undo_of);
  if (load !== undefined) {
    return observed.loads.some(
      (other) =>
        other.load_id !== load.load_id &&
        other.sha256 === load.sha256 &&
        other.synced_on === load.synced_on &&
        kindOf(other) === "load" &&
        hasCounted(observed, other, recent),
    );
  }
  const statements = [...model.invoices(), ...model.kept()];
  const said = new Set(statements.filter(({ loadId }) => loadId === target).map(({ uuid }) => uuid));
  return observed.loads.some((other) => {
    if (kindOf(other) !== "take out" || !hasCounted(observed, other, recent)) return false;
    const took = model.applied().find(({ loadId }) => loadId === other.load_id)?.corrections ?? [];
    return took.some(({ uuid }) => said.has(uuid));
  });
}
