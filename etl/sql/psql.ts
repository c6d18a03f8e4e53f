/** PostgreSQL's own terminal, run on the warehouse. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import type { Environment } from "../../db/connection/environment.ts";
import { type Connection, libpqEnvironment } from "../../db/connection/libpq.ts";

/** The path of psql, where there is one on the PATH. */
export function findPsql(environment: Environment): string | undefined {
  const folders = (environment.PATH ?? "").split(delimiter).filter(Boolean);
  return folders.map((folder) => join(folder, "psql")).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** `lost`: the server went away. `refused`: a statement failed, or a file could not be read. */
export type PsqlOutcome = "done" | "lost" | "refused";

/**
 * Runs psql on the terminal, or wherever this process reads and writes, until it ends. Connection and password go through the
 * environment.
 *
 * @param options.input statements, or the path of a file of statements; without it, psql asks for them
 */
export async function runPsql(options: {
  readonly psql: string;
  readonly connection: Connection;
  readonly environment: Environment;
  readonly folder: string;
  readonly input: { readonly text: string } | { readonly file: string } | undefined;
  readonly readOnly: boolean;
  readonly signal: AbortSignal;
}): Promise<PsqlOutcome> {
  const { psql, connection, environment, folder, input, readOnly, signal } = options;
  const child = spawn(psql, argumentsFor(input), {
    cwd: folder,
    env: libpqEnvironment({ connection, environment, settings: sessionSettings(readOnly) }),
    stdio: "inherit",
  });
  const end = () => child.kill("SIGTERM");
  signal.addEventListener("abort", end, { once: true });
  try {
    const [code] = await once(child, "close");
    signal.throwIfAborted();
    if (code === 0) return "done";
    return code === 2 ? "lost" : "refused";
  } finally {
    signal.removeEventListener("abort", end);
  }
}

/** A user's own settings count where a user sits in front of it, and nowhere else. */
function argumentsFor(input: { readonly text: string } | { readonly file: string } | undefined): string[] {
  if (input === undefined) return [];
  const statements = "text" in input ? ["--command", input.text] : ["--file", input.file];
  return ["--no-psqlrc", "--set=ON_ERROR_STOP=1", ...statements];
}

/** Caution, not protection: a statement may turn it off. What a user may do is the business of roles. */
export function sessionSettings(readOnly: boolean): Readonly<Record<string, string>> {
  return readOnly ? { default_transaction_read_only: "on" } : {};
}
