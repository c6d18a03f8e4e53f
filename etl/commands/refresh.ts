import { type Command, Option } from "commander";
import { ofRefresh } from "../lineage/outcome.ts";
import { writeJson, writeLine } from "../output.ts";
import { refreshPartitions } from "../refresh/refresh.ts";
import { STRATEGIES, type Strategy } from "../refresh/strategy.ts";
import { formatCount, formatDuration } from "../terminal/format.ts";
import { openProgress } from "../terminal/progress.ts";
import { formatTable } from "../terminal/table.ts";
import { widthOf } from "../terminal/width.ts";
import { type Context, EXIT } from "./context.ts";
import { jsonOption, parseDate, refuseEmptyRange } from "./flags.ts";
import { declareKind } from "./kind.ts";
import { withLineage } from "./open.ts";

interface RefreshFlags {
  readonly partition?: string[];
  readonly from?: string;
  readonly to?: string;
  readonly strategy: Strategy;
  readonly json?: boolean;
}

export function defineRefresh(verb: Command, context: Context): void {
  declareKind(verb, "works")
    .description(
      "Bring the rollup up to date: only partitions with pending changes, and inside them only the changed groups. All strategies end in the same rollup.",
    )
    .addOption(
      new Option("--partition <name...>", "only these partitions, for example 2026-10").conflicts([
        "from",
        "to",
      ]),
    )
    .option("--from <date>", "only partitions with creation dates from this one on (inclusive)", parseDate)
    .option("--to <date>", "only partitions with creation dates before this one (exclusive)", parseDate)
    .addOption(
      new Option(
        "--strategy <how>",
        "auto: choose for each partition; delta: apply what is pending; partition: rebuild the touched partitions, or those of --partition or --from and --to; full: rebuild all",
      )
        .choices(STRATEGIES)
        .default("auto"),
    )
    .addOption(jsonOption())
    .addHelpText("after", "\nExample:\n  rollbook refresh --partition 2026-09 2026-10 --strategy partition\n")
    .action(async (flags: RefreshFlags) => context.finish(await refresh(context, flags)));
}

async function refresh(context: Context, flags: RefreshFlags): Promise<number> {
  refuseEmptyRange(flags);
  const { from, to } = flags;
  return withLineage(context, {}, async ({ database, lineage }) => {
    const bar = openProgress(context);
    bar.update(0, "refreshing");
    const work = () =>
      refreshPartitions({
        database,
        partitions: flags.partition,
        range: from === undefined && to === undefined ? undefined : { from, to },
        strategy: flags.strategy,
        signal: context.signal,
        onProgress: (done, of) => bar.update(done / of, `refreshing, ${done} of ${of} partitions done`),
      });
    const reports = await lineage.follow("refresh", work, ofRefresh).finally(() => bar.stop());
    if (flags.json) {
      for (const report of reports) await writeJson(context, report);
    } else if (reports.length === 0) {
      await writeLine(context, "Nothing is pending.");
    } else {
      await writeLine(
        context,
        formatTable(
          [
            { title: "partition" },
            { title: "method" },
            { title: "reason", leftOut: 2 },
            { title: "changes", align: "right" },
            { title: "groups written", align: "right" },
            { title: "predicted", align: "right", leftOut: 1 },
            { title: "took", align: "right" },
          ],
          reports.map(({ partition, method, reason, changes, groups, predictedMs, durationMs }) => [
            partition,
            method,
            reason,
            formatCount(changes),
            formatCount(groups.inserted + groups.updated + groups.deleted),
            predictedMs === null ? "" : formatDuration(predictedMs),
            formatDuration(durationMs),
          ]),
          widthOf(context.stdout),
        ),
      );
    }
    return EXIT.done;
  });
}
