/** Flags of the verbs that load. */
import { type Command, Option } from "commander";
import { DEFAULT_REJECT_LIMIT } from "../load/quarantine.ts";
import type { RejectLimit } from "../load/task.ts";
import { jsonOption, parseRejectLimit, parseWhole } from "./flags.ts";
import { type SourceFlags, sourcesOption } from "./sources.ts";

export interface LoadFlags extends FormatFlags, SourceFlags {
  readonly refresh: boolean;
  readonly maxRejects: RejectLimit;
  readonly refuseSuspicious?: boolean;
  readonly replaceVenueDays?: boolean;
  readonly syncedOn?: string;
  readonly ignoreMissing?: boolean;
  readonly follow: boolean;
  readonly again?: boolean;
  readonly replace?: number;
  readonly because?: string;
  readonly json?: boolean;
}

/** Flags that `load` and `watch` share. */
export function addLoadOptions(command: Command): Command {
  command.addOption(
    new Option(
      "--max-rejects <share[+lines]>",
      "greatest share of rejected lines, 0 to 1; above it the file is rejected. With 0.01+3 three lines are allowed in any case. What a source says comes first",
    )
      .argParser(parseRejectLimit)
      .default(DEFAULT_REJECT_LIMIT, String(DEFAULT_REJECT_LIMIT.share)),
  );
  command.option(
    "--refuse-suspicious",
    "reject a file whose rejected lines look like more than single bad lines: three or more and all of one reason, more than 1 % of the file's money, or lines of one day after the sync date",
  );
  return addFormatOptions(command).addOption(sourcesOption()).addOption(jsonOption());
}

export interface FormatFlags {
  readonly decimalComma?: boolean;
  readonly syncSlack: number;
}

/** Flags that say how files are read. */
export function addFormatOptions(command: Command): Command {
  return command
    .option(
      "--decimal-comma",
      "in totals comma and point change places (12,50; 1.234,50); 12.50 is taken, too, but not 12.500",
    )
    .addOption(
      new Option(
        "--sync-slack <days>",
        "days after the sync date that are taken, too: 1 for names that hold the business day, or a date in another time zone. What a source says comes first",
      )
        .argParser(parseWhole(0))
        .default(0),
    );
}
