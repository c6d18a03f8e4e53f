/** Which file systems say when a file last changed by this machine's own clock. */
import { statfs } from "node:fs/promises";

/** Of Linux (statfs(2)): ext4, xfs, btrfs, f2fs, zfs, tmpfs, overlayfs, bcachefs. All of them run in the kernel that writes to them. */
const LOCAL: ReadonlySet<number> = new Set([
  0xef53, 0x58465342, 0x9123683e, 0xf2f52010, 0x2fc12fc1, 0x01021994, 0x794c7630, 0xca451a4e,
]);

/**
 * Whether the change time (`ctime`) of files in this folder can be compared with the clock. Unlike the time of the last
 * modification nobody can set it: a copy, a rename and each write give it anew. But on a network share, or on what a
 * virtual machine shares with its host, the clock is another one.
 */
export async function keepsLocalTime(folder: string): Promise<boolean> {
  if (process.platform !== "linux") return false;
  return statfs(folder).then(
    ({ type }) => LOCAL.has(type),
    () => false,
  );
}
