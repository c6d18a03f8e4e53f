import type { Command } from "commander";
import { checkArchive, type Finding } from "../../inbox/check.ts";
import { note, writeJson, writeLine } from "../../output.ts";
import { describeFinding } from "../../terminal/finding.ts";
import { countOf, formatCount } from "../../terminal/format.ts";
import { type Context, EXIT } from "../context.ts";
import { jsonOption, parseWhole, recursiveOption } from "../flags.ts";
import { declareKind } from "../kind.ts";
import { withWarehouse } from "../open.ts";
import { readInboxSources, type SourceFlags, sourcesOption } from "../sources.ts";
import { requireInbox } from "./folder.ts";

interface Flags extends SourceFlags {
  readonly json?: boolean;
  readonly hashWithin: number;
  readonly recursive?: boolean;
}

export function defineCheck(verb: Command, context: Context): void {
  declareKind(verb, "works")
    .description(
      "Compare the files in archive/ with the ledger: all by size, and by hash those that were written to since their load and, each day, another part. One that grew or changed goes back to the inbox, and the next run loads it again. Files that the ledger does not know stay. Meant to run once a day.",
    )
    .argument("<folder>", "the inbox")
    .option("--hash-within <days>", "hash each file once within so many days; 1: all now", parseWhole(1), 30)
    .addOption(recursiveOption())
    .addOption(sourcesOption())
    .addOption(jsonOption())
    .addHelpText("after", "\nExample:\n  rollbook inbox check inbox\n")
    .action(async (folder: string, flags: Flags) => context.finish(await check(context, folder, flags)));
}

async function check(context: Context, folder: string, flags: Flags): Promise<number> {
  const { json = false, hashWithin, recursive } = flags;
  const inbox = await requireInbox(context, folder);
  const sources = await readInboxSources(context, inbox, flags);
  const counts: Record<Finding["outcome"], number> = { returned: 0, unknown: 0, undone: 0, failed: 0 };
  const report = await withWarehouse(context, {}, ({ database }) =>
    checkArchive({
      database,
      inbox,
      parts: hashWithin,
      recursive,
      sources,
      signal: context.signal,
      onFinding: async (finding) => {
        counts[finding.outcome] += 1;
        note(context, describeFinding(finding));
        if (json) await writeJson(context, { kind: "file", ...finding });
      },
    }),
  );
  if (json) await writeJson(context, { kind: "summary", ...report, ...counts });
  else {
    const { files, hashed } = report;
    await writeLine(
      context,
      `${countOf(files, "archived file")} checked, ${formatCount(hashed)} by hash: ` +
        `${formatCount(counts.returned)} back to the inbox, ${formatCount(counts.unknown)} unknown, ${formatCount(counts.undone)} undone, ${formatCount(counts.failed)} failed.`,
    );
  }
  return counts.failed > 0 ? EXIT.failed : EXIT.done;
}
