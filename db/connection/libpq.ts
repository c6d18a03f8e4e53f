/**
 * A connection in libpq's terms, for programs that are not ours: psql, and whatever reads the PG* variables
 * or a URL.
 */
import type pg from "pg";
import { type Encryption, encryptionParameters } from "./encryption.ts";
import type { Environment } from "./environment.ts";
import { type ParameterName, VARIABLES } from "./parameters.ts";

export interface Connection {
  /** In node-postgres' terms. */
  readonly login: pg.ClientConfig;
  readonly encryption: Encryption;
}

/**
 * The environment with the connection's PG* variables in place of all that were in it. A password is nowhere
 * but here: not in a command line, which other users of the machine can read.
 *
 * @param options.settings settings of the session, by name: `default_transaction_read_only`
 */
export function libpqEnvironment(options: {
  readonly connection: Connection;
  readonly environment: Environment;
  readonly settings?: Readonly<Record<string, string>>;
}): Record<string, string> {
  const { connection, settings = {} } = options;
  const others = Object.entries(options.environment).filter(([name]) => !/^PG|^DATABASE_URL$/.test(name));
  const environment: Record<string, string> = {};
  for (const [name, value] of others) if (value !== undefined) environment[name] = value;
  const { password, options: startup, connectionTimeoutMillis } = connection.login;
  const set = (name: ParameterName, value: string | undefined) => {
    const variable = VARIABLES[name];
    if (variable !== undefined && value !== undefined && value !== "") environment[variable] = value;
  };
  for (const [name, value] of addressParameters(connection)) set(name, value);
  if (typeof password === "string") set("password", password);
  const given = Object.entries(settings).map(([name, value]) => `-c ${name}=${value}`);
  set("options", [startup ?? "", ...given].filter(Boolean).join(" "));
  if (connectionTimeoutMillis !== undefined)
    set("connect_timeout", String(Math.ceil(connectionTimeoutMillis / 1000)));
  return environment;
}

/** A URL without the password: what DATABASE_URL takes, and every program that knows libpq's URLs. */
export function libpqUrl(connection: Connection): string {
  const parameters = Object.fromEntries(addressParameters(connection));
  const { host = "", port = "", user = "", dbname = "", ...rest } = parameters;
  const encode = encodeURIComponent;
  const isSocket = host.startsWith("/");
  const query = Object.entries({ ...(isSocket && { host, port }), ...rest })
    .map(([name, value]) => `${name}=${encode(value)}`)
    .join("&");
  const address = isSocket ? "" : `${host.includes(":") ? `[${host}]` : encode(host)}:${port}`;
  return `postgresql://${encode(user)}@${address}/${encode(dbname)}${query === "" ? "" : `?${query}`}`;
}

/**
 * Where the server is, who connects, and how it is encrypted. A server in the same machine, behind a Unix
 * socket, is not.
 */
function addressParameters({ login, encryption }: Connection): readonly (readonly [ParameterName, string])[] {
  const { host = "localhost", port = 5432, user = "", database = user } = login;
  const address = [
    ["host", host],
    ["port", String(port)],
    ["dbname", database],
    ["user", user],
  ] as const;
  if (host.startsWith("/")) return address;
  // libpq has no such mode; its `require` verifies nothing where there is no root certificate.
  const encrypted = encryptionParameters(encryption).map(
    ([name, value]) => [name, value === "no-verify" ? "require" : value] as const,
  );
  return [...address, ...encrypted];
}
