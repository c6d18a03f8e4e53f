/**
 * `npm run build`: makes dist/, which is what a package and an image run. `npm ci` in a checkout does it, too (`prepare`).
 *
 * Each program is one file, with the packages that it uses inside: so the command starts twice as fast as with node_modules, and
 * a user installs one package. Only PostgreSQL's own programs stay packages (`optionalDependencies`).
 */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { build, type Metafile } from "esbuild";

const CHECKOUT = fileURLToPath(new URL(".", import.meta.url));
const DIST = join(CHECKOUT, "dist");
const MIGRATIONS = join(CHECKOUT, "db/migrations");

/** What dist/ has, and the sources that each is made of. */
const PROGRAMS = { rollbook: "etl/cli.ts", keeper: "db/embedded/keeper.ts" };

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
}): Promise<{ readonly files: Files; readonly metafile: Metafile }> {
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
    banner: { js: REQUIRE },
    logLevel: "warning",
  });
  const files = new Map(outputFiles.map(({ path, contents }) => [relative(options.folder, path), contents]));
  for (const name of ["meta/_journal.json", ...readdirSync(MIGRATIONS).filter((one) => one.endsWith(".sql"))])
    files.set(join("migrations", name), readFileSync(join(MIGRATIONS, name)));
  placeFiles(options.folder, files);
  return { files, metafile };
}

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

/** Builds the programs of dist/: in tests, once a run. */
export async function buildCommand(): Promise<void> {
  await buildPrograms({ entries: PROGRAMS, folder: DIST });
}

async function main(): Promise<void> {
  // What an earlier version made.
  rmSync(DIST, { recursive: true, force: true });
  await buildCommand();
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
