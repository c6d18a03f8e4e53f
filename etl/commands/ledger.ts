import { type Command, Option } from "commander";
import { LOAD_STATUSES, type LoadStatus, type ReportedLoad } from "../../db/schema.ts";
import { printable } from "../escape.ts";
import { rawOf } from "../inbox/rejection.ts";
import { writeJson, writeLine } from "../output.ts";
import { type QuarantinedLine, readLoads, readRejects } from "../reports/loads.ts";
import { countOf, formatCount, formatInstant, shorten } from "../terminal/format.ts";
import { formatTable } from "../terminal/table.ts";
import { type Context, EXIT, jsonOption, parseWhole, withWarehouse } from "./context.ts";
import { declareKind } from "./kind.ts";

interface LoadsFlags {
  readonly limit: number;
  readonly load?: number;
  readonly status?: LoadStatus;
  readonly json?: boolean;
}

export function addLoads(program: Command, context: Context): void {
  declareKind(program.command("loads"), "reads")
    .summary("the ledger: every load and what became of its lines")
    .description("The ledger, newest first: every load, what it read, and what became of the lines.")
    .option("--load <id>", "only this load", parseWhole(1))
    .addOption(new Option("--status <status>", "only loads of this status").choices(LOAD_STATUSES))
    .option("--limit <n>", "so many at most", parseWhole(1), 50)
    .addOption(jsonOption())
    .addHelpText("after", "\nExample:\n  rollbook loads --status rejected --limit 10\n")
    .action(async (flags: LoadsFlags) => context.finish(await listLoads(context, flags)));
}

async function listLoads(
  context: Context,
  { limit, load, status, json = false }: LoadsFlags,
): Promise<number> {
  return withWarehouse(context, { reportsOnly: true }, async ({ database, settings }) => {
    const found = await readLoads({
      database,
      settings,
      limit,
      loadId: load,
      status,
      signal: context.signal,
    });
    if (json) {
      for (const entry of found) await writeJson(context, entry);
    } else {
      await writeLine(context, found.length === 0 ? "No loads." : formatLoads(found));
      for (const { loadId, errorMessage } of found) {
        if (errorMessage !== null) await writeLine(context, `load ${loadId}: ${printable(errorMessage)}`);
      }
    }
    return EXIT.done;
  });
}

/** A table of loads. */
export function formatLoads(found: readonly ReportedLoad[]): string {
  const counts = ["read", "inserted", "corrected", "unchanged", "superseded", "rejected"] as const;
  return formatTable(
    [
      { title: "load", align: "right" },
      { title: "drop" },
      { title: "synced on" },
      { title: "status" },
      ...counts.map((title) => ({ title, align: "right" as const })),
      { title: "finished at" },
      { title: "error" },
    ],
    found.map((load) => [
      String(load.loadId),
      shorten(load.fileName),
      load.syncedOn ?? "",
      load.status,
      ...counts.map((name) => formatCount(load[name])),
      formatInstant(load.finishedAt),
      load.errorCode ?? "",
    ]),
  );
}

/** Lines shown as a table at most. */
const TABLE_ROWS = 200;

export function addRejects(program: Command, context: Context): void {
  declareKind(program.command("rejects"), "reads")
    .summary("the quarantine: refused lines, with reason and raw text")
    .description(
      "Lines that a load refused, with line number, reason and raw text; by default those of the newest load that has any.",
    )
    .option("--load <id>", "of this load", parseWhole(1))
    .addOption(jsonOption())
    .addHelpText("after", "\nExample:\n  rollbook rejects --load 42 --json\n")
    .action(async (flags: { readonly load?: number; readonly json?: boolean }) =>
      context.finish(await listRejects(context, flags)),
    );
}

async function listRejects(
  context: Context,
  { load, json = false }: { readonly load?: number; readonly json?: boolean },
): Promise<number> {
  return withWarehouse(context, {}, async ({ database }) => {
    const rows: string[][] = [];
    let count = 0;
    await readRejects({ database, loadId: load, signal: context.signal }, async (reject) => {
      if (json) return writeJson(context, jsonReject(reject));
      count += 1;
      if (rows.length < TABLE_ROWS) rows.push(tableReject(reject));
    });
    if (json) return EXIT.done;
    const columns = [
      { title: "load", align: "right" as const },
      { title: "line", align: "right" as const },
      { title: "reason" },
      { title: "column" },
      { title: "raw" },
    ];
    await writeLine(context, count === 0 ? "No rejects." : formatTable(columns, rows));
    if (count > rows.length) {
      await writeLine(context, `... and ${countOf(count - rows.length, "more line")}; --json gives all.`);
    }
    return EXIT.done;
  });
}

function jsonReject({ loadId, line, reason, column, raw }: QuarantinedLine): unknown {
  return { loadId, line, reason, column, ...rawOf(raw) };
}

function tableReject({ loadId, line, reason, column, raw }: QuarantinedLine): string[] {
  const text = raw.toString("utf8");
  return [String(loadId), String(line), reason, column ?? "", shorten(text, 100)];
}
