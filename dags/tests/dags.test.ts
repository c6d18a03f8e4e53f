/** The tests of the DAGs are Python (dags/tests); here they get a metadata database and a warehouse, both real. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import { createEmptyDatabase, createTestDatabase, testConnection } from "../../db/testing/database.ts";
import { INSTALLED_WITHIN_MS, installPython } from "../local/testing.ts";

const DAGS = fileURLToPath(new URL("..", import.meta.url));

const MINUTES = 60_000;

beforeAll(installPython, INSTALLED_WITHIN_MS);

test.each(["test_dag_files.py", "test_node_cli.py", "test_dag_runs.py", "test_plugins.py"])(
  "%s",
  { timeout: 10 * MINUTES },
  async (file) => {
    const { code, output } = await runPytest(`tests/${file}`);
    expect(code, output).toBe(0);
    expect(output).toMatch(/\d+ passed/);
  },
);

test.each([
  ["ruff", ["check", "."]],
  ["ruff", ["format", "--check", "."]],
  ["mypy", ["."]],
])("%s %j finds nothing", { timeout: 5 * MINUTES }, async (tool, options) => {
  const { code, output } = await runTool(tool, options);
  expect(code, output).toBe(0);
});

async function runPytest(file: string): Promise<Ended> {
  const { environment } = await createTestDatabase();
  const metadata = await createEmptyDatabase();
  const { host, port, user } = testConnection(metadata.name);
  const folder = await mkdtemp(join(tmpdir(), "rollbook-dags-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return runTool("python", ["-m", "pytest", "-p", "no:cacheprovider", file], {
    ROLLBOOK_TEST_WAREHOUSE: JSON.stringify(environment),
    ROLLBOOK_TEST_METADATA: `host=${host} port=${port} user=${user} dbname=${metadata.name}`,
    ROLLBOOK_INBOX: join(folder, "inbox"),
    AIRFLOW_HOME: join(folder, "airflow"),
    AIRFLOW__CORE__DAGS_FOLDER: DAGS,
    AIRFLOW__CORE__LOAD_EXAMPLES: "False",
    AIRFLOW__DATABASE__SQL_ALCHEMY_CONN: `postgresql+psycopg2://${user}@/${metadata.name}?host=${encodeURIComponent(host ?? "")}&port=${port}`,
  });
}

interface Ended {
  readonly code: number | null;
  readonly output: string;
}

/** Runs a program of the virtual environment in dags/. */
async function runTool(
  name: string,
  options: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<Ended> {
  const { bin } = await installPython();
  const child = spawn(join(bin, name), options, {
    cwd: DAGS,
    env: { HOME: process.env.HOME, PATH: `${bin}:${process.env.PATH}`, ...environment },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const output: string[] = [];
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding("utf8").on("data", (text) => output.push(text));
  const [code] = await once(child, "close");
  return { code, output: output.join("") };
}
