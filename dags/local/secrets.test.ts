import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readSecrets } from "./secrets.ts";
import { makeFolder } from "./testing.ts";

const NAMES = ["AIRFLOW_FERNET_KEY", "WAREHOUSE_PASSWORD", "AIRFLOW_ADMIN_PASSWORD"];

test("secrets are made once, and only their user can read them", () => {
  const folder = makeFolder();
  const secrets = readSecrets(folder, NAMES);
  expect(readSecrets(folder, NAMES)).toEqual(secrets);
  expect(statSync(join(folder, "secrets.json")).mode & 0o777).toBe(0o600);
  expect(readSecrets(makeFolder(), NAMES)).not.toEqual(secrets);
});

test("a Fernet key is 32 bytes, the others are letters and digits", () => {
  const { AIRFLOW_FERNET_KEY, ...others } = readSecrets(makeFolder(), NAMES);
  expect(AIRFLOW_FERNET_KEY).toMatch(/^[\w-]{43}=$/);
  expect(Buffer.from(AIRFLOW_FERNET_KEY ?? "", "base64url")).toHaveLength(32);
  for (const secret of Object.values(others)) expect(secret).toMatch(/^[A-Za-z0-9]{16,}$/);
});

test("a secret that a later version needs is added to those that are there", () => {
  const folder = makeFolder();
  const before = readSecrets(folder, NAMES);
  const after = readSecrets(folder, [...NAMES, "NEW_SECRET"]);
  expect(after).toEqual({ ...before, NEW_SECRET: expect.any(String) });
  expect(JSON.parse(readFileSync(join(folder, "secrets.json"), "utf8"))).toEqual(after);
});

test("a file that cannot be understood is not overwritten", () => {
  const folder = makeFolder();
  writeFileSync(join(folder, "secrets.json"), "{");
  expect(() => readSecrets(folder, NAMES)).toThrow("cannot be read");
  expect(readFileSync(join(folder, "secrets.json"), "utf8")).toBe("{");
});
