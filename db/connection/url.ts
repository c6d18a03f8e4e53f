/** Reads DATABASE_URL. */
import { parse } from "pg-connection-string";
import type { Source } from "./parameters.ts";

const FORM = "postgresql://user:password@host:5432/database";

/**
 * The parameters of a connection URL. A password with a character that ends it early is refused: a part of it
 * would be taken for a host or a database, and messages would show it.
 */
export function readUrl(url: string, problems: string[]): Source {
  const source = { name: "DATABASE_URL", given: {} };
  const scheme = /^postgres(ql)?:\/\//.exec(url)?.[0];
  if (scheme === undefined) {
    problems.push("DATABASE_URL must begin with postgres:// or postgresql://");
    return source;
  }
  const rest = url.slice(scheme.length);
  const at = rest.indexOf("@");
  if (rest.includes("#") || at !== rest.lastIndexOf("@") || /[/?]/.test(rest.slice(0, Math.max(at, 0)))) {
    problems.push(
      `DATABASE_URL is no valid URL: ${FORM}. In user and password, write %40 for @, %3A for :, %2F for /, %3F for ?, %23 for # and %25 for %.`,
    );
    return source;
  }
  try {
    return { ...source, given: parametersOf(url) };
  } catch {
    // The parser's message repeats the URL, and with it the password.
    problems.push(`DATABASE_URL is no valid URL: ${FORM}`);
    return source;
  }
}

/**
 * Reads the query's parameters here, because the driver's parser would read certificates itself, and print
 * warnings about modes.
 */
function parametersOf(url: string): Readonly<Record<string, string>> {
  const question = url.indexOf("?");
  const [address, query] = question < 0 ? [url, ""] : [url.slice(0, question), url.slice(question + 1)];
  const { host, port, user, password, database } = parse(address);
  const parameters: Record<string, string> = {};
  const named = { host, port, user, password, dbname: database };
  for (const [name, value] of Object.entries(named)) if (value) parameters[name] = value;
  // As in libpq, what the query says counts; a blank is %20 there, and + is a plus.
  for (const [name, value] of new URLSearchParams(query.replaceAll("+", "%2B"))) parameters[name] = value;
  if (parameters.ssl === "true") {
    // JDBC's form, as libpq takes it.
    parameters.sslmode ??= "require";
    delete parameters.ssl;
  }
  return parameters;
}
