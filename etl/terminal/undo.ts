/** What an undo changed, or would change, for people. */
import { printable } from "../escape.ts";
import type { UndoReport, UndoStep } from "../undo/undo.ts";
import { describeRestated } from "./closings.ts";
import { countOf, formatCount, formatEuros, shorten } from "./format.ts";
import { describePartitions } from "./partitions.ts";

/** How far each step is, and what it does. */
export const UNDO_STEPS: Readonly<Record<UndoStep, readonly [share: number, text: string]>> = {
  claim: [0, "looking up the load"],
  find: [0.1, "looking for its invoices"],
  lock: [0.3, "waiting for other loads of these partitions"],
  settle: [0.4, "changing the invoices"],
  commit: [0.9, "committing"],
  committed: [1, "done"],
};

/** Some lines: what became of the invoices, of the totals, and what can be done next. */
export function describeUndo(report: UndoReport): string {
  return `${describeUndone(report)}\n${describeNext(report)}`;
}

/** The same without what can be done next. */
export function describeUndone(report: UndoReport): string {
  const { loadId, undoOf, undone, fileName, partitions, restated } = report;
  const done = loadId === null ? "would be undone" : `undone (undo ${loadId})`;
  return [
    `${printable(shorten(fileName))} (${undone} ${undoOf}): ${done}`,
    ...describeRows(report),
    `  ${describeTotals(report)}; ${describePartitions(partitions)}`,
    ...describeRestated(restated, { planned: loadId === null }).map((line) => `  ${line}`),
  ].join("\n");
}

function describeRows({ loadId, rows, undone }: UndoReport): readonly string[] {
  const isPlanned = loadId === null;
  const say = (count: number, verb: string, more: string) => {
    const form = isPlanned ? `would ${verb}` : count === 1 ? third(verb) : verb;
    return count === 0 ? [] : [`  ${countOf(count, "invoice")} ${form}${more}`];
  };
  const of = (count: number) => (count === 1 ? "it" : "them");
  const said = [
    ...say(
      rows.removed,
      "go",
      undone === "undo" ? ": absent again" : `: nothing else is known of ${of(rows.removed)}`,
    ),
    ...say(rows.corrected, "change", ` to what ${undone === "undo" ? "was undone" : "another load says"}`),
    ...say(rows.inserted, "come", " back"),
    ...say(rows.unchanged, "stay", `: another load says the same of ${of(rows.unchanged)}`),
  ];
  return said.length > 0 ? said : [`  no invoice ${isPlanned ? "would change" : "changes"}`];
}

function third(verb: string): string {
  return verb === "go" ? "goes" : `${verb}s`;
}

function describeTotals({ groups, invoices, total }: UndoReport): string {
  const noun = Math.abs(invoices) === 1 ? "invoice" : "invoices";
  return `${countOf(groups, "group")}, ${withSign(formatCount(invoices))} ${noun}, ${withSign(formatEuros(total))} euros`;
}

function withSign(text: string): string {
  return /^-|^[0.]+$/.test(text) ? text : `+${text}`;
}

/** Of a load that was to be replaced by a file that was not loaded. */
export function describeNotReplaced(loadId: number): string {
  return `load ${loadId} stays as it is.`;
}

function describeNext({ loadId, undoOf, undone }: UndoReport): string {
  if (loadId === null) return `Nothing was changed. To do it: rollbook undo ${undoOf} --because TEXT`;
  const back = `rollbook undo ${loadId} --because TEXT`;
  switch (undone) {
    case "load":
      return `Its file may be loaded again. If it must not be, take it out of the archive, too. To take this back: ${back}`;
    case "undo":
      return "What it had taken back counts again.";
    case "repair":
      return "The statements that it had taken out count again. To take them out: rollbook verify --identity --repair newest";
  }
}
