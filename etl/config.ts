/** Where the warehouse is: flags > environment > default, as one readonly Config; all problems in one error. */
import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import type pg from "pg";
import { parseIntoClientConfig } from "pg-connection-string";
import { defaultUser } from "../db/client.ts";
import { RollbookError } from "../db/errors.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

/** A server of the user's own, or the embedded one with its data in `home`. */
export type Config =
  | { readonly kind: "server"; readonly connection: pg.ClientConfig }
  | { readonly kind: "embedded"; readonly home: string };

export const DEFAULT_HOME = ".rollbook";

/**
 * Reads where the warehouse is: `DATABASE_URL`; or `PGHOST` or `PGSERVICE` with the other `PG*` variables, as libpq takes them; else the
 * embedded server in `ROLLBOOK_HOME`, a path relative to `folder`.
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
  if (environment.DATABASE_URL)
    return { kind: "server", connection: readUrl(environment.DATABASE_URL, problems) };
  if (environment.PGSERVICE || environment.PGHOST) {
    const service = environment.PGSERVICE ? readService(environment, problems) : {};
    return { kind: "server", connection: readVariables(environment, service, problems) };
  }
  return { kind: "embedded", home: resolve(folder, environment.ROLLBOOK_HOME || DEFAULT_HOME) };
}

function readUrl(url: string, problems: string[]): pg.ClientConfig {
  if (!/^postgres(ql)?:\/\//.test(url)) {
    problems.push("DATABASE_URL must begin with postgres:// or postgresql://");
    return {};
  }
  try {
    return parseIntoClientConfig(url);
  } catch {
    // The parser's message repeats the URL, and with it the password.
    problems.push("DATABASE_URL is no valid URL: postgresql://user:password@host:5432/database");
    return {};
  }
}

/** One service of the connection service file. Source: PostgreSQL 18 documentation, 32.17. */
function readService(environment: Environment, problems: string[]): Readonly<Record<string, string>> {
  const name = environment.PGSERVICE ?? "";
  const files = [
    environment.PGSERVICEFILE || join(environment.HOME || homedir(), ".pg_service.conf"),
    ...(environment.PGSYSCONFDIR ? [join(environment.PGSYSCONFDIR, "pg_service.conf")] : []),
  ];
  for (const file of files.filter((candidate) => existsSync(candidate))) {
    const service = findService(readFileSync(file, "utf8"), name);
    if (service !== undefined) return service;
  }
  problems.push(`PGSERVICE names ${JSON.stringify(name)}, which is not in ${files.join(" or ")}`);
  return {};
}

/** As libpq reads it: unlike in other INI files nothing is quoted, and a `#` or `;` in a password is part of it. */
function findService(text: string, name: string): Readonly<Record<string, string>> | undefined {
  let found: Record<string, string> | undefined;
  for (const line of text.split("\n").map((raw) => raw.trim())) {
    if (line === "" || line.startsWith("#")) continue;
    if (line.startsWith("[")) {
      if (found !== undefined) break;
      if (line === `[${name}]`) found = {};
    } else if (found !== undefined) {
      const equals = line.indexOf("=");
      if (equals > 0) found[line.slice(0, equals).trim()] = line.slice(equals + 1).trim();
    }
  }
  return found;
}

/** What the service leaves open comes from the environment. Encryption (PGSSLMODE), PGPASSFILE and PGOPTIONS the driver reads itself. */
function readVariables(
  environment: Environment,
  service: Readonly<Record<string, string>>,
  problems: string[],
): pg.ClientConfig {
  const user = service.user ?? environment.PGUSER ?? defaultUser();
  const port = Number(service.port ?? environment.PGPORT ?? 5432);
  if (!Number.isInteger(port) || port < 1 || port > 65535)
    problems.push(
      `${service.port === undefined ? "PGPORT" : "the port of the service"} must be a number from 1 to 65535`,
    );
  const password = service.password ?? environment.PGPASSWORD;
  return {
    host: service.host ?? environment.PGHOST ?? "localhost",
    port,
    user,
    database: service.dbname ?? environment.PGDATABASE ?? user,
    ...(password !== undefined && { password }),
    ...(service.sslmode !== undefined && { ssl: encryption(service.sslmode) }),
  };
}

/** What the driver makes of PGSSLMODE: an encrypted connection has a verified certificate, unless `no-verify` says otherwise. */
function encryption(mode: string): NonNullable<pg.ClientConfig["ssl"]> {
  if (mode === "no-verify") return { rejectUnauthorized: false };
  return mode !== "disable" && mode !== "allow";
}
