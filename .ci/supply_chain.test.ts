/** What is installed: only what the locks name, byte for byte, and under licences that do not bind us. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { EXCEPTIONS, findException, isPermissive, readPythonLicence } from "./licence_rules.ts";
import {
  listDependencies,
  nameOf,
  readDocument,
  readKept,
  readNpmLock,
  readRequirements,
} from "./licences.ts";

const read = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), "utf8");

interface Manifest {
  readonly allowScripts: Readonly<Record<string, boolean>>;
  readonly optionalDependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
}
const manifest: Manifest = JSON.parse(read("package.json"));

test("every package of package-lock.json comes from the registry, with the hash of its bytes", () => {
  const entries = Object.entries(readNpmLock());
  expect(entries.length).toBeGreaterThan(200);
  // Without an address it is the registry's; the hash decides in any case.
  const loose = entries.filter(
    ([, { integrity = "", resolved, link, version = "" }]) =>
      !/^sha512-[A-Za-z0-9+/]{86}==$/.test(integrity) ||
      !(resolved === undefined || resolved.startsWith("https://registry.npmjs.org/")) ||
      link === true ||
      !/^\d+\.\d+\.\d+/.test(version),
  );
  expect(loose).toEqual([]);
});

test("package.json asks for versions, not for addresses", () => {
  const { optionalDependencies, devDependencies } = manifest;
  const wanted = Object.entries({ ...optionalDependencies, ...devDependencies });
  expect(wanted.filter(([, range]) => !/^[~^]?\d+\.\d+\.\d+[\w.-]*$/.test(range))).toEqual([]);
});

test("the packages with install scripts are those that are allowed by name", () => {
  const scripted = Object.entries(readNpmLock()).flatMap(([place, { hasInstallScript }]) =>
    hasInstallScript ? [nameOf(place)] : [],
  );
  expect([...new Set(scripted)].toSorted()).toEqual(Object.keys(manifest.allowScripts).toSorted());
  expect(Object.values(manifest.allowScripts).every((allowed) => allowed === true)).toBe(true);
});

test.each(["requirements.txt", "requirements-dev.txt"])(
  "every requirement of dags/%s is pinned by hashes",
  (file) => {
    const requirements = readRequirements(file);
    expect(requirements.length).toBeGreaterThan(100);
    const loose = requirements.filter(
      ({ hashes }) => hashes.length === 0 || !hashes.every((hash) => /^sha256:[0-9a-f]{64}$/.test(hash)),
    );
    expect(loose).toEqual([]);
  },
);

test("what is installed to run is a part of what is installed to develop", () => {
  const pins = (file: string) => readRequirements(file).map(({ name, version }) => `${name}==${version}`);
  expect(pins("requirements-dev.txt")).toEqual(expect.arrayContaining(pins("requirements.txt")));
});

test("pip insists on the hashes, and npm on the lock, wherever the project installs", () => {
  const files = [".ci/run", "dags/docker/Dockerfile"].map(read).join("\n");
  const installing = [...files.matchAll(/\b(?:pip|npm)\s+(?:install|ci|i)\b.*/g)].map(([line]) => line);
  expect(installing.length).toBeGreaterThanOrEqual(3);
  for (const line of installing) expect(line).toMatch(/npm ci|--require-hashes/);
  expect(read("dags/local/python.ts")).toContain('"--require-hashes"');
});

test("base images come by their exact versions", () => {
  const images = [
    ...[...read("dags/docker/Dockerfile").matchAll(/^FROM (\S+)/gm)].map(([, image]) => image),
    ...[...read("docker-compose.yml").matchAll(/image: (postgres\S+)/g)].map(([, image]) => image),
  ];
  expect(images.length).toBeGreaterThanOrEqual(4);
  for (const image of images) expect(image).toMatch(/:\d+\.\d+(\.\d+)?(-[\w.-]+)?(@sha256:[0-9a-f]{64})?$/);
});

test("every dependency's licence is permissive, or explained", async () => {
  const dependencies = await listDependencies();
  const strange = dependencies.filter(
    (one) => !isPermissive(one.licence) && findException(one) === undefined,
  );
  expect(strange).toEqual([]);
  const used = dependencies.filter(({ licence }) => !isPermissive(licence)).map(findException);
  expect([...new Set(used)].toSorted()).toEqual(Object.keys(EXCEPTIONS).toSorted());
});

test("docs/licences.md is up to date; else: npm run licences", async () => {
  const { current, wanted } = await readDocument();
  expect(current).toBe(wanted);
});

test("the licences that are kept are those of the Python packages that are locked", () => {
  const locked = readRequirements("requirements-dev.txt").map(({ name, version }) => `${name}==${version}`);
  expect(Object.keys(readKept()).toSorted()).toEqual(locked.toSorted());
});

test.each([
  ["MIT", true],
  ["MIT OR GPL-3.0-only", true],
  ["(MIT AND PSF-2.0)", true],
  ["MIT AND GPL-3.0-only", false],
  ["GPL-2.0-or-later", false],
  ["unknown", false],
  ["", false],
])("the licence %s: permissive %s", (licence, permissive) => {
  expect(isPermissive(licence)).toBe(permissive);
});

test.each([
  [{ expression: "Apache-2.0", classifiers: ["MIT License"], text: "" }, "Apache-2.0"],
  [{ expression: "", classifiers: ["BSD License"], text: "ISC" }, "ISC"],
  [
    { expression: "", classifiers: ["MIT License", "Apache Software License"], text: "x" },
    "MIT OR Apache-2.0",
  ],
  [{ expression: "", classifiers: [], text: "3-Clause BSD License" }, "BSD-3-Clause"],
  [{ expression: "", classifiers: [], text: "All rights reserved" }, "unknown: All rights reserved"],
])("the metadata %j say %s", (metadata, licence) => {
  expect(readPythonLicence({ name: "a", version: "1", ...metadata })).toBe(licence);
});

test("no private key and no password of ours stands in the checkout", () => {
  const own = ["db", "etl", "dags", "bench", "docs", ".ci"].flatMap((folder) =>
    readdirSync(new URL(`../${folder}`, import.meta.url), { recursive: true, encoding: "utf8" })
      .filter((name) => /\.(ts|py|sh|sql|json|md|txt|toml|ya?ml|pem|key|crt|env)$/.test(name))
      .map((name) => join(folder, name)),
  );
  expect(own.length).toBeGreaterThan(150);
  const found = own.filter((path) =>
    /-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----\s+[A-Za-z0-9+/]{20}/.test(read(path)),
  );
  expect(found).toEqual([]);
});
