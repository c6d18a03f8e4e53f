/** The password file, as libpq reads it. Source: PostgreSQL 18 documentation, 32.16. */
import { type Stats, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { errorState } from "../errors.ts";
import { readText } from "./encryption.ts";
import { type Environment, homeOf } from "./environment.ts";
import type { Given } from "./parameters.ts";

export interface Login {
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly user: string;
}

/**
 * The password of the first line that fits.
 *
 * @param options.file as PGPASSFILE names it. Default: `.pgpass` of the home, which need not be there
 */
export function findPassword(
  options: {
    readonly file: Given | undefined;
    readonly login: Login;
    readonly environment: Environment;
    readonly folder: string;
  },
  problems: string[],
): string | undefined {
  const { login, environment, folder } = options;
  const file = options.file ?? {
    value: join(homeOf(environment), ".pgpass"),
    origin: "the password file",
  };
  const path = resolve(folder, file.value);
  const found = statOf(path);
  if (options.file === undefined && !found?.isFile()) return undefined;
  if (found !== undefined && (found.mode & 0o077) !== 0) {
    problems.push(`${file.origin}: others may read ${path}. Run: chmod 0600 ${path}`);
    return undefined;
  }
  const text = readText(file, folder, problems);
  return text === undefined ? undefined : passwordIn(text, login);
}

function statOf(file: string): Stats | undefined {
  try {
    return statSync(file);
  } catch (error) {
    // Any other problem shows when the file is read.
    if (errorState(error) === undefined) throw error;
    return undefined;
  }
}

/** The default folders of sockets. In the password file a server there is called `localhost`. */
const SOCKET_FOLDERS: readonly string[] = ["/tmp", "/run/postgresql", "/var/run/postgresql"];

function passwordIn(text: string, { host, port, database, user }: Login): string | undefined {
  const named = SOCKET_FOLDERS.includes(host) ? "localhost" : host;
  for (const line of text.split(/\r?\n/)) {
    if (line === "" || line.startsWith("#")) continue;
    const fields = (line.match(/(?:\\.|[^:\\])*(?::|$)/g) ?? []).map((field) => field.replace(/:$/, ""));
    const wanted = [named, String(port), database, user];
    if (!wanted.every((value, at) => fields[at] === "*" || unescaped(fields[at]) === value)) continue;
    // The password is the rest of the line: it may hold colons that are not escaped.
    const start = fields.slice(0, wanted.length).reduce((length, field) => length + field.length + 1, 0);
    return unescaped(line.slice(start)) || undefined;
  }
  return undefined;
}

function unescaped(field: string | undefined): string | undefined {
  return field?.replace(/\\(.)/g, "$1");
}
