import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { open, rename, rm } from "node:fs/promises";
import { finished } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { errorState, RollbookError } from "../../db/errors.ts";

/** What was written. */
export interface Written {
  readonly bytes: number;
  /** Hex. */
  readonly sha256: string;
}

export interface WriteOptions {
  readonly path: string;
  readonly pages: Iterable<Buffer>;
  readonly gzip: boolean;
}

/**
 * Writes pages to a file, which has its name only when it is whole: a watcher of the folder never sees half a
 * drop. While one page is written the next is made: a page may be reused when the next but one is asked for.
 */
export async function writeFileWhole(options: WriteOptions): Promise<Written> {
  const part = `${options.path}.part`;
  try {
    const written = options.gzip
      ? await writeZipped(part, options.pages)
      : await writePlain(part, options.pages);
    await rename(part, options.path);
    return written;
  } catch (error) {
    await rm(part, { force: true });
    throw describe(error, options.path);
  }
}

async function writePlain(path: string, pages: Iterable<Buffer>): Promise<Written> {
  const file = await open(path, "w");
  const hash = createHash("sha256");
  let bytes = 0;
  let writing: Promise<void> = Promise.resolve();
  try {
    for (const page of pages) {
      hash.update(page);
      bytes += page.length;
      await writing;
      writing = file.appendFile(page);
    }
    await writing;
  } finally {
    await file.close();
  }
  return { bytes, sha256: hash.digest("hex") };
}

/** The fastest level: generated drops are read once. */
const GZIP_LEVEL = 1;

async function writeZipped(path: string, pages: Iterable<Buffer>): Promise<Written> {
  const gzip = createGzip({ level: GZIP_LEVEL, chunkSize: 1 << 18 });
  const target = createWriteStream(path);
  const hash = createHash("sha256");
  let bytes = 0;
  gzip.on("data", (chunk: Buffer) => {
    hash.update(chunk);
    bytes += chunk.length;
  });
  const done = finished(gzip.pipe(target));
  const failed = new Promise<never>((_, reject) => {
    done.catch(reject);
  });
  failed.catch(() => {});
  for (const page of pages) {
    await Promise.race([failed, new Promise<void>((resolve) => gzip.write(page, () => resolve()))]);
  }
  gzip.end();
  await done;
  return { bytes, sha256: hash.digest("hex") };
}

function describe(error: unknown, path: string): unknown {
  if (error instanceof RollbookError) return error;
  const state = errorState(error);
  if (state === "ENOSPC" || state === "EDQUOT") {
    const message = `the disk is full: ${path} could not be written; make room`;
    return new RollbookError({ code: "disk_full", message, cause: error });
  }
  if (state === "EACCES" || state === "EROFS" || state === "EPERM") {
    return new RollbookError({
      code: "permission",
      message: `${path} may not be written here`,
      cause: error,
    });
  }
  return error;
}
