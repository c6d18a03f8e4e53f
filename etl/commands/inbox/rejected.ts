import type { Command } from "commander";
import { printable } from "../../escape.ts";
import { listRejected } from "../../inbox/review.ts";
import { writeJson, writeLine } from "../../output.ts";
import { countOf, formatBytes, formatCount, shorten } from "../../terminal/format.ts";
import { type Context, EXIT } from "../context.ts";
import { jsonOption } from "../flags.ts";
import { declareKind } from "../kind.ts";
import { requireInbox } from "./folder.ts";

interface Flags {
  readonly json?: boolean;
}

/** Lines of a rejected drop shown to people. */
const SHOWN_LINES = 3;

export function defineRejected(verb: Command, context: Context): void {
  declareKind(verb, "reads")
    .description(
      "The files in rejected/ that nobody has decided on yet, each with the reason and its first rejected lines.",
    )
    .argument("<folder>", "the inbox")
    .addOption(jsonOption())
    .addHelpText("after", "\nExample:\n  rollbook inbox rejected inbox\n")
    .action(async (folder: string, flags: Flags) => context.finish(await rejected(context, folder, flags)));
}

async function rejected(context: Context, folder: string, { json = false }: Flags): Promise<number> {
  const drops = await listRejected(await requireInbox(context, folder));
  if (!json && drops.length === 0) await writeLine(context, "Nothing waits for a decision.");
  for (const drop of drops) {
    if (json) {
      await writeJson(context, drop);
      continue;
    }
    const { path, bytes, loadId, source, error, rows, lines } = drop;
    const number = loadId === null ? "" : `, load ${loadId}`;
    const by = source === null ? "" : `, source ${source.name}`;
    const counts =
      rows === null ? "" : `, ${formatCount(rows.rejected)} of ${countOf(rows.read, "line")} rejected`;
    await writeLine(context, `${printable(path)}: ${formatBytes(bytes)}${number}${printable(by)}${counts}`);
    await writeLine(
      context,
      `  ${printable(error === null ? "no reason was kept" : `${error.code}: ${error.message}`)}`,
    );
    if (error?.code === "no_sync_date" || error?.code === "sync_date_in_future") {
      await writeLine(context, "  To load it: rollbook inbox decide, with --as load --synced-on YYYY-MM-DD");
    }
    for (const line of lines.slice(0, SHOWN_LINES)) {
      const raw = "raw" in line ? line.raw : Buffer.from(line.rawBase64, "base64").toString("latin1");
      await writeLine(context, printable(`  line ${line.line}: ${line.reason}: ${shorten(raw, 100)}`));
    }
  }
  if (!json && drops.length > 0) await writeLine(context, "Decide with: rollbook inbox decide");
  return EXIT.done;
}
