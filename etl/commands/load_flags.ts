/** Flags of the verbs that load. */
import { type Command, Option } from "commander";
import { jsonOption, parseShare } from "./flags.ts";

export interface LoadFlags {
  readonly refresh: boolean;
  readonly maxRejects: number;
  readonly syncedOn?: string;
  readonly decimalComma?: boolean;
  readonly ignoreMissing?: boolean;
  readonly follow: boolean;
  readonly again?: boolean;
  readonly json?: boolean;
}

/** Flags that `load` and `watch` share. */
export function addLoadOptions(command: Command): Command {
  return command
    .addOption(
      new Option(
        "--max-rejects <share>",
        "greatest share of rejected lines, 0 to 1; above it the file is rejected",
      )
        .argParser(parseShare)
        .default(0.01),
    )
    .option("--decimal-comma", "totals may have a decimal comma (12,50); points are, too")
    .addOption(jsonOption());
}
