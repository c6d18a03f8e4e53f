/** `summary.md`: the tables for the README. */
import type { ArmResult, CellResult, Results } from "../results.ts";
import { formatCount, formatMs, formatRatio } from "./format.ts";
import { escapeMarkdown } from "./html.ts";
import {
  describeStanding,
  findArm,
  type Measure,
  mainCell,
  measureArm,
  measureRight,
  ratio,
  referenceArm,
  standing,
} from "./measures.ts";
import { findSeries } from "./series.ts";

export function createSummary(results: Results): string {
  const main = mainCell(results);
  if (main === undefined) return "Nothing was measured yet.\n";
  const { cpu, cores, postgres, commit } = results.environment;
  const run = `commit ${escapeMarkdown(commit)}, profile ${escapeMarkdown(results.profile)}`;
  const machine = `${escapeMarkdown(cpu)}, ${cores} cores, PostgreSQL ${escapeMarkdown(postgres)}`;
  const end = results.finishedAt === null ? ", not through yet." : ".";
  return [
    `Medians, ${escapeMarkdown(main.cell.id)}; ${machine}, ${run}${end}`,
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
      const times = (["exact", "refresh", "refreshed"] as const).map((measure) => formatTime(arm, measure));
      const multiple = arm === reference ? "1x" : factor === null ? "" : formatRatio(factor.median);
      return `| ${title} | ${times.join(" | ")} | ${multiple} |`;
    });
  const times = "file to exact totals | refresh alone | file to refreshed totals";
  const head = `| way | ${times} | against ${escapeMarkdown(reference?.title ?? "ours")} |`;
  return [head, "| --- | --- | --- | --- | --- |", ...rows].join("\n");
}

function createHistoryTable(results: Results): string[] {
  const series = findSeries(results, "history")[0];
  if (series === undefined) return [];
  const names = [...new Set(series.cells.flatMap(({ arms }) => arms.map(({ arm }) => arm)))];
  const rows = names.map((name) => {
    const arms = series.cells.map((result) => findArm(result, name));
    const cells = arms.map((arm) => (arm === undefined ? "" : formatTime(arm, "refreshed")));
    return `| ${escapeMarkdown(arms.find((arm) => arm !== undefined)?.title ?? name)} | ${cells.join(" | ")} |`;
  });
  const histories = series.cells.map(({ cell }) => formatCount(cell.history)).join(" | ");
  const head = `| file to refreshed totals, by history | ${histories} |`;
  return [[head, `| --- |${" --- |".repeat(series.cells.length)}`, ...rows].join("\n")];
}

/** A floor keeps no totals, so it has no time to exact ones. */
function formatTime(arm: ArmResult, measure: Measure): string {
  if (standing(arm) !== "right") return escapeMarkdown(describeStanding(arm));
  if (arm.group === "floor" && measure === "exact") return "keeps none";
  const time = measureRight(arm, measure);
  return time === null ? "" : formatMs(time.median);
}

function rank(arm: ArmResult): number {
  return standing(arm) === "right" ? (measureArm(arm, "refreshed")?.median ?? Infinity) : Infinity;
}
