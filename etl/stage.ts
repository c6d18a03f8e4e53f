/** Streams a drop into a staging table by COPY, and its rejects into quarantine. Memory is constant for any size of drop. */
import { once } from "node:events";
import { finished } from "node:stream/promises";
import { type CopyStreamQuery, from as copyFrom } from "pg-copy-streams";
import { LOCK, type Transaction } from "../db/client.ts";
import { STAGING_SLOTS } from "../db/schema.ts";
import { type RefusalCode, readDrop } from "./read.ts";
import type { Column, LineRules, Reject } from "./validate.ts";

/** Rejects are kept in memory up to so many bytes of raw text; then COPY is interrupted to write them. */
const MAX_REJECT_BYTES = 4 * 1024 * 1024;
/** What a reject takes beside its raw text, roughly. */
const REJECT_OVERHEAD = 200;

export interface Staged {
  /** Lines that are in staging now. */
  readonly rows: number;
  /** Lines that are in quarantine now. */
  readonly rejected: number;
  /** Hash of the bytes as they were read this time; null when reading stopped before the end. */
  readonly sha256: Buffer | null;
  /** Why the drop is refused as a whole, if it is. */
  readonly refusal: { readonly code: RefusalCode; readonly message: string } | null;
}

/** Takes a staging table for this transaction and empties it; waits when all of them are in use. */
export async function takeStagingSlot(tx: Transaction): Promise<string> {
  const free = await tx.client.query(
    "select slot from generate_series(1, $2::int) as slots (slot) where pg_try_advisory_xact_lock($1, slot) limit 1",
    [LOCK.stagingSlot, STAGING_SLOTS],
  );
  let slot: number | undefined = free.rows[0]?.slot;
  if (slot === undefined) {
    slot = 1 + (process.pid % STAGING_SLOTS);
    await tx.client.query("select pg_advisory_xact_lock($1, $2)", [LOCK.stagingSlot, slot]);
  }
  const table = `warehouse.staging_${slot}`;
  // In this transaction, so that COPY appends to a new file: rows stand in the order of their lines (ctid), and a rollback
  // leaves the empty file of before.
  await tx.client.query(`truncate ${table}`);
  return table;
}

/**
 * Reads the drop, writes what its rules take to the staging table and what they refuse to quarantine.
 *
 * @param options.table the staging table, from {@link takeStagingSlot}
 * @param options.onProgress bytes of the file and lines read so far
 */
export async function stageDrop(options: {
  readonly tx: Transaction;
  readonly table: string;
  readonly loadId: number;
  readonly path: string;
  readonly gzip: boolean;
  readonly rules: LineRules;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((done: { readonly bytes: number; readonly rows: number }) => void) | undefined;
}): Promise<Staged> {
  const { tx, table, loadId, onProgress } = options;
  let bytes = 0;
  let rows = 0;
  let rejected = 0;
  let copy: RowCopy | undefined;
  let rejects: Reject[] = [];
  let rejectBytes = 0;
  const writeRejects = async () => {
    await copyRejects(tx, loadId, rejects);
    rejects = [];
    rejectBytes = 0;
  };
  const onBytes = (read: number) => {
    bytes = read;
  };
  let format: RowFormat | undefined;
  for await (const event of readDrop({ ...options, onBytes })) {
    switch (event.kind) {
      case "dialect":
        format = event.copy;
        break;
      case "rows":
        if (event.rows > 0 && format !== undefined) {
          copy ??= openCopy(tx, table, format);
          await writeRows(copy, event.copy);
        }
        rows += event.rows;
        rejected += event.rejects.length;
        for (const reject of event.rejects) rejectBytes += reject.raw.length + REJECT_OVERHEAD;
        rejects.push(...event.rejects);
        if (rejectBytes > MAX_REJECT_BYTES) {
          await closeCopy(copy);
          copy = undefined;
          await writeRejects();
        }
        onProgress?.({ bytes, rows: rows + rejected });
        break;
      case "refused":
        await closeCopy(copy);
        await writeRejects();
        return { rows, rejected, sha256: null, refusal: { code: event.code, message: event.message } };
      case "end":
        await closeCopy(copy);
        await writeRejects();
        onProgress?.({ bytes: event.bytes, rows: rows + rejected });
        return { rows, rejected, sha256: event.sha256, refusal: null };
    }
  }
  throw new Error("the reader ended without an end event");
}

interface RowFormat {
  readonly delimiter: string;
  readonly columns: readonly Column[];
}

type RowCopy = CopyStreamQuery;

function openCopy(tx: Transaction, table: string, format: RowFormat): RowCopy {
  const delimiter = format.delimiter === "\t" ? "" : `, delimiter '${format.delimiter}'`;
  const stream = tx.client.query(
    copyFrom(`copy ${table} (${format.columns.join(", ")}) from stdin with (format text${delimiter})`),
  );
  // An error is thrown where the stream is written to or closed; without a listener it would end the process before.
  stream.on("error", () => {});
  return stream;
}

async function writeRows(copy: RowCopy, chunks: Buffer | readonly Buffer[]): Promise<void> {
  for (const chunk of Array.isArray(chunks) ? chunks : [chunks]) {
    if (copy.errored) throw copy.errored;
    if (!copy.write(chunk)) await once(copy, "drain");
  }
}

async function closeCopy(copy: RowCopy | undefined): Promise<void> {
  if (copy === undefined) return;
  if (copy.errored) throw copy.errored;
  copy.end();
  await finished(copy);
}

async function copyRejects(tx: Transaction, loadId: number, rejects: readonly Reject[]): Promise<void> {
  if (rejects.length === 0) return;
  const stream = tx.client.query(
    copyFrom("copy warehouse.rejects (load_id, line, reason, column_name, raw) from stdin"),
  );
  stream.on("error", () => {});
  for (const { line, reason, column, raw } of rejects) {
    const row = `${loadId}\t${line}\t${reason}\t${column ?? "\\N"}\t\\\\x${raw.toString("hex")}\n`;
    if (stream.errored) throw stream.errored;
    if (!stream.write(row)) await once(stream, "drain");
  }
  await closeCopy(stream);
}
