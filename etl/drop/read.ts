/**
 * Reads a drop from its file: bytes, what they are packed in, records, and for each record its row for COPY or
 * its reject. It needs no database, and the same memory for any file.
 */
import { createHash } from "node:crypto";
import { basename } from "node:path";
import { unpack } from "./container.ts";
import { readFileBytes, throwIfAborted } from "./file.ts";
import type { Form } from "./form.ts";
import { type LinesEvent, readLines } from "./lines.ts";
import type { LineRules } from "./rules.ts";

/**
 * The dialect first, then rows, then either the refusal of the drop, or hash and size of the file's own bytes
 * as they were read.
 */
export type ReadEvent =
  | LinesEvent
  | { readonly kind: "end"; readonly sha256: Buffer; readonly bytes: number };

/**
 * Reads a drop from its file.
 *
 * Throws a `RollbookError`: `file_unreadable`, or `aborted` when the signal aborts. The file is closed in any
 * case.
 *
 * @param options.onBytes gets the number of bytes of the file that were read so far
 */
export async function* readDrop(options: {
  readonly path: string;
  /** Whether a symbolic link is followed; default true. */
  readonly follow?: boolean | undefined;
  readonly rules: LineRules;
  /** How the file is written; default: as the drop format has it. */
  readonly form?: Form | undefined;
  /** Whether the events have the numbers of the lines; default false. */
  readonly numbered?: boolean;
  readonly signal?: AbortSignal | undefined;
  readonly onBytes?: ((rawBytes: number) => void) | undefined;
}): AsyncGenerator<ReadEvent, void, undefined> {
  const { path, follow, rules, form, numbered, signal, onBytes } = options;
  const hash = createHash("sha256");
  let bytes = 0;
  const onChunk = (chunk: Buffer) => {
    hash.update(chunk);
    bytes += chunk.length;
    onBytes?.(bytes);
  };
  const raw = watchChunks(readFileBytes({ path, follow, signal }), onChunk);
  const text = await unpack({ raw, namedGzip: /\.gz$/i.test(path), encoding: form?.encoding });
  for await (const event of readLines({ text, rules, form, numbered })) {
    throwIfAborted(path, signal);
    if (event.kind === "refused") {
      yield { ...event, message: `${basename(path)}: ${event.message}` };
      return;
    }
    yield event;
  }
  yield { kind: "end", sha256: hash.digest(), bytes };
}

async function* watchChunks(
  chunks: AsyncIterable<Buffer>,
  onChunk: (chunk: Buffer) => void,
): AsyncGenerator<Buffer, void, undefined> {
  for await (const chunk of chunks) {
    onChunk(chunk);
    yield chunk;
  }
}
