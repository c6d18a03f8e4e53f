/** The rounds in which later files repeat the invoices of a file: see FilePlan. */
import type { FilePlan } from "./plan.ts";
import { goldenStep, invertModulo, multiplyModulo } from "./random.ts";

/** The invoice (number within its file) that a statement is about. */
export function invoiceOfStatement(source: FilePlan, statement: number): number {
  const turn = statement % source.fresh;
  return (multiplyModulo(turn, stepOf(source), source.fresh) + (source.key % source.fresh)) % source.fresh;
}

const steps = new WeakMap<FilePlan, number>();

function stepOf(source: FilePlan): number {
  let step = steps.get(source);
  if (step === undefined) {
    step = goldenStep(source.fresh);
    steps.set(source, step);
  }
  return step;
}

/** The way back: the statement from `start` on, within one round, that is about an invoice. */
export function createStatementFinder(source: FilePlan, start: number): (invoice: number) => number {
  const size = source.fresh;
  const inverse = invertModulo(stepOf(source), size);
  const shift = size - (source.key % size);
  const first = start % size;
  return (invoice) => {
    const turn = multiplyModulo((invoice + shift) % size, inverse, size);
    return start + ((turn - first + size) % size);
  };
}

/** 1 for the first time that every invoice of the file is repeated, and so on. */
export function roundOfStatement(source: FilePlan, statement: number): number {
  return Math.floor(statement / source.fresh) + 1;
}

/** The last statement before `statement` about the same invoice that changed its total, if there is one. */
export function correctionBefore(source: FilePlan, statement: number): number | undefined {
  for (let earlier = statement - source.fresh; earlier >= 0; earlier -= source.fresh) {
    const said = source.statements.find((run) => earlier < run.start + run.count);
    if (said?.corrects === true) return earlier;
  }
  return undefined;
}
