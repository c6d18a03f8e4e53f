import { type Command, Option } from "commander";
import type { ReportedClosing } from "../closings/read.ts";
import { RESTATED_BY, type Restated, type RestatedBy, readRestated } from "../closings/restated.ts";
import { writeJson, writeLine } from "../output.ts";
import { describeClosing, formatRestated } from "../terminal/closings.ts";
import { countOf } from "../terminal/format.ts";
import { widthOf } from "../terminal/width.ts";
import { type Context, EXIT } from "./context.ts";
import { jsonOption } from "./flags.ts";
import { declareKind } from "./kind.ts";
import { withWarehouse } from "./open.ts";
import { addPeriod, type PeriodFlags, readPeriod } from "./period.ts";

interface Flags extends PeriodFlags {
  readonly by: RestatedBy;
  readonly json?: boolean;
}

/** A table is for reading: of more rows than this it shows the first, and says so. */
const TABLE_ROWS = 1000;

export function defineRestated(verb: Command, context: Context): void {
  const command = declareKind(verb, "reads").description(
    "What has changed in a period since it was closed: each venue and date whose number of invoices or total is not what it was then, or the drops that did it. If it was closed several times, the newest closing counts.",
  );
  addPeriod(command)
    .addOption(
      new Option("--by <grouping>", "group: venue and date; drop: the files, undos and repairs that did it")
        .choices(RESTATED_BY)
        .default("group"),
    )
    .addOption(jsonOption())
    .addHelpText("after", "\nExample:\n  rollbook restated 2026-10 --by drop\n")
    .action(async (name: string | undefined, flags: Flags) =>
      context.finish(await listRestated(context, name, flags)),
    );
}

async function listRestated(context: Context, name: string | undefined, flags: Flags): Promise<number> {
  const period = readPeriod(name, flags);
  const { by, json = false } = flags;
  return withWarehouse(context, { reportsOnly: true }, async ({ database, settings }) => {
    const shown: Restated[] = [];
    let count = 0;
    let closing: ReportedClosing | undefined;
    const onClosing = async (found: ReportedClosing) => {
      closing = found;
    };
    const { signal } = context;
    await readRestated({ database, settings, period, by, signal, onClosing }, async (restated) => {
      count += 1;
      if (json) await writeJson(context, { closing: closing?.closing, period: period.name, ...restated });
      else if (shown.length < TABLE_ROWS) shown.push(restated);
    });
    if (json || closing === undefined) return EXIT.done;
    await writeLine(context, describeClosing(closing));
    if (count === 0) await writeLine(context, "Nothing has changed since.");
    else await writeLine(context, formatRestated(shown, by, widthOf(context.stdout)));
    const hidden = count - shown.length;
    if (hidden > 0) await writeLine(context, `... and ${countOf(hidden, "more row")}; --json gives all.`);
    return EXIT.done;
  });
}
