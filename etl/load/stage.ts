/** Streams a drop into a staging table by COPY, and its rejects into quarantine. Memory is constant for any size of drop. */
import { basename } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Transaction } from "../../db/client.ts";
import { LOCK } from "../../db/locks.ts";
import { STAGING_SLOTS } from "../../db/schema.ts";
import { readDrop } from "../drop/read.ts";
import type { RefusalCode } from "../drop/refuse.ts";
import type { Reject } from "../drop/reject.ts";
import { type CopyLayout, copyStatement } from "../drop/row.ts";
import type { LineRules } from "../drop/rules.ts";
import { type Copy, openCopy } from "./copy.ts";

/** Rejects are kept in memory up to so many bytes of raw text; then COPY is interrupted to write them. */
const MAX_REJECT_BYTES = 4 * 1024 * 1024;
/**
 * The most that one drop puts into quarantine, counted by {@link sizeOfReject}: some four million lines of usual length. A few megabytes of gzip hold a
 * billion bad lines, which would fill the disk before their share could be known to be too great.
 */
export const QUARANTINE_BYTES = 1024 ** 3;
/** What a reject takes beside its raw text, roughly. */
const REJECT_OVERHEAD = 200;

/** The memory that a reject takes, in bytes, roughly. */
export function sizeOfReject({ raw }: Reject): number {
  return raw.length + REJECT_OVERHEAD;
}

export interface Staged {
  /** Lines that are in staging now. */
  readonly rows: number;
  /** Lines that are in quarantine now. */
  readonly rejected: number;
  /** Hash of the bytes as they were read this time; null when reading stopped before the end. */
  readonly sha256: Buffer | null;
  /** Why the drop is refused as a whole, if it is. */
  readonly refusal: { readonly code: RefusalCode | "too_many_rejects"; readonly message: string } | null;
}

/** Between two looks for a free slot, when all are taken. Of several that wait none is bound to a slot that is held long. */
const SLOT_CHECK_MS = 100;

/** Takes a staging table for this transaction and empties it; waits when all of them are in use. */
export async function takeStagingSlot(tx: Transaction, signal?: AbortSignal): Promise<string> {
  let slot = await tryStagingSlots(tx);
  while (slot === undefined) {
    await sleep(SLOT_CHECK_MS, undefined, signal && { signal });
    slot = await tryStagingSlots(tx);
  }
  const table = `warehouse.staging_${slot}`;
  // In this transaction, so that COPY appends to a new file: rows stand in the order of their lines (ctid), and a rollback
  // leaves the empty file of before.
  await tx.client.query(`truncate ${table}`);
  return table;
}

async function tryStagingSlots(tx: Transaction): Promise<number | undefined> {
  const free = await tx.client.query<{ slot: number }>(
    "select slot from generate_series(1, $2::int) as slots (slot) where pg_try_advisory_xact_lock($1, slot) limit 1",
    [LOCK.stagingSlot, STAGING_SLOTS],
  );
  return free.rows[0]?.slot;
}

/**
 * Reads the drop, writes what its rules take to the staging table and what they refuse to quarantine.
 *
 * @param options.table the staging table, from {@link takeStagingSlot}
 * @param options.quarantineBytes where reading stops; default {@link QUARANTINE_BYTES}
 * @param options.onProgress bytes of the file and lines read so far
 */
export async function stageDrop(options: {
  readonly tx: Transaction;
  readonly table: string;
  readonly loadId: number;
  readonly path: string;
  readonly follow?: boolean | undefined;
  readonly gzip: boolean;
  readonly rules: LineRules;
  readonly quarantineBytes?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((done: { readonly bytes: number; readonly rows: number }) => void) | undefined;
}): Promise<Staged> {
  const { tx, table, loadId, quarantineBytes = QUARANTINE_BYTES, onProgress } = options;
  let bytes = 0;
  let rows = 0;
  let rejected = 0;
  let copy: Copy | undefined;
  let rejects: Reject[] = [];
  let rejectBytes = 0;
  let quarantined = 0;
  const writeRejects = async () => {
    await copyRejects(tx, loadId, rejects);
    quarantined += rejectBytes;
    rejects = [];
    rejectBytes = 0;
  };
  const onBytes = (read: number) => {
    bytes = read;
  };
  let format: CopyLayout | undefined;
  try {
    for await (const event of readDrop({ ...options, onBytes })) {
      switch (event.kind) {
        case "dialect":
          format = event.copy;
          break;
        case "rows":
          if (event.rows > 0 && format !== undefined) {
            copy ??= openCopy(tx, copyStatement(table, format));
            await copy.write(event.copy);
          }
          rows += event.rows;
          rejected += event.rejects.length;
          for (const reject of event.rejects) rejectBytes += sizeOfReject(reject);
          rejects.push(...event.rejects);
          if (rejectBytes > MAX_REJECT_BYTES) {
            await copy?.close();
            copy = undefined;
            await writeRejects();
          }
          onProgress?.({ bytes, rows: rows + rejected });
          if (quarantined + rejectBytes > quarantineBytes) {
            await copy?.close();
            await writeRejects();
            const refusal = quarantineFull(basename(options.path), { rows, rejected, quarantineBytes });
            return { rows, rejected, sha256: null, refusal };
          }
          break;
        case "refused":
          await copy?.close();
          await writeRejects();
          return { rows, rejected, sha256: null, refusal: { code: event.code, message: event.message } };
        case "end":
          await copy?.close();
          await writeRejects();
          onProgress?.({ bytes: event.bytes, rows: rows + rejected });
          return { rows, rejected, sha256: event.sha256, refusal: null };
      }
    }
  } catch (error) {
    // An open COPY would keep the rollback waiting for ever.
    await copy?.abandon();
    throw error;
  }
  throw new Error("the reader ended without an end event");
}

function quarantineFull(
  fileName: string,
  { rows, rejected, quarantineBytes }: { rows: number; rejected: number; quarantineBytes: number },
): { readonly code: "too_many_rejects"; readonly message: string } {
  return {
    code: "too_many_rejects",
    message: `${fileName}: reading stopped after ${rows + rejected} lines, because the ${rejected} that were rejected fill the ${quarantineBytes} bytes that one drop may have in quarantine. See them with: rollbook rejects; then mend the file, or divide it.`,
  };
}

/** Text handed over at a time. */
const REJECTS_TEXT = 128 * 1024;

export async function copyRejects(
  tx: Transaction,
  loadId: number,
  rejects: readonly Reject[],
): Promise<void> {
  if (rejects.length === 0) return;
  const copy = openCopy(tx, "copy warehouse.rejects (load_id, line, reason, column_name, raw) from stdin");
  let text = "";
  for (const { line, reason, column, raw } of rejects) {
    text += `${loadId}\t${line}\t${reason}\t${column ?? "\\N"}\t\\\\x${raw.toString("hex")}\n`;
    if (text.length < REJECTS_TEXT) continue;
    await copy.write(text);
    text = "";
  }
  if (text !== "") await copy.write(text);
  await copy.close();
}
