/**
 * `npm run build`: makes dist/, which is what a package and an image run. `npm ci` in a checkout does it, too (`prepare`).
 *
 * Each program is one file, with the packages that it uses inside: so the command starts twice as fast as with node_modules, and
 * a user installs one package. Only PostgreSQL's own programs stay packages (`optionalDependencies`).
 */
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { build, type Metafile, type Plugin } from "esbuild";

const CHECKOUT = fileURLToPath(new URL(".", import.meta.url));
const DIST = join(CHECKOUT, "dist");
const MIGRATIONS = join(CHECKOUT, "db/migrations");

/** What dist/ has, and the sources that each is made of. */
const PROGRAMS = { rollbook: "etl/cli.ts", keeper: "db/embedded/keeper.ts", library: "etl/library.ts" };
/** The console has a file of its own beside them, so that no other verb reads it; `rollbook serve` does. */
const CONSOLE = { console: "console/server.ts" };

/** What a bundle of ES modules needs for the CommonJS ones in it. */
const REQUIRE =
  'import { createRequire as makeRequire } from "node:module"; const require = makeRequire(import.meta.url);';

/** The contents of files, by their paths in the folder that they are to stand in. */
type Files = ReadonlyMap<string, Uint8Array>;

/** Builds what a program needs to run: each entry as one file `NAME.js`, and the migrations. */
export async function buildPrograms(options: {
  /** Sources by the name of the program. */
  readonly entries: Readonly<Record<string, string>>;
  readonly folder: string;
  /** Whether they answer by HTTP: then they need what fetch has. Default false. */
  readonly web?: boolean;
}): Promise<Metafile> {
  const { outputFiles, metafile } = await build({
    absWorkingDir: CHECKOUT,
    entryPoints: options.entries,
    outdir: options.folder,
    write: false,
    metafile: true,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20.19",
    // pg looks for it, and does without.
    external: ["pg-native"],
    // pg asks it whether this is Cloudflare. To have it, Node loads all of fetch, which takes a quarter of the command's start.
    ...(options.web ? {} : { define: { Response: "undefined" } }),
    plugins: [consoleApart],
    banner: { js: REQUIRE },
    logLevel: "warning",
  });
  const files = new Map(outputFiles.map(({ path, contents }) => [relative(options.folder, path), contents]));
  for (const name of ["meta/_journal.json", ...readdirSync(MIGRATIONS).filter((one) => one.endsWith(".sql"))])
    files.set(join("migrations", name), readFileSync(join(MIGRATIONS, name)));
  placeFiles(options.folder, files);
  return metafile;
}

/** The command reads the console from its own file. */
const consoleApart: Plugin = {
  name: "console",
  setup: ({ onResolve }) =>
    onResolve({ filter: /\/console\/server\.ts$/ }, ({ kind }) =>
      kind === "dynamic-import" ? { path: "./console.js", external: true } : undefined,
    ),
};

/**
 * Writes the files that differ, each at once, so that a program that starts meanwhile finds the old file or the new one. All get the time of now,
 * which says when they were made.
 */
function placeFiles(folder: string, files: Files): void {
  const now = new Date();
  for (const [name, contents] of files) {
    const path = join(folder, name);
    if (existsSync(path) && readFileSync(path).equals(contents)) {
      utimesSync(path, now, now);
      continue;
    }
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(`${path}.${process.pid}`, contents);
    if (name.endsWith(".js")) chmodSync(`${path}.${process.pid}`, 0o755);
    renameSync(`${path}.${process.pid}`, path);
  }
}

/** Builds the programs of dist/: in tests, once a run. Returns the places of the packages in them: `node_modules/pg`. */
export async function buildCommand(): Promise<readonly string[]> {
  const programs = await buildPrograms({ entries: PROGRAMS, folder: DIST });
  const ofConsole = await buildPrograms({ entries: CONSOLE, folder: DIST, web: true });
  const paths = [...new Set([programs, ofConsole].flatMap(({ inputs }) => Object.keys(inputs)))];
  const packaged = paths.filter((path) => path.includes("node_modules/"));
  const own = paths.filter((path) => !packaged.includes(path));
  // For the command, which says when it is older than one of them. It is no part of the package.
  placeFiles(
    DIST,
    new Map([["sources.txt", Buffer.from([...own, "db/migrations/meta/_journal.json"].join("\n"))]]),
  );
  return [...new Set(packaged.map((path) => path.replace(PATH_IN_PACKAGE, "$1")))].toSorted();
}

const PATH_IN_PACKAGE = /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\/.*$/;

/** Who wrote the packages in the programs, and on which terms: most licences want their text to go along. */
function writeNotices(places: readonly string[]): void {
  const notices = places.map((place) => {
    const folder = join(CHECKOUT, place);
    const manifest: { name: string; version: string; license: string; homepage?: string } = JSON.parse(
      readFileSync(join(folder, "package.json"), "utf8"),
    );
    const { name, version, license, homepage = `https://www.npmjs.com/package/${name}` } = manifest;
    return `${name} ${version}, ${license}, ${homepage}\n\n${readLicence(folder)}`;
  });
  const introduction = "The programs in this folder hold these packages, unchanged.";
  placeFiles(
    DIST,
    new Map([["NOTICES.txt", Buffer.from(`${[introduction, ...notices].join(`\n\n${RULE}\n\n`)}\n`)]]),
  );
}

const RULE = "-".repeat(80);

/** The text of a package's licence, which some have in their README. Without one it is a licence that is told by its name. */
function readLicence(folder: string): string {
  const names = readdirSync(folder);
  // A folder of them has those of what the package holds of others.
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => /^(licen[cs]e|notice)/i.test(name) && statSync(join(folder, name)).isFile())
    .toSorted();
  if (files.length > 0)
    return files.map((name) => readFileSync(join(folder, name), "utf8").trim()).join("\n\n");
  const readme = names.find((name) => /^readme/i.test(name));
  const [, section = ""] =
    readme === undefined
      ? []
      : (/^##+ licen[cs]e\n(.*)/ims.exec(readFileSync(join(folder, readme), "utf8")) ?? []);
  return section.trim() || "The package holds no text of it; that of Apache-2.0 is Rollbook's own LICENSE.";
}

/** The types of the library: its own declarations, and those that they import. */
function writeTypes(): void {
  const made = mkdtempSync(join(tmpdir(), "rollbook-types-"));
  try {
    const tsc = join(CHECKOUT, "node_modules/.bin/tsc");
    execFileSync(tsc, ["-p", join(CHECKOUT, "tsconfig.types.json"), "--outDir", made], { stdio: "inherit" });
    const files = new Map<string, Uint8Array>();
    const add = (name: string) => {
      if (files.has(name)) return;
      const text = readFileSync(join(made, name), "utf8");
      files.set(name, Buffer.from(text));
      for (const [, imported = ""] of text.matchAll(/from "([^"]+)"/g)) {
        if (!imported.startsWith(".")) throw new Error(`${name} needs the types of ${imported}`);
        add(join(dirname(name), imported.replace(/\.ts$/, ".d.ts")));
      }
    };
    add("etl/library.d.ts");
    placeFiles(join(DIST, "types"), files);
  } finally {
    rmSync(made, { recursive: true, force: true });
  }
}

/**
 * Lets `npx rollbook` in a checkout run its own command at once. npm links only the commands of other packages there, and would install the
 * checkout into a folder of its own first.
 */
function linkCommand(): void {
  const folder = join(CHECKOUT, "node_modules/.bin");
  rmSync(join(folder, "rollbook"), { force: true });
  symlinkSync(relative(folder, join(DIST, "rollbook.js")), join(folder, "rollbook"));
}

/** Removes what an earlier version made and this one does not. Last, for a program of dist/ may be starting. */
function removeOlder(than: number): void {
  for (const name of readdirSync(DIST, { recursive: true, encoding: "utf8" })) {
    const path = join(DIST, name);
    if (statSync(path).isFile() && statSync(path).mtimeMs < than) rmSync(path);
  }
}

async function main(): Promise<void> {
  const began = Date.now();
  writeNotices(await buildCommand());
  writeTypes();
  linkCommand();
  removeOlder(began);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
