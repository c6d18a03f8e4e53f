/** Who listens on a port already, where that can be known: on Linux, of one's own processes, or as root of all. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/** `LISTEN` in the kernel's tables of sockets. */
const LISTENING = "0A";

/** The process as `node (pid 4711)`; undefined where it cannot be known. */
export function findPortHolder(port: number): string | undefined {
  try {
    const inodes = new Set(
      ["/proc/net/tcp", "/proc/net/tcp6"].flatMap((file) => listeningInodes(file, port)),
    );
    if (inodes.size === 0) return undefined;
    const pid = readdirSync("/proc").find((name) => /^\d+$/.test(name) && holdsSocket(name, inodes));
    return pid && `${readFileSync(`/proc/${pid}/comm`, "utf8").trim()} (pid ${pid})`;
  } catch {
    // Another system, or a process that has just ended.
    return undefined;
  }
}

function listeningInodes(file: string, port: number): readonly string[] {
  const wanted = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  return readFileSync(file, "utf8")
    .split("\n")
    .map((line) => line.trim().split(/\s+/))
    .filter(([, local = "", , state]) => state === LISTENING && local.endsWith(wanted))
    .flatMap(([, , , , , , , , , inode]) => (inode === undefined ? [] : [inode]));
}

function holdsSocket(pid: string, inodes: ReadonlySet<string>): boolean {
  try {
    return readdirSync(`/proc/${pid}/fd`).some((fd) => {
      const [, inode] = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`)) ?? [];
      return inode !== undefined && inodes.has(inode);
    });
  } catch {
    return false;
  }
}
