/**
 * Lives through a history: carries out its steps on a real warehouse, and compares everything with the model.
 */
import { createWarehouseModel } from "../../../etl/testing/models/warehouse.ts";
import { Difference } from "./compare.ts";
import { type Figures, startTally } from "./figures.ts";
import type { History } from "./history.ts";
import { type Life, readDrops } from "./life.ts";
import { settle } from "./settle.ts";
import type { Site } from "./site.ts";
import { liveStep } from "./step.ts";

/**
 * Lives through a history on a warehouse of its own.
 *
 * @returns what happened in it
 * @throws Difference when something is not as it must be
 */
export async function liveThrough(history: History, site: Site): Promise<Figures> {
  const small = history.steps.some((acts) => acts.some((act) => act.do === "full"));
  const { timeZone, granularity } = history;
  const roles = history.steps.some((acts) => acts.some((act) => act.do === "hostile"));
  const warehouse = await site.makeWarehouse({ timeZone, granularity, small, roles });
  const tally = startTally();
  const life: Life = {
    stage: { site, warehouse, onFault: (kind) => tally.count("faults", kind) },
    tally,
    model: createWarehouseModel(),
    ...readDrops(history),
    timeZone,
    closed: new Map(),
    ledger: [],
    open: [],
    closings: [],
    refusesClosed: false,
  };
  try {
    for (const [index, acts] of history.steps.entries()) {
      try {
        await liveStep(life, acts);
      } catch (error) {
        if (error instanceof Difference) throw new Difference(`step ${index + 1}: ${error.message}`);
        throw error;
      }
      tally.add("steps", 1);
    }
    await settle(life);
  } finally {
    await site.untilUp();
    await warehouse.drop();
  }
  return tally.figures();
}
