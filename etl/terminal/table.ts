/** Tables for people. */
import Table from "cli-table3";
import { printable } from "../escape.ts";

export interface Column {
  readonly title: string;
  readonly align?: "left" | "right";
  /** Where a table is too wide, columns with a number here are left out: 1 first, then 2, and so on. */
  readonly leftOut?: number;
}

/** A text column is not wrapped to less than this. */
const LEAST_WIDTH = 8;
const GAP = 2;
const NO_LINES = Object.fromEntries(
  ["top", "bottom", "left", "right"]
    .flatMap((side) => [side, `${side}-mid`, `${side}-left`, `${side}-right`])
    .concat(["mid", "mid-mid", "middle"])
    .map((name) => [name, ""]),
);

/**
 * A plain table: a header and rows.
 *
 * @param width greatest width of a line. A wider table loses its less important columns, and says which; then its widest column is
 *   wrapped. Left out: as wide as it is.
 */
export function formatTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  width = Number.POSITIVE_INFINITY,
): string {
  const order = columns
    .filter(({ leftOut }) => leftOut !== undefined)
    .toSorted((one, other) => (one.leftOut ?? 0) - (other.leftOut ?? 0));
  const omitted = new Set<Column>();
  const draw = () => {
    const shown = columns
      .map((column, index) => ({ column, index }))
      .filter(({ column }) => !omitted.has(column));
    const cells = rows.map((row) => shown.map(({ index }) => printable(row[index] ?? "")));
    return drawTable(
      shown.map(({ column }) => column),
      cells,
      width,
    );
  };
  let drawn = draw();
  for (const column of order) {
    if (drawn.fits) break;
    omitted.add(column);
    drawn = draw();
  }
  if (omitted.size === 0) return drawn.text;
  const titles = columns.filter((column) => omitted.has(column)).map(({ title }) => title);
  return `${drawn.text}\n${wrap(`(left out: ${titles.join(", ")}; a wider terminal or --json shows all)`, width)}`;
}

function drawTable(columns: readonly Column[], rows: readonly (readonly string[])[], width: number) {
  const natural = render(columns, rows);
  const widths = natural.options.colWidths.map(Number);
  const excess = widths.reduce((sum, one) => sum + one, 0) - GAP - width;
  if (excess <= 0) return { fits: true, text: trim(natural) };
  const widest = widths.indexOf(Math.max(...widths));
  const least = LEAST_WIDTH + GAP;
  const wrapped = widths.map((one, index) => (index === widest ? Math.max(one - excess, least) : one));
  return { fits: false, text: trim(render(columns, rows, wrapped)) };
}

/** A table whose widths are computed: the library does that when it draws. */
function render(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  widths?: readonly number[],
) {
  const table = new Table({
    head: columns.map((column) => printable(column.title)),
    colAligns: columns.map((column) => column.align ?? "left"),
    style: { head: [], border: [], "padding-left": 0, "padding-right": GAP },
    chars: NO_LINES,
    ...(widths !== undefined && { colWidths: [...widths], wordWrap: true, wrapOnWordBoundary: false }),
  });
  table.push(...rows.map((row) => [...row]));
  table.toString();
  return table;
}

function trim(table: { readonly toString: () => string }): string {
  return table
    .toString()
    .split("\n")
    .map((line) => line.trimEnd())
    .join("\n");
}

/** Lines of whole words. */
export function wrap(text: string, width: number): string {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width)
      lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines.join("\n");
}
