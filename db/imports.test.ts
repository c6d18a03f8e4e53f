import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const ROOT = fileURLToPath(new URL("..", import.meta.url));

interface Source {
  /** Relative to the checkout: `etl/load/load.ts`. */
  readonly path: string;
  readonly text: string;
  /** The files of this project that it imports, likewise. */
  readonly imports: readonly string[];
}

const SPECIFIERS = [
  /\b(?:import|export)\b[^"';]*?\bfrom\s*["']([^"']+)["']/g,
  /\bimport\s*["']([^"']+)["']/g,
  /\bimport\s*\(\s*["']([^"']+)["']\s*\)/g,
];

function readSources(): readonly Source[] {
  const paths = readdirSync(ROOT, { recursive: true, encoding: "utf8", withFileTypes: false }).filter(
    (path) => /^(db|etl|console|bench|dags)\/[^.].*\.m?ts$/.test(path),
  );
  return paths.map((path) => {
    const text = readFileSync(join(ROOT, path), "utf8");
    const code = text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/^\s*\/\/.*$/gm, "");
    const specifiers = SPECIFIERS.flatMap((pattern) =>
      [...code.matchAll(pattern)].map(([, name = ""]) => name),
    );
    const imports = specifiers
      .filter((name) => name.startsWith("."))
      .map((name) => relative(ROOT, resolve(ROOT, dirname(path), name)));
    return { path, text: code, imports };
  });
}

const sources = readSources();
const isSupport = (path: string) => /(^|\/)testing[^/]*\.ts$|\/testing\/|\.(test|browser)\.ts$/.test(path);
/** What is in bench/proof/ is a test, too, that runs as a program. */
const isTest = ({ path }: Source) => isSupport(path) || path.startsWith("bench/proof/");
const isProduct = (source: Source) => !isTest(source);

/** Imports, as `importer -> imported`, that the rule forbids. */
function forbidden(importers: RegExp, imported: RegExp): readonly string[] {
  return sources
    .filter(({ path }) => importers.test(path))
    .flatMap(({ path, imports }) =>
      imports.filter((name) => imported.test(name)).map((name) => `${path} -> ${name}`),
    );
}

/** Product files of db/, etl/, console/ and dags/ with this in their code. */
function users(of: RegExp): readonly string[] {
  return sources
    .filter(
      (source) => isProduct(source) && /^(db|etl|console|dags)\//.test(source.path) && of.test(source.text),
    )
    .map(({ path }) => path)
    .toSorted();
}

test("the imports of the project are seen", () => {
  expect(forbidden(/^etl\/load\/load\.ts$/, /^db\/client\.ts$/)).toEqual([
    "etl/load/load.ts -> db/client.ts",
  ]);
  const unknown = sources
    .flatMap(({ imports }) => imports)
    .filter((name) => !/^(db|etl|console|bench|dags)\//.test(name));
  expect(unknown.filter((name) => !["package.json", "build.ts"].includes(name))).toEqual([]);
});

/**
 * The rooms of the product, floor by floor: a file imports from its own room and from lower floors only. A
 * room is a folder with all that is in it, but for what is a room of its own, or a single file.
 */
const FLOORS: readonly (readonly string[])[] = [
  // db
  ["db/errors.ts", "db/dates.ts", "db/reason_summary.ts"],
  ["db/schema.ts"],
  ["db/connection/", "db/embedded/", "db/retry.ts", "db/waits/"],
  ["db/client.ts"],
  ["db/cursor.ts", "db/locks.ts", "db/plans.ts", "db/version.ts"],
  ["db/roles/"],
  ["db/partitions/", "db/settings.ts"],
  ["db/migrate.ts"],
  // etl
  [
    "etl/at_once.ts",
    "etl/escape.ts",
    "etl/checkout.ts",
    "etl/interrupts.ts",
    "etl/version.ts",
    "etl/warehouse.ts",
    "etl/drop/value/",
    "etl/sql/",
  ],
  ["etl/output.ts", "etl/drop/", "etl/reports/"],
  ["etl/sources/", "etl/closings/"],
  ["etl/load/"],
  ["etl/refresh/", "etl/inbox/", "etl/inspect/"],
  ["etl/verify/", "etl/archive/", "etl/watch.ts"],
  ["etl/undo/"],
  // Ways to show what the reports say: in a terminal, in a browser, to programs that collect lineage.
  ["etl/terminal/", "etl/lineage/", "console/"],
  ["etl/retire.ts", "etl/library.ts"],
  ["etl/commands/"],
  ["etl/program.ts"],
  ["etl/cli.ts", "etl/usage.ts"],
  // bench
  ["bench/results.ts"],
  ["bench/program/", "bench/generator/"],
  ["bench/run/"],
  ["bench/arms/"],
  [
    "bench/report/",
    "bench/proof/fuzz/",
    "bench/proof/simulate/",
    "bench/proof/mutate/",
    "bench/proof/endure/",
    "bench/proof/tills/",
  ],
  ["bench/generate.ts"],
  ["bench/bench.ts", "bench/demo.ts", "bench/proof/"],
  ["dags/"],
];

const ROOMS = FLOORS.flatMap((rooms, floor) => rooms.map((room) => ({ room, floor })));

/** The room of a file: the longest name that fits. */
function roomOf(path: string): (typeof ROOMS)[number] | undefined {
  return ROOMS.filter(({ room }) => path === room || (room.endsWith("/") && path.startsWith(room)))
    .toSorted((a, b) => b.room.length - a.room.length)
    .at(0);
}

/** Also what proves: its folders have a direction, too. */
const placed = sources.filter(({ path }) => !isSupport(path));

test("each file is in a room", () => {
  expect(placed.map(({ path }) => path).filter((path) => roomOf(path) === undefined)).toEqual([]);
  const inUse = new Set(placed.map(({ path }) => roomOf(path)?.room));
  expect(ROOMS.map(({ room }) => room).filter((room) => !inUse.has(room))).toEqual([]);
});

test("a file imports from its own room and from lower floors only", () => {
  const offenders = placed.flatMap(({ path, imports }) => {
    const own = roomOf(path);
    return imports.flatMap((name) => {
      const other = roomOf(name);
      if (own === undefined || other === undefined || isSupport(name)) return [];
      return own.room === other.room || other.floor < own.floor ? [] : [`${path} -> ${name}`];
    });
  });
  expect(offenders).toEqual([]);
});

test("db imports nothing of etl, bench or dags", () => {
  expect(forbidden(/^db\//, /^(etl|bench|dags)\//)).toEqual([]);
});

test("etl imports nothing of bench or dags", () => {
  expect(forbidden(/^etl\//, /^(bench|dags)\//)).toEqual([]);
});

/**
 * Pages are made of the reports and of nothing else: no page can reach what loads, refreshes or repairs. The command that serves them is one of
 * the verbs, and so above them.
 */
test("console imports nothing of etl but reports, and what makes text harmless", () => {
  const product = sources.filter((source) => isProduct(source) && source.path.startsWith("console/"));
  const imported = product.flatMap(({ imports }) => imports.filter((name) => name.startsWith("etl/")));
  expect(imported.filter((name) => !/^etl\/(reports\/|escape\.ts$)/.test(name))).toEqual([]);
  expect(imported).toContain("etl/escape.ts");
});

test("nothing imports console but the command that serves it", () => {
  expect(forbidden(/^(?!console\/)/, /^console\//)).toEqual([
    "etl/commands/serve.ts -> console/archive.ts",
    "etl/commands/serve.ts -> console/server.ts",
  ]);
});

test("nothing but dags imports dags", () => {
  expect(forbidden(/^(?!dags\/)/, /^dags\//)).toEqual([]);
});

test("nothing but bench imports bench", () => {
  expect(forbidden(/^(?!bench\/)/, /^bench\//)).toEqual([]);
});

test("no file imports itself, directly or through others, types included", () => {
  const importsOf = new Map(sources.map(({ path, imports }) => [path, imports]));
  const circles: string[] = [];
  const done = new Set<string>();
  const walk = (path: string, way: readonly string[]) => {
    const at = way.indexOf(path);
    if (at >= 0) circles.push([...way.slice(at), path].join(" -> "));
    if (at >= 0 || done.has(path)) return;
    for (const name of importsOf.get(path) ?? []) walk(name, [...way, path]);
    done.add(path);
  };
  for (const { path } of sources) walk(path, []);
  expect(circles).toEqual([]);
});

test("no product file imports a test or what supports tests", () => {
  const tests = new Set(sources.filter(isTest).map(({ path }) => path));
  // The generator's truth is the model's.
  tests.delete("etl/testing/models/totals.ts");
  const offenders = sources
    .filter(isProduct)
    .flatMap(({ path, imports }) =>
      imports.filter((name) => tests.has(name)).map((name) => `${path} -> ${name}`),
    );
  expect(offenders).toEqual([]);
});

/**
 * The files that are run as processes: `npm run airflow` and its guardian, the keeper of the embedded server,
 * the command line, the writer of docs/command-line.md.
 */
const PRINTING = ["dags/local/airflow.ts", "db/embedded/keeper.ts", "etl/cli.ts", "etl/usage.ts"];
const MAINS = ["dags/local/airflow.ts", "dags/local/guardian.ts", ...PRINTING.slice(1)];
const COMMANDS = ["dags/local/airflow.ts", "etl/cli.ts"];

test("only the main files read argv", () => {
  expect(users(/\bprocess\.argv\b/)).toEqual(MAINS);
});

test("only the main files print", () => {
  expect(users(/\bconsole\.\w+\(|\bprocess\.std(out|err)\b/)).toEqual(PRINTING);
});

test("only the commands set the exit code or exit", () => {
  expect(users(/\bprocess\.(exitCode|exit|abort|reallyExit)\b/)).toEqual(COMMANDS);
});

// The embedded server hands the environment on to the processes it starts, and reads no setting there.
test("only the commands read the environment, and the embedded server hands it on", () => {
  expect(users(/\bprocess\.env\b/)).toEqual([
    "dags/local/airflow.ts",
    "db/embedded/programs.ts",
    "db/embedded/start.ts",
    "etl/cli.ts",
  ]);
});
