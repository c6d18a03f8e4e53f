/** Finds out that a file changed while it was loaded. */
import { RollbookError } from "../../db/errors.ts";
import { hashDrop } from "../drop/file.ts";
import type { LoadTask } from "./task.ts";

/**
 * Throws a RollbookError `file_changed` when the bytes that were read are not those that were claimed. It
 * comes before all other checks, because nothing can be said about half a file.
 *
 * @param read hash of the bytes as they were read; null when reading stopped before the end
 */
export async function refuseChangedFile(read: Buffer | null, task: LoadTask): Promise<void> {
  const { path, signal, follow } = task;
  const sha256 = read ?? (await hashDrop({ path, signal, follow })).sha256;
  if (sha256.equals(task.sha256)) return;
  throw new RollbookError({
    code: "file_changed",
    message: `${path} changed while it was read. Let it be written completely, best under another name and then renamed, and load it again.`,
  });
}
