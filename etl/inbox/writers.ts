/** Which files another process has open for writing. Only Linux shows it; elsewhere none is found. */
import { lstat, readdir, readFile, readlink, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import type { InboxFile } from "./list.ts";

const PROCESSES = "/proc";
/** Of the octal `flags` of an open file; 0 is for reading only. */
const ACCESS_MODE = 0o3;

/**
 * Finds, among these files, those that a process has open for writing. What processes of other users have
 * open can be seen by root alone: of theirs nothing is found, and likewise of those in another container or
 * on another machine.
 *
 * @returns for the path of each, the process, for people
 */
export async function findWriters(files: readonly InboxFile[]): Promise<ReadonlyMap<string, string>> {
  const writers = new Map<string, string>();
  if (process.platform !== "linux" || files.length === 0) return writers;
  const named = new Map<string, InboxFile[]>();
  for (const file of files) named.set(file.name, [...(named.get(file.name) ?? []), file]);
  for (const pid of (await readdir(PROCESSES)).filter((name) => /^\d+$/.test(name))) {
    const opened = await readdir(join(PROCESSES, pid, "fd")).catch(() => []);
    for (const number of opened) {
      const link = join(PROCESSES, pid, "fd", number);
      const target = await readlink(link).catch(() => "");
      // By the name first: to look at any file that is open anywhere could wait for a dead network share.
      for (const file of named.get(basename(target)) ?? []) {
        if (!(await isOpen(link, file)) || !(await isForWriting(pid, number))) continue;
        writers.set(file.path, await describeProcess(pid));
      }
    }
  }
  return writers;
}

/** Whether it is the same file. Its path may differ: a container can have the folder elsewhere. */
async function isOpen(link: string, { path }: InboxFile): Promise<boolean> {
  const [one, other] = await Promise.all([
    stat(link, { bigint: true }).catch(() => undefined),
    lstat(path, { bigint: true }).catch(() => undefined),
  ]);
  return one !== undefined && one.ino === other?.ino && one.dev === other.dev;
}

async function isForWriting(pid: string, number: string): Promise<boolean> {
  const found = await readFile(join(PROCESSES, pid, "fdinfo", number), "utf8").catch(() => "");
  const [, flags = "0"] = /^flags:\s*([0-7]+)$/m.exec(found) ?? [];
  return (Number.parseInt(flags, 8) & ACCESS_MODE) !== 0;
}

/** A process of this machine, for people. */
export async function describeProcess(pid: string): Promise<string> {
  const name = await readFile(join(PROCESSES, pid, "comm"), "utf8").catch(() => "");
  return name.trim() === "" ? `process ${pid}` : `${name.trim()} (process ${pid})`;
}
