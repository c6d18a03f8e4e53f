/** Every line that a load refused. */
import { rawOf } from "../../inbox/rejection.ts";
import { writeJson, writeLine } from "../../output.ts";
import { type QuarantinedLine, readRejects } from "../../reports/loads.ts";
import { countOf, shorten } from "../../terminal/format.ts";
import { formatTable } from "../../terminal/table.ts";
import { widthOf } from "../../terminal/width.ts";
import { type Context, EXIT } from "../context.ts";
import { withWarehouse } from "../open.ts";

/** Lines shown as a table at most. */
const TABLE_ROWS = 200;

export async function listLines(
  context: Context,
  { load, json = false }: { readonly load: number; readonly json?: boolean | undefined },
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
    await writeLine(
      context,
      count === 0 ? "No rejects." : formatTable(columns, rows, widthOf(context.stdout)),
    );
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
