/** The connection parameters of libpq: from DATABASE_URL or a service, and else from the PG* variables. */
import type { Environment } from "./environment.ts";

/**
 * Parameters that Rollbook takes, with the variable of each. Source: PostgreSQL 18 documentation, 32.1.2 and
 * 32.15.
 */
export const VARIABLES = {
  host: "PGHOST",
  port: "PGPORT",
  dbname: "PGDATABASE",
  user: "PGUSER",
  password: "PGPASSWORD",
  passfile: "PGPASSFILE",
  options: "PGOPTIONS",
  application_name: undefined,
  connect_timeout: "PGCONNECT_TIMEOUT",
  sslmode: "PGSSLMODE",
  sslrootcert: "PGSSLROOTCERT",
  sslcert: "PGSSLCERT",
  sslkey: "PGSSLKEY",
  sslnegotiation: "PGSSLNEGOTIATION",
  ssl_min_protocol_version: "PGSSLMINPROTOCOLVERSION",
} as const;

export type ParameterName = keyof typeof VARIABLES;

/**
 * Parameters that the driver does not know. Only values that ask for nothing are allowed: with any other the
 * connection would silently be less than the user asked for.
 */
const HARMLESS: Readonly<Record<string, { readonly variable?: string; readonly values: readonly string[] }>> =
  {
    channel_binding: { variable: "PGCHANNELBINDING", values: ["disable", "prefer"] },
    client_encoding: { values: ["UTF8", "utf8", "UTF-8", "utf-8", "auto"] },
    gssencmode: { variable: "PGGSSENCMODE", values: ["disable", "prefer"] },
    load_balance_hosts: { variable: "PGLOADBALANCEHOSTS", values: ["disable"] },
    require_auth: { variable: "PGREQUIREAUTH", values: [] },
    requirepeer: { variable: "PGREQUIREPEER", values: [] },
    requiressl: { variable: "PGREQUIRESSL", values: ["0"] },
    ssl_max_protocol_version: { variable: "PGSSLMAXPROTOCOLVERSION", values: [] },
    sslcertmode: { variable: "PGSSLCERTMODE", values: ["allow"] },
    sslcompression: { variable: "PGSSLCOMPRESSION", values: ["0", "1"] },
    sslcrl: { variable: "PGSSLCRL", values: [] },
    sslcrldir: { variable: "PGSSLCRLDIR", values: [] },
    sslsni: { variable: "PGSSLSNI", values: ["1"] },
    target_session_attrs: { variable: "PGTARGETSESSIONATTRS", values: ["any"] },
  };

export interface Given {
  readonly value: string;
  /** Where it was found, for messages. */
  readonly origin: string;
}

/** The value of a parameter; an empty one is none. */
export type Parameters = (name: ParameterName) => Given | undefined;

/** What a URL or a service gives, by libpq's names of the parameters. */
export interface Source {
  /** For messages: `DATABASE_URL`, or which service. */
  readonly name: string;
  readonly given: Readonly<Record<string, string>>;
}

/**
 * Looks parameters up, and reports those that Rollbook cannot keep. It never repeats a value, because any
 * value may be a misplaced secret.
 */
export function readParameters(
  source: Source | undefined,
  environment: Environment,
  problems: string[],
): Parameters {
  for (const [name, value] of Object.entries(source?.given ?? {})) {
    if (Object.hasOwn(VARIABLES, name) || value === "") continue;
    const harmless = HARMLESS[name];
    if (harmless?.values.includes(value)) continue;
    const remedy =
      harmless === undefined
        ? `which Rollbook does not know; it takes ${Object.keys(VARIABLES).join(", ")}`
        : refusal(harmless.values);
    problems.push(`${source?.name} sets ${name}, ${remedy}`);
  }
  for (const [name, { variable, values }] of Object.entries(HARMLESS)) {
    const value = variable === undefined ? undefined : environment[variable];
    if (!value || values.includes(value) || source?.given[name]) continue;
    problems.push(`${variable} is set, ${refusal(values)}`);
  }
  return (name) => {
    const own = source?.given[name];
    if (own) return { value: own, origin: `${name} of ${source.name}` };
    const variable = VARIABLES[name];
    const value = variable === undefined ? undefined : environment[variable];
    return variable !== undefined && value ? { value, origin: variable } : undefined;
  };
}

function refusal(values: readonly string[]): string {
  const but = values.length === 0 ? "leave it out" : `leave it out, or set it to ${values.join(" or ")}`;
  return `which Rollbook's driver cannot do: ${but}`;
}
