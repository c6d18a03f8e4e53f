/** Lineage with Airflow's OpenLineage provider, which is no part of the lock: it is put beside Airflow for this test. */
import { execFile } from "node:child_process";
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { INSTALLED_WITHIN_MS, installPython, makeFolder } from "../local/testing.ts";
import { runPytest } from "./testing.ts";

const WANTED = ["apache-airflow-providers-openlineage==2.20.3", "openlineage-python==1.54.0"];

const run = promisify(execFile);

/** A virtual environment that holds these, and has all that Airflow's has. */
async function makeVenv(): Promise<string> {
  const { python, venv } = await installPython();
  const folder = makeFolder();
  await run(python, ["-m", "venv", folder]);
  const libraries = (of: string) => {
    const [version = ""] = readdirSync(join(of, "lib"));
    return join(of, "lib", version, "site-packages");
  };
  writeFileSync(join(libraries(folder), "airflow.pth"), `${libraries(venv)}\n`);
  const pip = ["-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-input"];
  await run(join(folder, "bin/python"), [...pip, ...WANTED]);
  return folder;
}

test("what the commands tell is right by the client's types, and Airflow tells it once", {
  timeout: INSTALLED_WITHIN_MS + 600_000,
}, async () => {
  const venv = await makeVenv();
  const transport = { type: "file", log_file_path: join(makeFolder(), "airflow.jsonl"), append: true };
  const { code, output } = await runPytest("tests/test_lineage.py", {
    bin: join(venv, "bin"),
    variables: { AIRFLOW__OPENLINEAGE__TRANSPORT: JSON.stringify(transport) },
  });
  expect(code, output).toBe(0);
  expect(output).toMatch(/5 passed/);
});
