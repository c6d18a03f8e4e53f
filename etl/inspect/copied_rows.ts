/** Reads the rows that would go to the warehouse: the text that COPY would get. */
import type { Column, CopyLayout } from "../drop/row.ts";

/** The texts of its columns; of a line that says that its invoice is void the total is empty. */
export type CopiedRow = Readonly<Record<Column, string>>;

/** Yields the rows of whole lines of COPY text. */
export function* readCopiedRows(copy: Buffer, layout: CopyLayout): Generator<CopiedRow, void, undefined> {
  const text = copy.toString("utf8");
  for (let from = 0; from < text.length; ) {
    const to = text.indexOf("\n", from);
    const cells = splitRow(text.slice(from, to), layout.delimiter);
    yield Object.fromEntries(
      layout.columns.map((column, index) => [column, cells[index] ?? ""]),
    ) as CopiedRow;
    from = to + 1;
  }
}

function splitRow(row: string, delimiter: string): readonly string[] {
  if (!row.includes("\\")) return row.split(delimiter);
  const cells = [""];
  for (let at = 0; at < row.length; at++) {
    const character = row[at] ?? "";
    if (character === delimiter) cells.push("");
    else if (character !== "\\") cells[cells.length - 1] += character;
    else {
      at++;
      // Null is written as an escape, too.
      if (row[at] !== "N") cells[cells.length - 1] += row[at] === "t" ? "\t" : (row[at] ?? "");
    }
  }
  return cells;
}
