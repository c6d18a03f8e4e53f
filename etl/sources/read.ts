/** Reads a folder of sources. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { errorState, RollbookError } from "../../db/errors.ts";
import { openRegularFile } from "../drop/file.ts";
import { printable } from "../escape.ts";
import type { ParsedSource } from "./parse.ts";
import { isSourceFile } from "./place.ts";
import type { Source } from "./source.ts";

/** The most bytes of a source. */
const MAX_BYTES = 64 * 1024;

/** Of a source: it goes into the ledger, into reports and messages. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/**
 * Reads every `NAME.yaml` of a folder, sorted by name. Hidden files, folders and files of other endings are left alone.
 *
 * @param options.named whether somebody named the folder; else it need not be there
 * @throws RollbookError `configuration` with all that is wrong with all of them, a fault per line
 */
export async function readSources(options: {
  readonly folder: string;
  readonly named: boolean;
}): Promise<readonly Source[]> {
  const sources: Source[] = [];
  const faults: string[] = [];
  for (const entry of await listFolder(options)) {
    const read = await readSource(options.folder, entry);
    if (typeof read === "string") faults.push(read);
    else if (read.kind === "source") sources.push(read.source);
    else faults.push(...read.faults);
  }
  if (faults.length > 0) throw configurationError(faults.join("\n"));
  return sources;
}

function configurationError(message: string, cause?: unknown): RollbookError {
  return new RollbookError({ code: "configuration", message, cause });
}

/** The names of YAML files, sorted. */
async function listFolder(options: {
  readonly folder: string;
  readonly named: boolean;
}): Promise<readonly string[]> {
  const folder = printable(options.folder);
  const entries = await readdir(options.folder, { withFileTypes: true }).catch((error: unknown) => {
    const state = errorState(error);
    if (state === "ENOENT" && !options.named) return [];
    const remedy =
      state === "ENOENT" || state === "ENOTDIR"
        ? "there is no such folder of sources: make it, or name another"
        : `the folder of sources cannot be read (${state ?? String(error)}): give this user the right to read it`;
    throw configurationError(`${folder}: ${remedy}`, error);
  });
  return entries
    .filter((entry) => !entry.isDirectory() && isSourceFile(entry.name))
    .map(({ name }) => name)
    .sort();
}

/** A source, or a fault. */
async function readSource(folder: string, entry: string): Promise<ParsedSource | string> {
  const file = join(folder, entry);
  const said = printable(file);
  const name = entry.slice(0, entry.lastIndexOf("."));
  if (!entry.endsWith(".yaml"))
    return `${said}: the ending of a source is .yaml: rename it to ${printable(name)}.yaml`;
  if (!NAME.test(name)) {
    return `${said}: the name of a source has at most 64 of the characters A-Z, a-z, 0-9, "." "_" and "-", and begins with a letter or a digit: rename it`;
  }
  try {
    const bytes = await readBytes(file);
    if (bytes.length > MAX_BYTES) return `${said}: is larger than 64 KiB, too large for a source: shorten it`;
    // Only who has sources waits for YAML and its schema to be loaded.
    const { parseSource } = await import("./parse.ts");
    return parseSource({ name, file, bytes });
  } catch (error) {
    if (error instanceof RollbookError) return printable(error.message);
    return `${said}: cannot be read (${errorState(error) ?? String(error)}): check the disk, then run the command again`;
  }
}

/** The bytes of a file, at most one more than a source may have. */
async function readBytes(path: string): Promise<Buffer> {
  const file = await openRegularFile(path);
  try {
    const buffer = Buffer.alloc(MAX_BYTES + 1);
    let length = 0;
    for (;;) {
      const { bytesRead } = await file.read(buffer, length, buffer.length - length);
      length += bytesRead;
      if (bytesRead === 0 || length === buffer.length) return buffer.subarray(0, length);
    }
  } finally {
    await file.close();
  }
}
