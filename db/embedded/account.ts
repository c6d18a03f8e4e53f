/** Chooses the user who runs the server when we are root, and checks that this user can. */
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, readFileSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname } from "node:path";
import type { RollbookError } from "../errors.ts";
import { failure, REMEDY } from "./failure.ts";
import { type Place, socketDirOf } from "./place.ts";
import { type Account, asAccount, type Binaries, serverEnvironment } from "./programs.ts";

/**
 * PostgreSQL refuses to run as root. So as root we run it as the owner of the data folder, or as `postgres`,
 * or as `nobody`; else as ourselves, and there is no account.
 */
export function chooseAccount(place: Place, binaries: Binaries): Account | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const plain = { ...ordinaryUser(place), throughSetpriv: false };
  const first = probe(plain, place, binaries);
  if (first === "works") return plain;
  const able = { ...plain, throughSetpriv: true };
  if (probe(able, place, binaries) !== "works") throw unreachable(place, binaries, plain.uid);
  // A server that may read everything must be out of reach of the account's other processes: they could take
  // it over through its data folder or its socket.
  if (dirname(place.data) !== place.home) throw unreachable(place, binaries, plain.uid);
  if (first !== "home unreachable") hideHome(place, binaries, plain.uid);
  return able;
}

function ordinaryUser(place: Place): { uid: number; gid: number } {
  const owner = statSync(place.data, { throwIfNoEntry: false });
  if (owner !== undefined && owner.uid !== 0) return { uid: owner.uid, gid: owner.gid };
  const accounts = (existsSync("/etc/passwd") ? readFileSync("/etc/passwd", "utf8") : "")
    .split("\n")
    .map((line) => line.split(":"));
  for (const name of ["postgres", "nobody"]) {
    const [, , uid, gid] = accounts.find((account) => account[0] === name) ?? [];
    if (Number(uid) > 0 && gid !== undefined) return { uid: Number(uid), gid: Number(gid) };
  }
  throw failure(
    `PostgreSQL does not run as root, and there is neither a user "postgres" nor "nobody" in /etc/passwd to run it. ` +
      `Work as an ordinary user. ${REMEDY}`,
  );
}

/** Tries as the account whether the server runs: permissions, access lists and libraries all matter. */
function probe(account: Account, place: Place, binaries: Binaries): "works" | "home unreachable" | "fails" {
  const script = 'server=$1; cd "$2" || exit 10; cd "$3" || exit 11; exec "$server" --version';
  const base = dirname(socketDirOf(place, account.throughSetpriv));
  const args = ["-c", script, "sh", binaries.postgres, place.home, base === place.home ? base : tmpdir()];
  const [file, rest, ids] = asAccount(account, "/bin/sh", args);
  const { status } = spawnSync(file, rest, { ...ids, cwd: "/", env: serverEnvironment(), stdio: "ignore" });
  return status === 0 ? "works" : status === 10 ? "home unreachable" : "fails";
}

function hideHome(place: Place, binaries: Binaries, uid: number): void {
  if (statSync(place.home).uid !== 0) throw unreachable(place, binaries, uid);
  chmodSync(place.home, 0o700);
}

function unreachable(place: Place, binaries: Binaries, uid: number): RollbookError {
  return failure(
    `PostgreSQL does not run as root, and user ${uid}, which is to run it instead, cannot reach both ${place.home} and ` +
      `${dirname(binaries.postgres)}. Work as an ordinary user, or set ROLLBOOK_HOME to a folder (and install ` +
      `Rollbook in one) that every user can enter. ${REMEDY}`,
  );
}
