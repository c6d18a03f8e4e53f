/** From the containers' world to this machine: paths, hosts and ports in the environment that docker-compose.yml gives a service. */

import { type Encryption, encryptionParameters } from "../../db/connection/encryption.ts";
import { VARIABLES } from "../../db/connection/parameters.ts";
import { AirflowError } from "./errors.ts";

/** A PostgreSQL server and a database of it. */
export interface Database {
  /** A name, an address, or the folder of a Unix socket. */
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly database: string;
  readonly password?: string | undefined;
  /** Default: nothing is said of it. */
  readonly encryption?: Encryption | undefined;
}

export interface Places {
  /** Folders, by the containers' path. The longest that fits counts. */
  readonly folders: Readonly<Record<string, string>>;
  /** Databases, by the name of the service that serves them. */
  readonly databases: Readonly<Record<string, Database>>;
  /** `host:port` by `service:port`. */
  readonly servers: Readonly<Record<string, string>>;
}

type Environment = Readonly<Record<string, string>>;

/**
 * The environment of a service, with this machine's places in it.
 *
 * @throws AirflowError `compose`, when something of the containers' world is left: then docker-compose.yml holds what this file must learn
 */
export function localizeEnvironment(environment: Environment, places: Places): Environment {
  const local: Record<string, string> = {};
  for (const [name, value] of Object.entries(environment)) local[name] = localizeValue(value, places);
  const database = places.databases[environment.PGHOST ?? ""];
  if (database !== undefined) {
    for (const name of ["PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "PGPASSWORD"]) delete local[name];
    Object.assign(local, libpqVariables(database));
  }
  const strange = Object.entries(local).filter(([, value]) => isStrange(value, places));
  if (strange.length > 0) {
    throw new AirflowError({
      code: "compose",
      message: `docker-compose.yml: ${strange.map(([name]) => name).join(", ")} names a service or folder of the containers in a way that npm run airflow does not know`,
    });
  }
  return local;
}

/** A path, or a text with paths in it, as this machine has them. */
export function localizePaths(text: string, folders: Places["folders"]): string {
  const known = Object.keys(folders).toSorted((one, other) => other.length - one.length);
  const pattern = new RegExp(`(?<![\\w.-])(?:${known.map(escapeForPattern).join("|")})(?![\\w.-])`, "g");
  return known.length === 0 ? text : text.replace(pattern, (path) => folders[path] ?? path);
}

export function libpqVariables(database: Database): Environment {
  const { host, port, user, database: name, password } = database;
  return {
    PGHOST: host,
    PGPORT: String(port),
    PGUSER: user,
    PGDATABASE: name,
    ...(password !== undefined && { PGPASSWORD: password }),
    ...Object.fromEntries(encryptionOf(database).map(([name, value]) => [VARIABLES[name], value])),
  };
}

function encryptionOf({ encryption }: Database): ReturnType<typeof encryptionParameters> {
  return encryption === undefined ? [] : encryptionParameters(encryption);
}

function localizeValue(value: string, places: Places): string {
  return (
    localizeConnection(value, places) ?? localizeUrl(value, places) ?? localizePaths(value, places.folders)
  );
}

/** An Airflow connection, as JSON. */
function localizeConnection(value: string, { databases }: Places): string | undefined {
  if (!value.startsWith("{")) return undefined;
  const { host, port, login, password, schema, ...rest } = JSON.parse(value) as Record<string, unknown>;
  const database = typeof host === "string" ? databases[host] : undefined;
  if (database === undefined) return undefined;
  return JSON.stringify({
    ...rest,
    host: database.host,
    port: database.port,
    login: database.user,
    ...(database.password !== undefined && { password: database.password }),
    schema: database.database,
    ...(database.encryption !== undefined && { extra: Object.fromEntries(encryptionOf(database)) }),
  });
}

/** A database's URL (SQLAlchemy) or a server's. */
function localizeUrl(value: string, { databases, servers }: Places): string | undefined {
  if (!/^[\w+]+:\/\//.test(value)) return undefined;
  const url = new URL(value);
  const database = databases[url.hostname];
  if (database !== undefined) return sqlAlchemyUrl(url.protocol, database);
  const server = servers[url.host];
  return server === undefined ? undefined : value.replace(url.host, server);
}

function sqlAlchemyUrl(protocol: string, database: Database): string {
  const { host, port, user, password, database: name } = database;
  const login = password === undefined ? encode(user) : `${encode(user)}:${encode(password)}`;
  // As parameters: a socket's folder can stand nowhere else.
  const parameters = [
    `host=${encode(host)}`,
    `port=${port}`,
    ...encryptionOf(database).map(([name, value]) => `${name}=${encode(value)}`),
  ];
  return `${protocol}//${login}@/${encode(name)}?${parameters.join("&")}`;
}

// Airflow expands dollars in settings; encodeURIComponent encodes them.
const encode = encodeURIComponent;

function isStrange(value: string, { folders, databases, servers }: Places): boolean {
  const hosts = [
    ...Object.keys(databases),
    ...Object.keys(servers).map((server) => server.split(":")[0] ?? ""),
  ];
  const local = Object.values(folders);
  let rest = value;
  for (const path of local) rest = rest.replaceAll(path, "");
  const containers = [...hosts, ...Object.keys(folders)].map(escapeForPattern);
  return containers.length > 0 && new RegExp(`(?<![\\w.-])(?:${containers.join("|")})(?![\\w.-])`).test(rest);
}

function escapeForPattern(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\/-]/g, "\\$&");
}
