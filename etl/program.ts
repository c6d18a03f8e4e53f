/** The command line: all verbs, for the CLI and for the usage text of the README. */
import { readFileSync } from "node:fs";
import { Command } from "commander";
import type { Context } from "./commands/context.ts";
import { addInit } from "./commands/init.ts";
import { addLoads, addRejects } from "./commands/ledger.ts";
import { addLoad } from "./commands/load.ts";
import { addPartitions } from "./commands/partitions.ts";
import { addRefresh } from "./commands/refresh.ts";
import { addStatus } from "./commands/status.ts";
import { addExplainTotal, addTotals } from "./commands/totals.ts";
import { addVerify } from "./commands/verify.ts";
import { addWatch } from "./commands/watch.ts";

/** Width of help texts, whatever the terminal: they are printed in the README, too. */
const HELP_WIDTH = 100;

/** Builds the command line. Usage errors are thrown as CommanderError, after the message was printed. */
export function buildProgram(context: Context): Command {
  const program = new Command("rollbook")
    .description(
      "Keeps venue turnover exact: loads invoice files into PostgreSQL and refreshes only the totals they touch.",
    )
    .version(readVersion())
    .exitOverride()
    .configureHelp({ helpWidth: HELP_WIDTH, sortSubcommands: false })
    .configureOutput({
      writeOut: (text) => context.stdout.write(text),
      writeErr: (text) => context.stderr.write(text),
    })
    .showSuggestionAfterError(true)
    .showHelpAfterError("(rollbook --help lists the verbs, rollbook <verb> --help the flags)")
    .addHelpText(
      "after",
      `
Where the warehouse is: DATABASE_URL, or PGHOST or PGSERVICE with the other PG* variables;
else an embedded PostgreSQL whose data lives in ROLLBOOK_HOME (default .rollbook).

Exit codes: 0 done, 1 failed and worth a retry, 2 usage or configuration, 3 the drop was rejected.
`,
    );
  for (const add of [
    addInit,
    addLoad,
    addRefresh,
    addWatch,
    addTotals,
    addExplainTotal,
    addStatus,
    addLoads,
    addRejects,
    addVerify,
    addPartitions,
  ]) {
    add(program, context);
  }
  return program;
}

function readVersion(): string {
  const manifest: { version: string } = JSON.parse(
    readFileSync(new URL("../package.json", import.meta.url), "utf8"),
  );
  return manifest.version;
}
