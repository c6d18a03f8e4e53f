import { readFileSync } from "node:fs";
import { text as readAll } from "node:stream/consumers";
import { type Command, Option } from "commander";
import { printable } from "../escape.ts";
import { findPsql, runPsql } from "../sql/psql.ts";
import { runStatements } from "../sql/statements.ts";
import { type AnswerFormat, printAnswer } from "../terminal/answer.ts";
import type { Warehouse } from "../warehouse.ts";
import { type Context, EXIT, resolvePath, usageError } from "./context.ts";
import { jsonOption } from "./flags.ts";
import { declareKind } from "./kind.ts";
import { withWarehouse } from "./open.ts";

interface SqlFlags {
  readonly command?: string;
  readonly write?: boolean;
  readonly csv?: boolean;
  readonly json?: boolean;
}

export function defineSql(verb: Command, context: Context): void {
  declareKind(verb, "reads")
    .description(
      "Ask the warehouse in SQL, on the embedded server or your own. On a terminal this opens psql, where it is installed. Without psql, or with --csv or --json, it runs the statements of -c, of the file or of standard input, and prints what they return. Statements cannot change anything, unless you say --write. The views to ask are in the schema reports.",
    )
    .argument("[file]", "a file of statements")
    .option("-c, --command <sql>", "run these statements")
    .option("--write", "let statements change the warehouse (at your own risk: verify afterwards)")
    .addOption(new Option("--csv", "what the statements return, as CSV with a header").conflicts("json"))
    .addOption(jsonOption())
    .addHelpText("after", "\nExample:\n  rollbook sql reports.sql --csv\n")
    .action(async (file: string | undefined, flags: SqlFlags) =>
      context.finish(await sql(context, file, flags)),
    );
}

async function sql(context: Context, file: string | undefined, flags: SqlFlags): Promise<number> {
  if (flags.write) context.begin("works");
  const input = readInput(context, file, flags);
  const stdin = context.stdin();
  const format: AnswerFormat = flags.json ? "json" : flags.csv ? "csv" : "table";
  const psql =
    format === "table" && (input !== undefined || stdin.isTTY) ? findPsql(context.environment) : undefined;
  if (psql === undefined && input === undefined && stdin.isTTY) {
    throw usageError(
      "psql is not installed here. Give statements with -c, in a file, or on standard input; or install PostgreSQL's client programs.",
    );
  }
  return withWarehouse(context, { reportsOnly: true }, async (warehouse) =>
    psql !== undefined
      ? openPsql(context, warehouse, { psql, input, readOnly: flags.write !== true })
      : printAnswers(context, warehouse, { text: input?.text ?? (await readAll(stdin)), format, flags }),
  );
}

interface Input {
  readonly text: string;
  /** Where the text is from, if from a file. */
  readonly file?: string;
}

function readInput(context: Context, file: string | undefined, flags: SqlFlags): Input | undefined {
  if (flags.command !== undefined && file !== undefined) {
    throw usageError("give statements with -c or in a file, not both.");
  }
  if (flags.command !== undefined) return { text: flags.command };
  if (file === undefined) return undefined;
  const path = resolvePath(context, file);
  try {
    return { text: readFileSync(path, "utf8"), file: path };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw usageError(`${printable(file)}: the file cannot be read (${code}).`);
  }
}

const EXIT_CODES = { done: EXIT.done, lost: EXIT.failed, refused: EXIT.usage } as const;

async function openPsql(
  context: Context,
  { connection }: Warehouse,
  {
    psql,
    input,
    readOnly,
  }: { readonly psql: string; readonly input: Input | undefined; readonly readOnly: boolean },
): Promise<number> {
  const { environment, folder, signal } = context;
  const statements = input?.file === undefined ? input : { file: input.file };
  const outcome = await context.lendTerminal(() =>
    runPsql({ psql, connection, environment, folder, input: statements, readOnly, signal }),
  );
  return EXIT_CODES[outcome];
}

async function printAnswers(
  context: Context,
  { database }: Warehouse,
  { text, format, flags }: { readonly text: string; readonly format: AnswerFormat; readonly flags: SqlFlags },
): Promise<number> {
  const { signal } = context;
  const answers = await runStatements({ database, text, readOnly: flags.write !== true, signal });
  for (const answer of answers) await printAnswer(context, answer, format);
  return EXIT.done;
}
