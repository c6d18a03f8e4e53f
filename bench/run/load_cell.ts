/**
 * Measures the arms of a cell, interleaved: in each repetition every arm once, in an order that rotates, so
 * that noise hits all alike. In the first repetition the totals of each are compared with a recompute from
 * the invoices.
 */

import type { ArmResult, Sample, Verdict } from "../results.ts";
import type { Arm } from "./arm.ts";
import { totalsOf } from "./arm.ts";
import { type Measured, measure } from "./sample.ts";
import { type Site, type SiteOptions, withSite } from "./site.ts";
import { compareTotals, joinVerdicts, recomputeTruth } from "./verdict.ts";

export interface CellOptions extends SiteOptions {
  /** Those that apply; the ones that are not available here among them. */
  readonly arms: readonly Arm[];
  /** Samples per arm. */
  readonly repetitions: number;
  readonly signal: AbortSignal;
  /** Called before each execution of an arm. */
  readonly onArm: (arm: string, repetition: number) => void;
}

/** Returns one result per arm, in their order. */
export async function measureCell(options: CellOptions): Promise<readonly ArmResult[]> {
  const reasons = new Map<Arm, string>();
  for (const arm of options.arms) {
    const reason = await arm.unavailable?.(options.server, options.cell);
    if (reason !== undefined) reasons.set(arm, reason);
  }
  const runnable = options.arms.filter((arm) => !reasons.has(arm));
  const samples = new Map<Arm, Sample[]>(options.arms.map((arm) => [arm, []]));
  const verdicts = new Map<Arm, Verdict | null>();
  for (let repetition = 0; repetition < options.repetitions; repetition += 1) {
    const round = await measureOnce(options, runnable, repetition);
    for (const [arm, { verdict }] of round) if (verdict !== null) verdicts.set(arm, verdict);
    for (const arm of round.keys()) samples.get(arm)?.push(completeSample(arm, round));
  }
  return options.arms.map((arm) => ({
    arm: arm.name,
    title: arm.title,
    group: arm.group,
    ...(reasons.has(arm) && { unavailable: reasons.get(arm) as string }),
    samples: samples.get(arm) ?? [],
    verdict: verdicts.get(arm) ?? null,
  }));
}

interface Executed extends Measured {
  readonly verdict: Verdict | null;
}

type Round = Map<Arm, Executed>;

async function measureOnce(options: CellOptions, arms: readonly Arm[], repetition: number): Promise<Round> {
  const round: Round = new Map();
  const own = arms
    .filter(({ site }) => site === "own")
    .map((arm) => () => measureOwn(options, arm, repetition, round));
  const shared = () => measureShared(options, arms, repetition, round);
  for (const measureNext of rotate([shared, ...own], repetition)) {
    options.signal.throwIfAborted();
    await measureNext();
  }
  return round;
}

function rotate<T>(items: readonly T[], by: number): readonly T[] {
  const start = items.length === 0 ? 0 : by % items.length;
  return [...items.slice(start), ...items.slice(0, start)];
}

async function measureOwn(options: CellOptions, arm: Arm, repetition: number, round: Round): Promise<void> {
  await withSite(options, async (site) => {
    options.onArm(arm.name, repetition);
    const measured = await measure(site, await arm.open(site));
    const verify = repetition === 0 && arm.totals !== undefined;
    if (verify) await recomputeTruth(site);
    round.set(arm, { ...measured, verdict: verify ? await judge(site, arm) : null });
  });
}

/** Our load brings the batch into the clone. Each refresh starts from the same pending batch and totals. */
async function measureShared(
  options: CellOptions,
  arms: readonly Arm[],
  repetition: number,
  round: Round,
): Promise<void> {
  const [first] = arms.filter(({ site }) => site === "batch");
  const others = arms.filter(({ site }) => site === "shared");
  if (first === undefined) return;
  await withSite(options, async (site) => {
    const measureNext = async (arm: Arm) => {
      options.signal.throwIfAborted();
      options.onArm(arm.name, repetition);
      const measured = await measure(site, await arm.open(site));
      if (repetition === 0 && arm === first) await recomputeTruth(site);
      const verdict = repetition === 0 ? await judge(site, arm) : null;
      await arm.restore?.(site);
      round.set(arm, { ...measured, verdict });
    };
    await measureNext(first);
    if (repetition === 0) await judgeViews(site, first, round);
    for (const arm of rotate(others, repetition)) await measureNext(arm);
  });
}

async function judge(site: Site, arm: Arm): Promise<Verdict | null> {
  return arm.totals === undefined ? null : compareTotals(site, await arm.totals(site));
}

/** With the batch pending: the views must say then already what the rollup says after a refresh. */
async function judgeViews(site: Site, arm: Arm, round: Round): Promise<void> {
  const executed = round.get(arm);
  if (executed === undefined) return;
  const view = `${totalsOf("reports.venue_daily_totals")} join warehouse.venues using (venue_id)`;
  round.set(arm, { ...executed, verdict: joinVerdicts(executed.verdict, await compareTotals(site, view)) });
}

/**
 * A refresh alone is not what a user waits for: the load of the same repetition that precedes it is added.
 */
function completeSample(arm: Arm, round: Round): Sample {
  const sample = (round.get(arm) as Executed).sample;
  const load = loadBefore(arm, round);
  return load === undefined ? sample : addSamples(load, sample);
}

function loadBefore(arm: Arm, round: Round): Sample | undefined {
  const executed = [...round];
  if (arm.loadedBy === "ours") return executed.find(([{ site }]) => site === "batch")?.[1].load;
  if (arm.loadedBy !== "floor") return undefined;
  return executed.find(([{ name }]) => name === "copy" || name === "upsert")?.[1].sample;
}

function addSamples(load: Sample, refresh: Sample): Sample {
  const sum = (one: number | null, other: number | null) =>
    one === null || other === null ? null : one + other;
  return {
    wallMs: load.wallMs + refresh.wallMs,
    phases: [...load.phases, ...refresh.phases],
    walBytes: sum(load.walBytes, refresh.walBytes),
    tempBytes: sum(load.tempBytes, refresh.tempBytes),
    heapBytes: sum(load.heapBytes, refresh.heapBytes),
    indexBytes: sum(load.indexBytes, refresh.indexBytes),
    nodePeakBytes: load.nodePeakBytes,
    rows: load.rows,
    groups: refresh.groups,
  };
}
