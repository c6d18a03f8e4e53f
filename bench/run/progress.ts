/** How far a run is, in units that take about the same time each. */

import type { ProgressListener } from "../program/terminal.ts";
import type { Cell } from "../results.ts";
import type { Arm } from "./arm.ts";
import { historyName } from "./names.ts";
import { READ_ARMS, READ_REPETITIONS } from "./read_cell.ts";

/** A cell to measure. */
export interface Todo {
  readonly cell: Cell;
  readonly arms: readonly Arm[];
  readonly repetitions: number;
}

/** A row loaded into a history against one that is read in a sample. */
const UNITS_PER_ROW_BUILT = 8;
const UNITS_PER_ROW_LOADED = 6;
/** What a sample takes however small it is, in rows read. */
const UNITS_PER_SAMPLE = 500_000;

export interface Meter {
  /** So many invoices of the cell's history are in. */
  readonly built: (cell: Cell, rows: number, text: string) => void;
  /** An arm of the cell begins. */
  readonly arm: (cell: Cell, arm: string) => void;
}

export function createMeter(todo: readonly Todo[], onProgress: ProgressListener | undefined): Meter {
  const histories = new Map<string, number>();
  const keyOf = ({ history, granularity }: Cell) => historyName(history, granularity);
  for (const { cell } of todo) histories.set(keyOf(cell), cell.history * UNITS_PER_ROW_BUILT);
  const built = new Map<string, number>();
  const sum = (values: Iterable<number>) => [...values].reduce((total, value) => total + value, 0);
  const total = sum(todo.map((one) => samplesOf(one) * unitsOf(one.cell))) + sum(histories.values());
  let sampled = 0;
  const report = (text: string) => onProgress?.({ done: sampled + sum(built.values()), total, text });
  return {
    built: (cell, rows, text) => {
      built.set(keyOf(cell), Math.max(built.get(keyOf(cell)) ?? 0, rows * UNITS_PER_ROW_BUILT));
      report(text);
    },
    arm: (cell, arm) => {
      report(`${cell.id}: ${arm}`);
      sampled += unitsOf(cell);
    },
  };
}

function samplesOf({ cell, arms, repetitions }: Todo): number {
  return cell.axis === "reads" ? READ_ARMS.length * READ_REPETITIONS : arms.length * repetitions;
}

function unitsOf({ axis, history, batch }: Cell): number {
  return axis === "reads" ? UNITS_PER_SAMPLE : UNITS_PER_SAMPLE + history + UNITS_PER_ROW_LOADED * batch;
}
