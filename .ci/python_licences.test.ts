/** The licences that are kept against what the installed packages say. In a file of its own, for it installs Airflow. */
import { join } from "node:path";
import { expect, test } from "vitest";
import { INSTALLED_WITHIN_MS, installPython } from "../dags/local/testing.ts";
import { readPythonLicence } from "./licence_rules.ts";
import { readInstalled, readKept } from "./licences.ts";

test("the licences that are kept are what the installed packages say", {
  timeout: INSTALLED_WITHIN_MS,
}, async () => {
  const { bin } = await installPython();
  const kept = readKept();
  const installed = readInstalled(join(bin, "python"));
  expect(installed.length).toBeGreaterThan(100);
  const differing = installed
    .map((one) => ({ pin: `${one.name}==${one.version}`, licence: readPythonLicence(one) }))
    .filter(({ pin, licence }) => kept[pin] !== licence)
    // What every virtual environment has of its own.
    .filter(({ pin }) => !/^(pip|setuptools)==/.test(pin));
  expect(differing, "run: npm run licences -- --python .airflow/venv/bin/python").toEqual([]);
});
