/** Where the time of an arm or a cell goes: stacked bars, one piece for each phase. */
import type { ArmResult } from "../../results.ts";
import { formatMs, formatShare } from "../format.ts";
import { spread, standing } from "../measures.ts";
import { colorAt, cut, type Frame } from "./draw.ts";
import { drawByHand, drawLabel, drawRows, LEFT } from "./rows.ts";

export interface Stack {
  readonly title: string;
  readonly phases: ReadonlyMap<string, number>;
}

/** The median of each phase of an arm; empty for a wrong one. */
export function stackArm(title: string, arm: ArmResult | undefined): Stack {
  const phases = new Map<string, number>();
  if (arm === undefined || standing(arm) !== "right") return { title, phases };
  for (const phase of new Set(arm.samples.flatMap((sample) => sample.phases.map((one) => one.name)))) {
    const times = arm.samples.map((sample) =>
      sample.phases.filter((one) => one.name === phase).reduce((sum, { ms }) => sum + ms, 0),
    );
    phases.set(phase, spread(times)?.median ?? 0);
  }
  return { title, phases };
}

export interface PhasesOptions extends Frame {
  readonly stacks: readonly Stack[];
  /** Of the whole, instead of times. */
  readonly shares: boolean;
}

/** Stacked horizontal bars; the colours are those of `phaseColors`. */
export function drawPhases(options: PhasesOptions): string | null {
  const { width, shares } = options;
  const stacks = options.stacks.filter(({ phases }) => phases.size > 0);
  if (stacks.length === 0) return null;
  const wide = width === "wide";
  const rows = stacks.map(({ title, phases }) => ({
    title,
    phases,
    sum: [...phases.values()].reduce((sum, ms) => sum + ms, 0),
  }));
  const bars = [...phaseColors(stacks)].map(([phase, color]) => ({
    type: "bar",
    name: phase,
    stack: "phases",
    silent: true,
    barWidth: 14,
    ...(wide ? {} : { barGap: 0 }),
    itemStyle: { color, borderColor: "#fff", borderWidth: 0.5 },
    data: rows.map(({ phases, sum }) => (phases.get(phase) ?? 0) / (shares ? sum || 1 : 1)),
  }));
  const labels = drawByHand(rows, ({ index, at }) => {
    const { title, sum } = rows[index] as (typeof rows)[number];
    const [x, y] = at(shares ? 1 : sum);
    return wide
      ? drawLabel(formatMs(sum), x + 8, y, true)
      : drawLabel(`${cut(title, 38)}: ${formatMs(sum)}`, LEFT[width], y - 14, true);
  });
  return drawRows({
    ...options,
    titles: rows.map(({ title }) => title),
    right: 90,
    x: {
      type: "value",
      min: 0,
      max: shares ? 1 : Math.max(...rows.map(({ sum }) => sum)) || 1,
      format: shares ? formatShare : formatMs,
      showMaxLabel: shares,
    },
    series: [...bars, labels],
  });
}

/** A colour for each phase that occurs. */
export function phaseColors(stacks: readonly Stack[]): ReadonlyMap<string, string> {
  const names = [...new Set(stacks.flatMap(({ phases }) => [...phases.keys()]))];
  const others = names.filter((name) => name !== "refresh");
  const colors = new Map(others.map((name, index) => [name, colorAt(index)]));
  return names.includes("refresh") ? colors.set("refresh", "#e69f00") : colors;
}
