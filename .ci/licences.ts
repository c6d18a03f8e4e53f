/**
 * Lists the licences of all dependencies in docs/licences.md: `npm run licences`. A test fails when it is stale.
 *
 * Those of npm's packages stand in package-lock.json. Those of Python's stand only in what is installed, so they are kept in
 * python_licences.json, by version; after a change of dags/requirements*.txt: `npm run licences -- --python .airflow/venv/bin/python`
 */
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { buildCommand } from "../build.ts";
import { EXCEPTIONS, type PythonMetadata, readPythonLicence } from "./licence_rules.ts";

const CHECKOUT = fileURLToPath(new URL("..", import.meta.url));
const DOCUMENT = join(CHECKOUT, "docs/licences.md");
const KEPT = join(CHECKOUT, ".ci/python_licences.json");

export interface Dependency {
  readonly registry: "npm" | "python";
  readonly name: string;
  readonly version: string;
  readonly licence: string;
  /** For tests and tools only. */
  readonly development: boolean;
}

export interface LockEntry {
  readonly version?: string;
  readonly resolved?: string;
  readonly integrity?: string;
  readonly license?: string;
  readonly link?: boolean;
  readonly dev?: boolean;
  readonly devOptional?: boolean;
  readonly hasInstallScript?: boolean;
}

/** The packages of package-lock.json, by their place in node_modules, without the project itself. */
export function readNpmLock(): Readonly<Record<string, LockEntry>> {
  const { packages } = JSON.parse(readFileSync(join(CHECKOUT, "package-lock.json"), "utf8")) as {
    readonly packages: Readonly<Record<string, LockEntry>>;
  };
  return Object.fromEntries(Object.entries(packages).filter(([place]) => place !== ""));
}

/** The name of a package that is installed in a place. */
export function nameOf(place: string): string {
  return place.slice(place.lastIndexOf("node_modules/") + "node_modules/".length);
}

export interface Requirement {
  readonly name: string;
  readonly version: string;
  readonly hashes: readonly string[];
}

/** The requirements of a lock in dags/. */
export function readRequirements(file: string): readonly Requirement[] {
  const text = readFileSync(join(CHECKOUT, "dags", file), "utf8").replace(/^\s*#.*\n/gm, "");
  return text
    .replaceAll("\\\n", " ")
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line) => {
      const [, name, version] = /^([a-z0-9][a-z0-9.-]*)==(\S+)/.exec(line) ?? [];
      if (name === undefined || version === undefined) throw new Error(`dags/${file}: not pinned: ${line}`);
      return { name, version, hashes: [...line.matchAll(/--hash=(\S+)/g)].map(([, hash = ""]) => hash) };
    });
}

let built: ReturnType<typeof buildCommand> | undefined;

/**
 * All dependencies, sorted. npm's are for development, but for those that users install beside Rollbook and those that the build puts into its
 * programs. A Python package whose licence is not kept has the licence `unknown`. */
export async function listDependencies(): Promise<readonly Dependency[]> {
  built ??= buildCommand();
  const places = new Set(await built);
  const npm = Object.entries(readNpmLock()).map(([place, entry]) => ({
    registry: "npm" as const,
    name: nameOf(place),
    version: entry.version ?? "",
    licence: entry.license ?? "unknown",
    development: (entry.dev === true || entry.devOptional === true) && !places.has(place),
  }));
  const kept = readKept();
  const production = new Set(readRequirements("requirements.txt").map(({ name }) => name));
  const python = readRequirements("requirements-dev.txt").map(({ name, version }) => ({
    registry: "python" as const,
    name,
    version,
    licence: kept[`${name}==${version}`] ?? "unknown",
    development: !production.has(name),
  }));
  const lines = new Map([...npm, ...python].map((one) => [Object.values(one).join(" "), one]));
  return [...lines.entries()]
    .toSorted(([one], [other]) => (one < other ? -1 : 1))
    .map(([, dependency]) => dependency);
}

export function readKept(): Readonly<Record<string, string>> {
  return JSON.parse(readFileSync(KEPT, "utf8"));
}

/** The document as it is, and as it should be. */
export async function readDocument(): Promise<{ readonly current: string; readonly wanted: string }> {
  return { current: readFileSync(DOCUMENT, "utf8"), wanted: renderDocument(await listDependencies()) };
}

const INTRODUCTION = `# Licences of the dependencies

Made by \`npm run licences\` from package-lock.json and dags/requirements*.txt; a test fails when it is stale, or when a licence is neither permissive nor
explained below. How the locks are kept: [security.md](security.md#supply-chain).`;

function renderDocument(dependencies: readonly Dependency[]): string {
  const section = (title: string, registry: Dependency["registry"], development: boolean) => {
    const rows = dependencies
      .filter((one) => one.registry === registry && one.development === development)
      .map(({ name, version, licence }) => `| ${name} | ${version} | ${licence} |`);
    return `## ${title}: ${rows.length}\n\n| package | version | licence |\n| --- | --- | --- |\n${rows.join("\n")}`;
  };
  const exceptions = Object.entries(EXCEPTIONS).map(([name, reason]) => `| ${name} | ${reason} |`);
  return `${[
    INTRODUCTION,
    `## Not permissive, and why they do not bind Rollbook\n\n| package | why |\n| --- | --- |\n${exceptions.join("\n")}`,
    section("Node.js, to run", "npm", false),
    section("Node.js, to develop", "npm", true),
    section("Python, to run (Airflow)", "python", false),
    section("Python, to develop", "python", true),
  ].join("\n\n")}\n`;
}

const METADATA = `
import json, re
from importlib.metadata import distributions
print(json.dumps([{
  "name": re.sub(r"[-_.]+", "-", one.metadata["Name"]).lower(),
  "version": one.version,
  "expression": one.metadata.get("License-Expression") or "",
  "classifiers": [c.split(" :: ")[-1] for c in one.metadata.get_all("Classifier") or [] if c.startswith("License ::")],
  "text": (one.metadata.get("License") or "").strip().split("\\n")[0],
} for one in distributions()]))`;

/** What the packages say that are installed beside a Python. */
export function readInstalled(python: string): readonly PythonMetadata[] {
  const { status, stdout, stderr, error } = spawnSync(python, ["-I", "-c", METADATA], {
    encoding: "utf8",
    maxBuffer: 2 ** 24,
  });
  if (status !== 0) throw new Error(`${python} cannot be run: ${error?.message ?? stderr}`);
  return JSON.parse(stdout);
}

/** Keeps the licences of what is locked: as installed, and as kept for what another platform needs. */
function keepPythonLicences(python: string): void {
  const installed = Object.fromEntries(
    readInstalled(python).map((one) => [`${one.name}==${one.version}`, readPythonLicence(one)]),
  );
  const known = { ...readKept(), ...installed };
  const locked = readRequirements("requirements-dev.txt").map(({ name, version }) => `${name}==${version}`);
  const kept = Object.fromEntries(
    locked.flatMap((pin) => (known[pin] === undefined ? [] : [[pin, known[pin]]])),
  );
  writeFileSync(KEPT, `${JSON.stringify(kept, undefined, 2)}\n`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({ options: { python: { type: "string" } } });
  if (values.python !== undefined) keepPythonLicences(values.python);
  writeFileSync(DOCUMENT, renderDocument(await listDependencies()));
}
