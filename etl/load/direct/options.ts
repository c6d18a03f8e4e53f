/** What the direct way is told of a drop. */
import type { Transaction } from "../../../db/client.ts";
import type { LineRules } from "../../drop/rules.ts";
import type { Preparation } from "../prepare.ts";
import { type Chunks, createChunks } from "./chunk.ts";

export interface DirectOptions extends Preparation {
  readonly tx: Transaction;
  readonly loadId: number;
  readonly syncedOn: string;
  readonly path: string;
  readonly follow?: boolean | undefined;
  /** The file's size. */
  readonly bytes: number;
  readonly gzip: boolean;
  readonly rules: LineRules;
  /** Lines sorted and written at a time. */
  readonly chunkLines: number;
  /** Whether so many rejects among so many lines are too many. */
  readonly refuses: (rejected: number, read: number) => boolean;
  readonly onProgress?: ((done: { readonly bytes: number; readonly rows: number }) => void) | undefined;
}

/** A line has a venue, a UUID, a time, a total, three delimiters and its end. */
const LEAST_LINE_BYTES = 1 + 32 + 10 + 1 + 4;

/** No larger than the drop may need: memory has to be cleared, which would take longer than to load a small drop. */
export function createChunksFor({ chunkLines, bytes, gzip }: DirectOptions): Chunks {
  return createChunks(gzip ? chunkLines : Math.min(chunkLines, Math.ceil(bytes / LEAST_LINE_BYTES) + 1));
}
