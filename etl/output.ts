/** How commands speak: tables or JSON lines on stdout, progress and messages on stderr. */
import { toJson } from "./escape.ts";

export interface Streams {
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
  /** After it aborts nothing more is written to stdout. */
  readonly signal?: AbortSignal;
  /** Whether the command goes on when stdout takes nothing any more; if not, a write that fails ends it. */
  readonly worksUnseen?: () => boolean;
}

/**
 * Writes text to stdout and waits until the system has it. So memory stays constant however slow the reader is, and one piece is under way at
 * most: a process that is killed leaves whole lines behind (pipes take up to 4 kB whole or not at all; after a signal the end waits for more).
 */
export async function write(streams: Streams, text: string): Promise<void> {
  streams.signal?.throwIfAborted();
  const error = await new Promise((resolve) => streams.stdout.write(text, resolve));
  if (error instanceof Error && !streams.worksUnseen?.()) throw error;
}

/** One JSON object as one line. */
export function writeJson(streams: Streams, value: unknown): Promise<void> {
  return write(streams, `${toJson(value)}\n`);
}

export function writeLine(streams: Streams, text: string): Promise<void> {
  return write(streams, `${text}\n`);
}

/** A message beside the output. */
export function note(streams: Streams, text: string): void {
  streams.stderr.write(`${text}\n`);
}
