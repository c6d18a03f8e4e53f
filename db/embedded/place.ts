/**
 * The files of a home, and the folder of its socket: whoever can enter that folder has full access to the
 * server.
 */
import { createHash } from "node:crypto";
import { chmodSync, existsSync, lchownSync, lstatSync, mkdirSync, realpathSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { errorState } from "../errors.ts";
import { PORT } from "./address.ts";
import { failure, REMEDY, reason } from "./failure.ts";
import type { Account } from "./programs.ts";

/** A socket's path with its final NUL must fit `sun_path`: 104 bytes on macOS, 108 on Linux. */
const SOCKET_PATH_BYTES = 103;

/**
 * The paths in a home. `home` is a real path, because the socket's name and the checks against other servers
 * need one.
 */
export interface Place {
  readonly home: string;
  readonly data: string;
  readonly run: string;
  readonly log: string;
}

/** The paths in a home that exists. */
export function placeOf(home: string): Place {
  const real = realpathSync(home);
  const data = join(real, "data");
  return {
    home: real,
    // It may be a link to another disk.
    data: existsSync(data) ? realpathSync(data) : data,
    run: join(real, "run"),
    log: join(real, "server.log"),
  };
}

/** @throws RollbookError `embedded_server` when the home cannot be made. */
export function makeHome(home: string): Place {
  try {
    mkdirSync(home, { recursive: true });
    return placeOf(home);
  } catch (error) {
    throw failure(
      `Cannot make the folder ${home}: ${reason(error)}. Set ROLLBOOK_HOME to another. ${REMEDY}`,
      error,
    );
  }
}

/**
 * The folder of the socket: in the home if its path is short enough for a socket, else in the temporary
 * folder.
 */
export function socketDirOf(place: Place, hidden: boolean): string {
  const fits = (dir: string) => Buffer.byteLength(join(dir, `.s.PGSQL.${PORT}`)) <= SOCKET_PATH_BYTES;
  if (fits(place.run)) return place.run;
  const own = join(
    tmpdir(),
    `rollbook-${createHash("sha256").update(place.home).digest("hex").slice(0, 16)}`,
  );
  const dir = hidden ? join(own, "run") : own;
  if (fits(dir)) return dir;
  throw failure(
    `Neither in ${place.home} nor in ${tmpdir()} a socket's path is short enough. Set ROLLBOOK_HOME or TMPDIR to a ` +
      "folder with a shorter path.",
  );
}

/** Makes the folder of the socket, and returns its path. */
export function makeSocketDir(place: Place, account: Account | undefined): string {
  const dir = socketDirOf(place, account?.throughSetpriv === true);
  if (dir === place.run) {
    makePrivateDir(dir, account, "ours");
  } else {
    // Everybody may write to the temporary folder: what is there must prove to be ours.
    if (account?.throughSetpriv) makePrivateDir(dirname(dir), undefined, "shared");
    makePrivateDir(dir, account, "shared");
  }
  return dir;
}

/**
 * Makes a folder that only the account (or we) can enter, or takes over one that is there. In a `shared`
 * place the folder may belong to somebody else, who must not be given anything.
 */
export function makePrivateDir(path: string, account: Account | undefined, where: "ours" | "shared"): void {
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    if (errorState(error) !== "EEXIST")
      throw failure(`Cannot make ${path}: ${reason(error)}. ${REMEDY}`, error);
  }
  const self = process.getuid?.() ?? 0;
  const uid = account?.uid ?? self;
  const before = lstatSync(path);
  if (account !== undefined && before.isDirectory() && (where === "ours" || before.uid === self))
    lchownSync(path, account.uid, account.gid);
  const found = lstatSync(path);
  if (found.isDirectory() && found.uid === uid) chmodSync(path, 0o700);
  checkPrivateDir(path, uid);
}

/** @throws RollbookError `embedded_server` when the folder is not one that only that user can enter. */
export function checkPrivateDir(path: string, uid: number): void {
  const found = lstatSync(path);
  if (found.isDirectory() && found.uid === uid && (found.mode & 0o077) === 0) return;
  throw failure(
    `${path} is not a folder that only user ${uid} can enter: somebody else made it. Remove it, or set ROLLBOOK_HOME ` +
      "to a folder with a shorter path.",
  );
}

export function removeSocketDir(place: Place, socketDir: string): void {
  if (socketDir === place.run) return;
  const guard = basename(socketDir) === "run" ? [dirname(socketDir)] : [];
  for (const dir of [socketDir, ...guard]) {
    try {
      rmdirSync(dir);
    } catch {
      // A newcomer uses it already.
    }
  }
}
