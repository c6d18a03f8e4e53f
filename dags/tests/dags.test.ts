/** The tests of the DAGs are Python (dags/tests); here they get a metadata database and a warehouse, both real. */
import { beforeAll, expect, test } from "vitest";
import { INSTALLED_WITHIN_MS, installPython } from "../local/testing.ts";
import { runPytest, runTool } from "./testing.ts";

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
