/** For tests: where an embedded server may keep its data. */
import { chmodSync, mkdtempSync, statfsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const MEMORY = "/dev/shm";
/** More than the servers of all tests together hold at any time. */
const ROOM = 4 * 2 ** 30;

/**
 * Makes a folder for an embedded server: on a disk in memory where there is one with enough room, else beside
 * all temporary files. The caller removes it. Root can hand the server over to an ordinary user, because
 * others may pass through; the data stays private.
 */
export function makeServerHome(): string {
  const home = mkdtempSync(join(hasRoom(MEMORY) ? MEMORY : tmpdir(), "rollbook-home-"));
  chmodSync(home, 0o711);
  return home;
}

function hasRoom(folder: string): boolean {
  try {
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize >= ROOM;
  } catch {
    // Only Linux has it.
    return false;
  }
}
