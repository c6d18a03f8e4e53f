import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { COMPOSE_FILE } from "./checkout.ts";
import { readSettings } from "./settings.ts";
import { makeFolder } from "./testing.ts";

function read(text: string, environment: NodeJS.ProcessEnv = {}) {
  const envFile = join(makeFolder(), ".env");
  writeFileSync(envFile, text);
  return readSettings({ composeFile: COMPOSE_FILE, envFile, environment });
}

const ALERTS = '{"conn_type":"apprise","extra":{"config":[{"path":"slack://a/#b"}]}}';

test("settings of docker-compose.yml are taken from .env; its secrets and all else are not", () => {
  const text = `# made by write-env.sh
WAREHOUSE_PASSWORD=secret
AIRFLOW_FERNET_KEY=secret
AIRFLOW_ADMIN_PASSWORD=secret
ROLLBOOK_MAX_REJECTS=0.5
ROLLBOOK_TIME_ZONE="Europe/Berlin" # here
#ROLLBOOK_KEEP_MONTHS=3
AIRFLOW_CONN_ROLLBOOK_ALERTS='${ALERTS}'
PATH=/nowhere
DATABASE_URL=postgres://elsewhere
`;
  expect(read(text)).toEqual({
    ROLLBOOK_MAX_REJECTS: "0.5",
    ROLLBOOK_TIME_ZONE: "Europe/Berlin",
    AIRFLOW_CONN_ROLLBOOK_ALERTS: ALERTS,
  });
});

test("the environment wins over .env, also with an empty value", () => {
  const environment = { ROLLBOOK_MAX_REJECTS: "0.1", ROLLBOOK_KEEP_MONTHS: "", PATH: "/bin" };
  expect(
    read("ROLLBOOK_MAX_REJECTS=0.5\nROLLBOOK_KEEP_MONTHS=3\nROLLBOOK_POOL_SLOTS=2\n", environment),
  ).toEqual({ ROLLBOOK_MAX_REJECTS: "0.1", ROLLBOOK_KEEP_MONTHS: "", ROLLBOOK_POOL_SLOTS: "2" });
});

test("without an .env the environment is all", () => {
  const envFile = join(makeFolder(), ".env");
  const settings = readSettings({
    composeFile: COMPOSE_FILE,
    envFile,
    environment: { ROLLBOOK_POOL_SLOTS: "2" },
  });
  expect(settings).toEqual({ ROLLBOOK_POOL_SLOTS: "2" });
});

test("a connection cut short at a # is an error that says what to do", () => {
  expect(() => read(`AIRFLOW_CONN_ROLLBOOK_ALERTS=${ALERTS}\n`)).toThrow(
    "AIRFLOW_CONN_ROLLBOOK_ALERTS is not JSON. In .env, put it between single quotes.",
  );
});

test("an .env that cannot be read is an error", () => {
  const envFile = join(makeFolder(), ".env");
  mkdirSync(envFile);
  expect(() => readSettings({ composeFile: COMPOSE_FILE, envFile, environment: {} })).toThrow(
    `${envFile} cannot be read: EISDIR`,
  );
});
