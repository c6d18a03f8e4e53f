/** What docker-compose.yml's services are on this machine: their commands and environments, with local places in them. */
import { delimiter, dirname } from "node:path";
import { CHECKOUT, COMPOSE_FILE } from "./checkout.ts";
import { readCompose, type Service, type Variables } from "./compose.ts";
import { AirflowError } from "./errors.ts";
import { type Database, localizeEnvironment, localizePaths, type Places } from "./places.ts";
import { findFreePorts, LOOPBACK } from "./ports.ts";
import type { Python } from "./python.ts";
import { SERVICES } from "./services.ts";

type Environment = Readonly<Record<string, string>>;

/** Where the image has what. */
const IMAGE = {
  checkout: "/opt/rollbook",
  airflow: "/opt/airflow",
  inbox: "/data/inbox",
  sources: "/opt/sources",
} as const;

export interface LocalServices {
  readonly environmentOf: (name: string) => Environment;
  readonly commandOf: (name: string) => readonly string[];
  /** A command for a container, as it is here. */
  readonly localize: (command: readonly string[]) => readonly string[];
}

/**
 * Reads docker-compose.yml for this machine, and finds ports for all that listens.
 *
 * @throws AirflowError `compose`, `configuration`
 */
export async function localizeServices(options: {
  /** What containers have as /opt/airflow. */
  readonly airflowHome: string;
  readonly inbox: string;
  /** Undefined: there are none. */
  readonly sources?: string | undefined;
  readonly python: Python;
  readonly metadata: Database;
  readonly warehouse: Database;
  /** Of the API server. */
  readonly port: number;
  /** What docker-compose.yml's `${NAME}` stand for, secrets included. */
  readonly variables: Variables;
  /** The user's. */
  readonly environment: Variables;
  /** More for the environment of all services. */
  readonly overrides?: Environment | undefined;
}): Promise<LocalServices> {
  const { airflowHome, inbox, sources = "", python, metadata, warehouse, port } = options;
  // By this variable docker-compose.yml says whether there are sources.
  // No console is started here: a link to one is for the user to give.
  const variables = { ROLLBOOK_CONSOLE_URL: "", ...options.variables, ROLLBOOK_SOURCES_FOLDER: sources };
  const { services } = readCompose({ file: COMPOSE_FILE, variables });
  const places: Places = {
    folders: {
      ...mountedFolders(services, { [IMAGE.inbox]: inbox, [IMAGE.sources]: sources }),
      [IMAGE.checkout]: CHECKOUT,
      [IMAGE.airflow]: airflowHome,
    },
    databases: { "airflow-db": metadata, "warehouse-db": warehouse },
    servers: { "airflow-apiserver:8080": `${LOOPBACK}:${port}` },
  };
  const addresses = await findAddresses(port);
  const serviceNamed = (name: string): Service => {
    const service = services[name];
    if (service === undefined) throw composeError(`docker-compose.yml has no service ${name}`);
    return service;
  };
  const localize = (command: readonly string[]) => command.map((part) => localizePaths(part, places.folders));
  return {
    environmentOf: (name) => ({
      ...baseEnvironment(options.environment, python),
      ...localizeEnvironment(serviceNamed(name).environment, places),
      ...addresses,
      ...options.overrides,
    }),
    commandOf: (name) => localize(serviceNamed(name).command),
    localize,
  };
}

/** Folders of this machine that docker-compose.yml mounts; its volumes are within Airflow's home. */
function mountedFolders(
  services: Readonly<Record<string, Service>>,
  folders: Places["folders"],
): Places["folders"] {
  const binds = SERVICES.flatMap((name) => services[name]?.mounts ?? []).filter(
    ({ kind }) => kind === "bind",
  );
  const strange = binds.find(({ target }) => folders[target] === undefined);
  if (strange !== undefined) {
    throw composeError(`docker-compose.yml mounts ${strange.target}, which npm run airflow does not know`);
  }
  return Object.fromEntries(Object.entries(folders).filter(([, folder]) => folder !== ""));
}

/** Containers have addresses of their own; here all listen on one, each on a port of its own. */
async function findAddresses(port: number): Promise<Environment> {
  const [health, worker, trigger] = await findFreePorts(3);
  return {
    AIRFLOW__API__HOST: LOOPBACK,
    AIRFLOW__API__PORT: String(port),
    AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_HOST: LOOPBACK,
    AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT: String(health),
    AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT: String(worker),
    AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT: String(trigger),
  };
}

/** What of the user's environment the services get: nothing that Airflow, Python or PostgreSQL would take for settings. */
const INHERITED = [
  ...["HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "TERM"],
  ...[
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "http_proxy",
    "https_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NODE_EXTRA_CA_CERTS",
  ],
];

function baseEnvironment(environment: Variables, python: Python): Environment {
  const inherited = INHERITED.flatMap((name) => {
    const value = environment[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  const nobody = [environment.NO_PROXY ?? environment.no_proxy, "localhost", LOOPBACK]
    .filter(Boolean)
    .join(",");
  return {
    ...Object.fromEntries(inherited),
    PATH: [python.bin, dirname(process.execPath), environment.PATH ?? "/usr/bin:/bin"].join(delimiter),
    VIRTUAL_ENV: python.venv,
    NO_PROXY: nobody,
    no_proxy: nobody,
    // Processes name themselves, which else overwrites the environment, and with it our mark.
    SPT_NOENV: "1",
    // Else macOS ends a forked process that uses the system's libraries.
    ...(process.platform === "darwin" && { OBJC_DISABLE_INITIALIZE_FORK_SAFETY: "YES" }),
  };
}

function composeError(message: string): AirflowError {
  return new AirflowError({ code: "compose", message });
}
