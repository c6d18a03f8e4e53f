/** Services of the connection service file. Source: PostgreSQL 18 documentation, 32.17. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Environment, homeOf } from "./environment.ts";
import type { Source } from "./parameters.ts";

/** The service that PGSERVICE names. */
export function readService(environment: Environment, problems: string[]): Source {
  const name = environment.PGSERVICE ?? "";
  const files = [
    environment.PGSERVICEFILE || join(homeOf(environment), ".pg_service.conf"),
    ...(environment.PGSYSCONFDIR ? [join(environment.PGSYSCONFDIR, "pg_service.conf")] : []),
  ];
  const source = { name: `the service ${JSON.stringify(name)}`, given: {} };
  for (const file of files.filter((candidate) => existsSync(candidate))) {
    const given = findService(readFileSync(file, "utf8"), name);
    if (given !== undefined) return { ...source, given };
  }
  problems.push(`PGSERVICE names ${JSON.stringify(name)}, which is not in ${files.join(" or ")}`);
  return source;
}

/**
 * Reads the file as libpq does. Unlike in other INI files nothing is quoted, and a `#` or `;` in a password
 * is part of it.
 */
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
