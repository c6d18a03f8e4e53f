/** What a server answers to a statement: as a table, as CSV and as JSON. */
import { stringify } from "csv-stringify/sync";
import { type Streams, write, writeJson, writeLine } from "../output.ts";
import type { Answer, AnswerColumn } from "../sql/statements.ts";
import { countOf } from "./format.ts";
import { formatTable } from "./table.ts";
import { widthOf } from "./width.ts";

export type AnswerFormat = "table" | "csv" | "json";

export async function printAnswer(streams: Streams, answer: Answer, format: AnswerFormat): Promise<void> {
  const { columns, cells } = answer;
  if (columns.length === 0) {
    if (format === "table") await writeLine(streams, describeChange(answer));
    return;
  }
  switch (format) {
    case "table":
      return printTable(streams, answer);
    case "csv":
      return write(
        streams,
        stringify([columns.map(({ name }) => name), ...cells], { record_delimiter: "\n" }),
      );
    case "json":
      for (const row of cells) await writeJson(streams, toObject(columns, row));
  }
}

async function printTable(streams: Streams, { columns, cells }: Answer): Promise<void> {
  const head = columns.map(({ name, kind }) => ({
    title: name,
    align: kind === "number" || kind === "money" ? ("right" as const) : ("left" as const),
  }));
  const rows = cells.map((row) => row.map((cell) => cell ?? ""));
  await writeLine(streams, formatTable(head, rows, widthOf(streams.stdout)));
  await writeLine(streams, `(${countOf(cells.length, "row")})`);
}

function describeChange({ command, rows }: Answer): string {
  return rows === null ? command : `${command} ${rows}`;
}

function toObject(columns: readonly AnswerColumn[], row: readonly (string | null)[]): unknown {
  return Object.fromEntries(
    columns.map(({ name, kind }, index) => [name, toValue(kind, row[index] ?? null)]),
  );
}

/** A number only where it is exactly that number. */
function toValue(kind: AnswerColumn["kind"], text: string | null): unknown {
  if (text === null) return null;
  switch (kind) {
    case "number": {
      const value = Number(text);
      return Number.isInteger(value) && !Number.isSafeInteger(value)
        ? text
        : Number.isNaN(value)
          ? text
          : value;
    }
    case "boolean":
      return text === "t";
    case "json":
      return JSON.parse(text);
    default:
      return text;
  }
}
