import { stat } from "node:fs/promises";
import { type Command, Option } from "commander";
import type { ReadInvoiceLines } from "../../console/archive.ts";
import { RollbookError } from "../../db/errors.ts";
import { readInvoiceLines } from "../archive/lines.ts";
import { printable } from "../escape.ts";
import { note, writeJson, writeLine } from "../output.ts";
import { type Context, EXIT, resolvePath, usageError } from "./context.ts";
import { jsonOption, parseWhole } from "./flags.ts";
import { declareKind } from "./kind.ts";
import { withWarehouse } from "./open.ts";
import { readInboxSources, sourcesOption } from "./sources.ts";
import { untilInterrupted } from "./wait.ts";

interface ServeFlags {
  readonly port: number;
  readonly host: string;
  readonly passwordFile?: string;
  readonly trustProxy?: readonly string[];
  readonly userHeader?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly inbox?: string;
  readonly sources?: string;
  readonly json?: boolean;
}

const PORT = 8470;
const MOST_PORT = 65_535;

export function defineServe(verb: Command, context: Context): void {
  declareKind(verb, "works")
    .description(
      "Serve pages about the warehouse until Ctrl-C: totals, loads, partitions, quarantine, restatements, and the same as JSON under /api/. Nothing can be changed there. It reads the schema reports alone, as the role rollbook_reader where there are roles. Without further flags only this machine reaches it (docs/console.md).",
    )
    .addOption(
      new Option("--port <port>", "where it listens; 0: any that is free")
        .argParser(parseWhole(0, MOST_PORT))
        .default(PORT),
    )
    .addOption(
      new Option(
        "--host <address>",
        "address to listen on; other than this machine only with --password-file or --trust-proxy",
      ).default("127.0.0.1"),
    )
    .addOption(
      new Option(
        "--password-file <file>",
        "ask for a name and a password; the file has lines NAME:PASSWORD",
      ).conflicts("trustProxy"),
    )
    .option(
      "--trust-proxy <addresses...>",
      "addresses or networks of a proxy that asks who it is, and says it in a header; all other requests are refused",
    )
    .option(
      "--user-header <name>",
      "the header in which the proxy says who it is (default: X-Forwarded-User)",
    )
    .option("--tls-cert <file>", "certificate, and those between it and the root, in PEM")
    .option("--tls-key <file>", "its key, in PEM")
    .option(
      "--inbox <folder>",
      "where the files of the loads are, in its archive/ or below: a page of an invoice then shows their lines",
    )
    .addOption(sourcesOption())
    .addOption(jsonOption())
    .addHelpText(
      "after",
      "\nExamples:\n  rollbook serve --inbox inbox\n  rollbook serve --host 0.0.0.0 --password-file console.passwords --tls-cert cert.pem --tls-key key.pem\n",
    )
    .action(async (flags: ServeFlags) => context.finish(await serve(context, flags)));
}

async function serve(context: Context, flags: ServeFlags): Promise<number> {
  const { passwordFile, trustProxy, userHeader, host, port } = flags;
  if (userHeader !== undefined && trustProxy === undefined)
    throw usageError("--user-header is what a proxy says: give --trust-proxy, too.");
  const readLines = await openArchive(context, flags);
  const { startConsole } = await import("../../console/server.ts");
  // First, so that a port that is taken is said before a server is started.
  const site = await startConsole({
    host,
    port,
    passwordFile: passwordFile && resolvePath(context, passwordFile),
    trustProxy,
    userHeader,
    tls: tlsFiles(context, flags),
    readLines,
    onProblem: (message) => note(context, `rollbook: ${printable(message)}`),
  });
  if (site.outcome === "refused") throw usageError(site.message);
  try {
    return await withWarehouse(context, { reportsOnly: true }, async ({ database, connection, settings }) => {
      const role = await site.open({ database, connection: connection.login, settings });
      await announce(context, flags, { url: site.url, role });
      await untilInterrupted(context.signal);
      await site.close();
      return EXIT.done;
    });
  } finally {
    await site.close();
  }
}

/**
 * What reads the lines of an invoice in the file of a load, below the inbox. Sources are read each time: they may have changed.
 */
async function openArchive(context: Context, flags: ServeFlags): Promise<ReadInvoiceLines | undefined> {
  if (flags.inbox === undefined) {
    if (flags.sources !== undefined)
      throw usageError("--sources says how files are read: give --inbox, too.");
    return undefined;
  }
  const folder = resolvePath(context, flags.inbox);
  const found = await stat(folder).catch(() => undefined);
  if (found?.isDirectory() !== true)
    throw usageError(`--inbox ${printable(flags.inbox)}: there is no such folder.`);
  const readSources = () => readInboxSources(context, folder, flags);
  // Where no flag names them a wrong source keeps nobody from the pages: only the lines are missing that sources read.
  const unlessWrong = (error: unknown) => {
    if (flags.sources !== undefined || !(error instanceof RollbookError)) throw error;
    return error;
  };
  const wrong = await readSources().catch(unlessWrong);
  if (wrong instanceof RollbookError) note(context, `warning: ${printable(wrong.message)}`);
  return async (asked) => {
    const sources = await readSources().catch(unlessWrong);
    return readInvoiceLines({ ...asked, folder, sources: sources instanceof RollbookError ? [] : sources });
  };
}

function tlsFiles(
  context: Context,
  { tlsCert, tlsKey }: ServeFlags,
): { readonly cert: string; readonly key: string } | undefined {
  if (tlsCert === undefined && tlsKey === undefined) return undefined;
  if (tlsCert === undefined || tlsKey === undefined) throw usageError("give both --tls-cert and --tls-key.");
  return { cert: resolvePath(context, tlsCert), key: resolvePath(context, tlsKey) };
}

async function announce(
  context: Context,
  { json = false, passwordFile, tlsCert, host }: ServeFlags,
  { url, role }: { readonly url: string; readonly role: string | undefined },
): Promise<void> {
  if (json) await writeJson(context, { url, role: role ?? null });
  else await writeLine(context, `The console is at ${url} until Ctrl-C.`);
  if (passwordFile !== undefined && tlsCert === undefined && host !== "127.0.0.1")
    note(
      context,
      "warning: passwords and totals go over the network as they are; give --tls-cert and --tls-key.",
    );
}
