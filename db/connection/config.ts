/**
 * Where the warehouse is: from the flags, else from the environment, else the default. All problems are in
 * one error.
 */
import { userInfo } from "node:os";
import { resolve } from "node:path";
import type pg from "pg";
import { RollbookError } from "../errors.ts";
import { driverOptions, type Encryption, readEncryption } from "./encryption.ts";
import type { Environment } from "./environment.ts";
import { type Parameters, readParameters, type Source } from "./parameters.ts";
import { findPassword, type Login } from "./password_file.ts";
import { readService } from "./service.ts";
import { readUrl } from "./url.ts";

/** A server of the user's own, or the embedded one with its data in `home`. */
export type Config =
  | { readonly kind: "server"; readonly connection: pg.ClientConfig; readonly encryption: Encryption }
  | { readonly kind: "embedded"; readonly home: string };

export const DEFAULT_HOME = ".rollbook";

/**
 * Reads where the warehouse is: `DATABASE_URL`; or `PGHOST` or `PGSERVICE` with the other `PG*` variables, as
 * libpq takes them; else the embedded server in `ROLLBOOK_HOME`. Paths are relative to `folder`. Nothing is
 * left for the driver to find in the environment.
 *
 * @throws RollbookError `configuration`, naming every problem
 */
export function readConfig(options: { readonly environment: Environment; readonly folder: string }): Config {
  const { environment, folder } = options;
  const problems: string[] = [];
  const config = findTarget(environment, folder, problems);
  if (problems.length > 0) {
    throw new RollbookError({ code: "configuration", message: problems.join("\n") });
  }
  return config;
}

function findTarget(environment: Environment, folder: string, problems: string[]): Config {
  const source = findSource(environment, problems);
  if (source === undefined && !environment.PGHOST) {
    return { kind: "embedded", home: resolve(folder, environment.ROLLBOOK_HOME || DEFAULT_HOME) };
  }
  const parameters = readParameters(source, environment, problems);
  const login = readLogin(parameters, problems);
  const encryption = readEncryption({ parameters, environment, folder }, problems);
  const password =
    parameters("password")?.value ??
    findPassword({ file: parameters("passfile"), login, environment, folder }, problems);
  const [timeout, options, name] = [
    readTimeout(parameters, problems),
    parameters("options"),
    parameters("application_name"),
  ];
  const connection = {
    ...login,
    ...(password !== undefined && { password }),
    ...(timeout !== undefined && { connectionTimeoutMillis: timeout }),
    ...(options !== undefined && { options: options.value }),
    ...(name !== undefined && { application_name: name.value }),
    // With a problem its files may not be there.
    ...(problems.length === 0 && driverOptions(encryption, login.host)),
  };
  return { kind: "server", connection, encryption };
}

function findSource(environment: Environment, problems: string[]): Source | undefined {
  if (environment.DATABASE_URL) return readUrl(environment.DATABASE_URL, problems);
  return environment.PGSERVICE ? readService(environment, problems) : undefined;
}

function readLogin(parameters: Parameters, problems: string[]): Login {
  // Without a user libpq takes that of the operating system, too.
  const user = parameters("user")?.value ?? userInfo().username;
  const given = parameters("port");
  const port = given === undefined ? 5432 : Number(given.value);
  if (!Number.isInteger(port) || port < 1 || port > 65535) {
    problems.push(`${given?.origin} must be a number from 1 to 65535`);
  }
  return {
    host: parameters("host")?.value ?? "localhost",
    port,
    user,
    database: parameters("dbname")?.value ?? user,
  };
}

/** Milliseconds; 0 waits for ever, as with libpq. */
function readTimeout(parameters: Parameters, problems: string[]): number | undefined {
  const given = parameters("connect_timeout");
  if (given === undefined) return undefined;
  if (!/^\d{1,6}$/.test(given.value)) problems.push(`${given.origin} must be a number of seconds`);
  return Number(given.value) * 1000;
}
