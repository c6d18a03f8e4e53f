/** On which dates the new invoices of a file were created. */
import { reachOf } from "./options.ts";
import { dayWeight, hoursOf } from "./pattern.ts";
import type { FilePlan } from "./plan.ts";
import { apportion, mix32 } from "./random.ts";

/** When a file's invoices were created: those of day `firstDay + k` start at number `starts[k]`. */
export interface CreatedDays {
  readonly firstDay: number;
  readonly starts: Uint32Array;
}

/** Spreads a file's new invoices over dates of creation. Pure, but not cheap: some thousand steps. */
export function spreadOverDays(file: FilePlan): CreatedDays {
  const reach = reachOf(file.recipe);
  const firstDay = file.syncDay - reach;
  const starts = new Uint32Array(reach + 2);
  const perDay = new Uint32Array(reach + 1);
  const offset = mix32(file.key + 4) / 2 ** 32;
  if (file.late > 0) perDay.set(apportion(file.late, lateWeights(file, reach), offset));
  const onTime = file.fresh - file.late;
  const night = hoursOf(file.syncDay, file.recipe.hours).nightShare;
  perDay[reach] = Math.min(onTime, Math.floor(onTime * night + offset));
  perDay[reach - 1] = onTime - (perDay[reach] as number);
  perDay.forEach((count, k) => {
    starts[k + 1] = (starts[k] as number) + count;
  });
  return { firstDay, starts };
}

/**
 * Weights of lateness `reach` down to 2. The tail: 70 % with a half-life of 4 days, 20 % of 34 days, 10 %
 * over the whole reach.
 */
function lateWeights(file: FilePlan, reach: number): Float64Array {
  const weights = new Float64Array(reach - 1);
  if (file.recipe.lateSpread === "even") return weights.fill(1);
  const shares = [
    [0.7, 0.85],
    [0.2, 0.98],
    [0.1, 1],
  ] as const;
  for (const [share, decay] of shares) {
    let whole = 0;
    for (let k = 0, weight = 1; k < weights.length; k += 1, weight *= decay) whole += weight;
    for (let k = weights.length - 1, weight = share / whole; k >= 0; k -= 1, weight *= decay) {
      weights[k] = (weights[k] as number) + weight;
    }
  }
  return weights.map((weight, k) => weight * dayWeight(file.syncDay - reach + k, file.recipe));
}
