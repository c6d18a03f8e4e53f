/** `summary.md`: the tables for the README. */
import type { ArmResult, CellResult, Results } from "../results.ts";
import { escapeMarkdown, formatCount, formatMs, formatRatio } from "./format.ts";
import {
  findArm,
  findSeries,
  type Measure,
  mainCell,
  measureArm,
  measureRight,
  ratio,
  referenceArm,
  standing,
} from "./measures.ts";
import { describeStanding } from "./plots.ts";

export function createSummary(results: Results): string {
  const main = mainCell(results);
  if (main === undefined) return "Nothing was measured yet.\n";
  const { cpu, cores, postgres } = results.environment;
  return [
    `Medians, ${escapeMarkdown(main.cell.id)}; ${escapeMarkdown(cpu)}, ${cores} cores, PostgreSQL ${escapeMarkdown(postgres)}, commit ${escapeMarkdown(results.environment.commit)}, profile ${escapeMarkdown(results.profile)}${results.finishedAt === null ? ", not through yet" : ""}.`,
    createCellTable(main),
    ...createHistoryTable(results),
    "",
  ]
    .join("\n\n")
    .replace(/\n+$/, "\n");
}

function createCellTable(main: CellResult): string {
  const reference = referenceArm(main);
  const under = reference && measureArm(reference, "refreshed");
  const rows = main.arms
    .toSorted((a, b) => rank(a) - rank(b))
    .map((arm) => {
      const title = escapeMarkdown(arm.title);
      if (standing(arm) !== "right") return `| ${title} | ${escapeMarkdown(describeStanding(arm))} | | | |`;
      const factor = ratio(measureArm(arm, "refreshed"), under ?? null);
      const times = (["exact", "refresh", "refreshed"] as const).map((measure) => tell(arm, measure));
      const multiple = arm === reference ? "1x" : factor === null ? "" : formatRatio(factor.median);
      return `| ${title} | ${times.join(" | ")} | ${multiple} |`;
    });
  const head = `| way | file to exact totals | refresh alone | file to refreshed totals | against ${escapeMarkdown(reference?.title ?? "ours")} |`;
  return [head, "| --- | --- | --- | --- | --- |", ...rows].join("\n");
}

function createHistoryTable(results: Results): string[] {
  const series = findSeries(results, "history")[0];
  if (series === undefined) return [];
  const names = [...new Set(series.cells.flatMap(({ arms }) => arms.map(({ arm }) => arm)))];
  const rows = names.map((name) => {
    const arms = series.cells.map((result) => findArm(result, name));
    const cells = arms.map((arm) => (arm === undefined ? "" : tell(arm, "refreshed")));
    return `| ${escapeMarkdown(arms.find((arm) => arm !== undefined)?.title ?? name)} | ${cells.join(" | ")} |`;
  });
  const head = `| file to refreshed totals, by history | ${series.cells.map(({ cell }) => formatCount(cell.history)).join(" | ")} |`;
  return [[head, `| --- |${" --- |".repeat(series.cells.length)}`, ...rows].join("\n")];
}

/** A floor keeps no totals, so it has no time to exact ones. */
function tell(arm: ArmResult, measure: Measure): string {
  if (standing(arm) !== "right") return escapeMarkdown(describeStanding(arm));
  if (arm.group === "floor" && measure === "exact") return "keeps none";
  const time = measureRight(arm, measure);
  return time === null ? "" : formatMs(time.median);
}

function rank(arm: ArmResult): number {
  return standing(arm) === "right" ? (measureArm(arm, "refreshed")?.median ?? Infinity) : Infinity;
}
