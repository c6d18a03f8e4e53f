/** Runs the tests of this folder, and tools, with Airflow's Python. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import { createEmptyDatabase, createTestDatabase, testConnection } from "../../db/testing/database.ts";
import { installPython } from "../local/testing.ts";

const DAGS = fileURLToPath(new URL("..", import.meta.url));

/**
 * Runs a file of tests with a metadata database and a warehouse of its own.
 *
 * @param more.bin the programs of the virtual environment; default: that of the lock
 */
export async function runPytest(
  file: string,
  more: { readonly variables?: Readonly<Record<string, string>>; readonly bin?: string } = {},
): Promise<Ended> {
  const { environment } = await createTestDatabase();
  const metadata = await createEmptyDatabase();
  const { host, port, user } = testConnection(metadata.name);
  const folder = await mkdtemp(join(tmpdir(), "rollbook-dags-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const variables = {
    ROLLBOOK_TEST_WAREHOUSE: JSON.stringify(environment),
    ROLLBOOK_TEST_METADATA: `host=${host} port=${port} user=${user} dbname=${metadata.name}`,
    ROLLBOOK_INBOX: join(folder, "inbox"),
    AIRFLOW_HOME: join(folder, "airflow"),
    AIRFLOW__CORE__DAGS_FOLDER: DAGS,
    AIRFLOW__CORE__LOAD_EXAMPLES: "False",
    AIRFLOW__DATABASE__SQL_ALCHEMY_CONN: `postgresql+psycopg2://${user}@/${metadata.name}?host=${encodeURIComponent(host ?? "")}&port=${port}`,
  };
  return runTool("python", ["-m", "pytest", "-p", "no:cacheprovider", file], {
    ...more,
    variables: { ...variables, ...more.variables },
  });
}

export interface Ended {
  readonly code: number | null;
  readonly output: string;
}

/** Runs a program of the virtual environment in dags/. */
export async function runTool(
  name: string,
  options: readonly string[],
  environment: {
    readonly variables?: Readonly<Record<string, string>>;
    readonly bin?: string | undefined;
  } = {},
): Promise<Ended> {
  const { variables = {}, bin = (await installPython()).bin } = environment;
  const child = spawn(join(bin, name), options, {
    cwd: DAGS,
    env: { HOME: process.env.HOME, PATH: `${bin}:${process.env.PATH}`, ...variables },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const output: string[] = [];
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding("utf8").on("data", (text) => output.push(text));
  const [code] = await once(child, "close");
  return { code, output: output.join("") };
}
