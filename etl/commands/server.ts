import type { Command } from "commander";
import { readConfig } from "../../db/connection/config.ts";
import { libpqUrl } from "../../db/connection/libpq.ts";
import { printable } from "../escape.ts";
import { writeJson, writeLine } from "../output.ts";
import type { Warehouse } from "../warehouse.ts";
import { type Context, EXIT } from "./context.ts";
import { jsonOption } from "./flags.ts";
import { declareKind } from "./kind.ts";
import { withWarehouse } from "./open.ts";
import { untilInterrupted } from "./wait.ts";

export function defineServer(verb: Command, context: Context): void {
  declareKind(verb, "works")
    .description(
      "Keep the embedded PostgreSQL up until Ctrl-C, and print how other programs reach it (docs/connect.md). Other commands may run meanwhile. A server of your own runs without this; then the address is printed, and that is all.",
    )
    .addOption(jsonOption())
    .addHelpText("after", "\nExample:\n  rollbook server\n")
    .action(async (flags: { readonly json?: boolean }) => context.finish(await server(context, flags)));
}

async function server(context: Context, { json = false }: { readonly json?: boolean }): Promise<number> {
  const { kind } = readConfig(context);
  return withWarehouse(context, { reportsOnly: true }, async (warehouse) => {
    if (json) await writeJson(context, { kind, ...addressOf(warehouse) });
    else await showAddress(context, warehouse, kind);
    if (kind === "embedded") await untilInterrupted(context.signal);
    return EXIT.done;
  });
}

function addressOf({ connection }: Warehouse) {
  const { host = "localhost", port = 5432, user = "", database = user } = connection.login;
  return { host, port, user, database, url: libpqUrl(connection) };
}

async function showAddress(
  context: Context,
  warehouse: Warehouse,
  kind: "embedded" | "server",
): Promise<void> {
  const { host, port, user, database, url } = addressOf(warehouse);
  const lines = [
    kind === "embedded"
      ? "The embedded PostgreSQL is up until Ctrl-C. It listens on a Unix socket only, for this user only."
      : "There is nothing to start: the warehouse is on a server of your own.",
    `host      ${host}`,
    `port      ${port}`,
    `database  ${database}`,
    `user      ${user}`,
    `psql      psql ${inQuotes(url)}`,
    `URL       ${url}`,
  ];
  for (const line of lines) await writeLine(context, printable(line));
}

/** For a POSIX shell. */
function inQuotes(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
