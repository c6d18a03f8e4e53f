import { expect, test } from "vitest";
import { type Database, localizeEnvironment, localizePaths } from "./places.ts";

const FOLDERS = {
  "/opt/rollbook": "/home/me/my rollbook",
  "/opt/airflow": "/home/me/.airflow",
  "/data/inbox": "/in",
};
const SOCKET: Database = { host: "/run/a b", port: 5432, user: "rollbook", database: "turnover" };
const SERVER: Database = {
  host: "db.example.com",
  port: 6543,
  user: "me@home",
  database: "turn/over",
  password: 'p"a:s@s$1',
  encryption: { mode: "verify-full", rootCertificate: "/etc/ca.pem", negotiation: "postgres" },
};

const places = (database: Database) => ({
  folders: FOLDERS,
  databases: { "airflow-db": database, "warehouse-db": database },
  servers: { "airflow-apiserver:8080": "127.0.0.1:9090" },
});

const localize = (name: string, value: string, database = SOCKET) =>
  localizeEnvironment({ [name]: value }, places(database))[name];

test("folders of the containers become this machine's, also within a text", () => {
  expect(localizePaths("/opt/rollbook/dags", FOLDERS)).toBe("/home/me/my rollbook/dags");
  expect(localizePaths("a=/data/inbox,b=/opt/airflow", FOLDERS)).toBe("a=/in,b=/home/me/.airflow");
});

test("what only begins or ends like such a folder stays", () => {
  for (const path of ["/opt/rollbook2/x", "/srv/opt/airflow", "/data/inbox.old", "/data/inbox-2"]) {
    expect(localizePaths(path, FOLDERS)).toBe(path);
  }
});

test("an Airflow connection gets the local database, its other fields stay", () => {
  const connection =
    '{"conn_type": "postgres", "host": "warehouse-db", "port": 5432, "login": "x", "password": "y", "schema": "z"}';
  expect(JSON.parse(localize("AIRFLOW_CONN_ROLLBOOK_WAREHOUSE", connection) ?? "")).toEqual({
    conn_type: "postgres",
    host: "/run/a b",
    port: 5432,
    login: "rollbook",
    schema: "turnover",
  });
  expect(JSON.parse(localize("AIRFLOW_CONN_ROLLBOOK_WAREHOUSE", connection, SERVER) ?? "")).toEqual({
    conn_type: "postgres",
    host: "db.example.com",
    port: 6543,
    login: "me@home",
    password: 'p"a:s@s$1',
    schema: "turn/over",
    extra: { sslmode: "verify-full", sslrootcert: "/etc/ca.pem" },
  });
});

test("SQLAlchemy's URL gets the local database, with nothing in it that must be encoded", () => {
  const url = "postgresql+psycopg2://airflow:secret@airflow-db:5432/airflow";
  expect(localize("URL", url)).toBe("postgresql+psycopg2://rollbook@/turnover?host=%2Frun%2Fa%20b&port=5432");
  expect(localize("URL", url, SERVER)).toBe(
    "postgresql+psycopg2://me%40home:p%22a%3As%40s%241@/turn%2Fover?host=db.example.com&port=6543&sslmode=verify-full&sslrootcert=%2Fetc%2Fca.pem",
  );
});

test("a server's URL gets the local address", () => {
  expect(localize("URL", "http://airflow-apiserver:8080/execution/")).toBe(
    "http://127.0.0.1:9090/execution/",
  );
  expect(localize("URL", "http://localhost:8080")).toBe("http://localhost:8080");
});

test("PG* variables are the local database's, all or none", () => {
  const environment = {
    PGHOST: "warehouse-db",
    PGPORT: "1",
    PGUSER: "x",
    PGPASSWORD: "y",
    PGDATABASE: "z",
    A: "a",
  };
  expect(localizeEnvironment(environment, places(SOCKET))).toEqual({
    PGHOST: "/run/a b",
    PGPORT: "5432",
    PGUSER: "rollbook",
    PGDATABASE: "turnover",
    A: "a",
  });
  const encryption = {
    mode: "verify-ca",
    rootCertificate: "/ca",
    certificate: "/cert",
    key: "/key",
    leastProtocol: "TLSv1.3",
    negotiation: "direct",
  } as const;
  expect(localizeEnvironment(environment, places({ ...SERVER, encryption }))).toMatchObject({
    PGPASSWORD: 'p"a:s@s$1',
    PGSSLMODE: "verify-ca",
    PGSSLROOTCERT: "/ca",
    PGSSLCERT: "/cert",
    PGSSLKEY: "/key",
    PGSSLMINPROTOCOLVERSION: "TLSv1.3",
    PGSSLNEGOTIATION: "direct",
  });
});

test.each(["postgres.warehouse-db", "warehouse-db", "host=airflow-db port=5432", "see airflow-apiserver"])(
  "a container's name that is not understood is an error: %s",
  (value) => {
    const strange = () => localizeEnvironment({ SOME_NAME: value }, places(SOCKET));
    if (value.startsWith("postgres.")) expect(strange()).toEqual({ SOME_NAME: value });
    else expect(strange).toThrow("SOME_NAME names a service or folder of the containers");
  },
);
