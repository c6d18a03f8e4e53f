/** Runs SQL that a user gives, and returns what the server answers. */
import pg from "pg";
import { type Database, withSession } from "../../db/client.ts";
import { isConnectionLost, RollbookError, SQLSTATE } from "../../db/errors.ts";
import { sessionSettings } from "./psql.ts";

export interface Answer {
  /** What was done, in the server's word: SELECT, DELETE. */
  readonly command: string;
  /** Rows returned or changed; null where neither counts. */
  readonly rows: number | null;
  readonly columns: readonly AnswerColumn[];
  /** The server's texts. */
  readonly cells: readonly (readonly (string | null)[])[];
}

export interface AnswerColumn {
  readonly name: string;
  readonly kind: "number" | "boolean" | "json" | "money" | "text";
}

const { builtins } = pg.types;
/** Whole numbers and floats are numbers; numeric is exact, and no float ever holds it. */
const KINDS: ReadonlyMap<number, AnswerColumn["kind"]> = new Map([
  ...[builtins.INT2, builtins.INT4, builtins.INT8, builtins.FLOAT4, builtins.FLOAT8, builtins.OID].map(
    (oid) => [oid, "number"] as const,
  ),
  [builtins.NUMERIC, "money"],
  [builtins.BOOL, "boolean"],
  [builtins.JSON, "json"],
  [builtins.JSONB, "json"],
]);

const AS_TEXT: pg.CustomTypesConfig = { getTypeParser: () => (value: string | Buffer) => value };

/**
 * Runs one or more statements, separated by semicolons, in one transaction unless they say otherwise. All rows are in memory.
 *
 * @throws RollbookError `usage` when the server refuses a statement
 */
export async function runStatements(options: {
  readonly database: Database;
  readonly text: string;
  readonly readOnly: boolean;
  readonly signal: AbortSignal;
}): Promise<readonly Answer[]> {
  const { database, text, readOnly, signal } = options;
  return withSession({ database, signal }, async ({ client }) => {
    // As psql has it; a session of ours finds nothing but what is named with its schema.
    await client.query("reset search_path");
    for (const [name, value] of Object.entries(sessionSettings(readOnly)))
      await client.query("select set_config($1, $2, false)", [name, value]);
    const results = await client
      .query({ text, rowMode: "array", types: AS_TEXT })
      .catch((error: unknown) => Promise.reject(explain(error, readOnly)));
    return [results].flat().map(readAnswer);
  });
}

function readAnswer({ command, rowCount, fields, rows }: pg.QueryArrayResult): Answer {
  return {
    command: command ?? "",
    rows: rowCount,
    columns: fields.map(({ name, dataTypeID }) => ({ name, kind: KINDS.get(dataTypeID) ?? "text" })),
    cells: rows,
  };
}

function explain(error: unknown, readOnly: boolean): unknown {
  if (!(error instanceof pg.DatabaseError) || isConnectionLost(error)) return error;
  const detail = [error.detail, error.hint].filter(Boolean).join(" ");
  const remedy =
    readOnly && error.code === SQLSTATE.readOnlyTransaction
      ? "Say --write to let statements change the warehouse."
      : detail;
  return new RollbookError({
    code: "usage",
    message: [error.message, remedy].filter(Boolean).join(". "),
    cause: error,
  });
}
