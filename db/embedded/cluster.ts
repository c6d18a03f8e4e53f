/** The data folder: initdb makes it, then it is checked, and given to the user who runs the server. */
import { randomBytes } from "node:crypto";
import {
  closeSync,
  fsyncSync,
  lchownSync,
  lstatSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { errorState, RollbookError } from "../errors.ts";
import { USER } from "./address.ts";
import { aborted, failure, REMEDY, reason } from "./failure.ts";
import { lastLines } from "./log.ts";
import { makePrivateDir, type Place } from "./place.ts";
import { isAlive } from "./postmaster.ts";
import { type Account, type Binaries, cannotRun, hasEnded, run } from "./programs.ts";

/** A data folder is made in a folder whose name begins like this; the process id of its maker follows. */
const LEFTOVER = "data.new-";

interface Making {
  readonly place: Place;
  readonly binaries: Binaries;
  readonly account: Account | undefined;
  /** Whether the new folder must outlive a power cut. */
  readonly durable: boolean;
  readonly onProgress: ((message: string) => void) | undefined;
  readonly signal: AbortSignal | undefined;
}

/**
 * Makes the data folder where there is none, and checks that the account can use it. Returns whether it made
 * it.
 */
export async function ensureCluster(making: Making): Promise<boolean> {
  const { place, binaries, account } = making;
  removeLeftovers(place);
  const missing = !hasCluster(place);
  if (missing) await createCluster(making);
  checkVersion(place, binaries);
  // A data folder that root has restored.
  if (account !== undefined && statSync(place.data).uid === 0) chownTree(place.data, account);
  return missing;
}

/** Removes what a first command left behind when it was killed. */
function removeLeftovers(place: Place): void {
  const folder = dirname(place.data);
  for (const name of readdirSync(folder)) {
    const creator = new RegExp(`^${LEFTOVER}(\\d+)-[0-9a-f]{8}$`).exec(name)?.[1];
    if (creator === undefined) continue;
    const path = join(folder, name);
    try {
      // Another process may have this id by now; but no maker takes an hour.
      if (isAlive(Number(creator)) && Date.now() - statSync(path).mtimeMs < 3_600_000) continue;
      rmSync(path, { recursive: true, force: true });
    } catch {
      // Its initdb is still writing, or it belongs to another user. The next start tries again.
    }
  }
}

function hasCluster(place: Place): boolean {
  try {
    return readdirSync(place.data).length > 0;
  } catch (error) {
    if (errorState(error) === "ENOENT") return false;
    throw failure(`Cannot read ${place.data}: ${reason(error)}. ${REMEDY}`, error);
  }
}

/**
 * Makes the folder beside and renames it. So `data` is whole or not there, and of two first commands one
 * wins.
 */
async function createCluster(making: Making): Promise<void> {
  const { place, account, onProgress } = making;
  const name = `${LEFTOVER}${process.pid}-${randomBytes(4).toString("hex")}`;
  const fresh = join(dirname(place.data), name);
  onProgress?.(`creating the embedded PostgreSQL in ${place.data}`);
  try {
    makePrivateDir(fresh, account, "ours");
    await initialize(fresh, making);
    renameSync(fresh, place.data);
    syncDir(dirname(place.data));
  } catch (error) {
    rmSync(fresh, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
    const state = errorState(error);
    if (state === "ENOTEMPTY" || state === "EEXIST") return;
    if (error instanceof RollbookError) throw error;
    throw failure(`Cannot create ${place.data}: ${reason(error)}. ${REMEDY}`, error);
  }
}

async function initialize(fresh: string, making: Making): Promise<void> {
  const { place, binaries, account, durable, signal } = making;
  const initdb = run(binaries.initdb, {
    args: [
      ...["-D", fresh, "-U", USER, "--auth-local=trust", "--auth-host=reject", "--no-instructions"],
      ...["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"],
      ...(durable ? [] : ["--no-sync"]),
    ],
    account,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [initdb.stdout, initdb.stderr]) {
    stream?.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
  }
  const stop = () => {
    // The whole group: initdb runs postgres.
    if (initdb.pid !== undefined && !hasEnded(initdb)) process.kill(-initdb.pid, "SIGKILL");
  };
  signal?.addEventListener("abort", stop, { once: true });
  try {
    const status = await new Promise<number | null>((resolve, reject) => {
      initdb.once("error", (error) => reject(cannotRun(error)));
      initdb.once("close", resolve);
    });
    if (signal?.aborted) throw aborted(signal.reason);
    if (status !== 0) throw initdbFailure(place, output);
  } finally {
    signal?.removeEventListener("abort", stop);
  }
}

/**
 * Why a data folder could not be made, by the output of initdb, which is English because it runs with
 * LC_ALL=C.
 */
export function initdbFailure(place: Place, output: string): RollbookError {
  const last = lastLines(output, 10);
  if (output.includes("No space left on device") || output.includes("Disk quota exceeded")) {
    return failure(
      `The disk is full: there is no room for the embedded PostgreSQL in ${place.home} (an empty one takes about ` +
        `60 MB). Make room, or set ROLLBOOK_HOME to another disk.\n${last}`,
    );
  }
  return failure(`Cannot create the embedded PostgreSQL in ${place.home}. ${REMEDY} initdb said:\n${last}`);
}

function syncDir(path: string): void {
  const fd = openSync(path, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function checkVersion(place: Place, binaries: Binaries): void {
  let version: string;
  try {
    version = readFileSync(join(place.data, "PG_VERSION"), "utf8").trim();
  } catch (error) {
    throw failure(
      `${place.data} is not a PostgreSQL data folder (${reason(error)}). Move it away, or set ROLLBOOK_HOME to ` +
        "another folder.",
      error,
    );
  }
  if (version !== binaries.major) {
    throw failure(
      `${place.data} was made by PostgreSQL ${version}, and this Rollbook brings PostgreSQL ${binaries.major}, which ` +
        `cannot open it. Dump it with version ${version} and restore the dump into an empty ROLLBOOK_HOME, or move ` +
        "the folder away to begin anew.",
    );
  }
}

function chownTree(path: string, account: Account): void {
  lchownSync(path, account.uid, account.gid);
  if (!lstatSync(path).isDirectory()) return;
  for (const name of readdirSync(path)) chownTree(join(path, name), account);
}
