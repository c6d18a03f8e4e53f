/**
 * Streams a drop into a staging table by COPY, and its rejects into quarantine. Memory is constant for any
 * size of drop.
 */
import { basename } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type SQL, sql } from "drizzle-orm";
import type { Transaction } from "../../db/client.ts";
import { LOCK } from "../../db/locks.ts";
import type { ReasonSummary } from "../../db/reason_summary.ts";
import { STAGING_SLOTS, warehouse } from "../../db/schema.ts";
import type { RowsEvent } from "../drop/lines.ts";
import { readDrop } from "../drop/read.ts";
import type { Reject } from "../drop/reject.ts";
import { type CopyLayout, copyStatement } from "../drop/row.ts";
import { type Copy, openCopy } from "./copy.ts";
import { copyRejects, refuseFull, sizeOfReject } from "./quarantine.ts";
import { addReject, type Reasons, startReasons, summariseReasons } from "./reasons.ts";
import type { Refusal } from "./report.ts";
import type { LoadTask } from "./task.ts";

/**
 * Rejects are kept in memory up to so many bytes of raw text. Then the COPY into staging is ended, to write
 * them.
 */
const MAX_REJECT_BYTES = 4 * 1024 * 1024;

/**
 * When all slots are taken, they are looked at again after so long. A load that waits is not bound to one
 * slot.
 */
const SLOT_CHECK_MS = 100;

/** The name of a staging table, as COPY takes it. */
export function stagingName(slot: number): string {
  return `${warehouse.schemaName}.staging_${slot}`;
}

/** The same for a statement. */
export function stagingTable(slot: number): SQL {
  return sql`${sql.identifier(warehouse.schemaName)}.${sql.identifier(`staging_${slot}`)}`;
}

/**
 * Takes a staging table for this transaction and empties it; waits when all of them are in use. Returns its
 * number.
 */
export async function takeStagingSlot(tx: Transaction, signal?: AbortSignal): Promise<number> {
  const slot =
    (await tryStagingSlots(tx)) ?? (await tx.waits.whilePolling(SLOTS, () => awaitStagingSlot(tx, signal)));
  // In this transaction, so that COPY appends to a new file: rows stand in the order of their lines (ctid),
  // and a rollback leaves the empty file of before.
  await emptyStaging(tx, slot);
  return slot;
}

async function awaitStagingSlot(tx: Transaction, signal: AbortSignal | undefined): Promise<number> {
  for (;;) {
    await sleep(SLOT_CHECK_MS, undefined, signal && { signal });
    const slot = await tryStagingSlots(tx);
    if (slot !== undefined) return slot;
  }
}

const SLOTS = { lock: LOCK.stagingSlot, what: `a staging table (all ${STAGING_SLOTS} are in use)` };

export async function emptyStaging(tx: Transaction, slot: number): Promise<void> {
  await tx.db.execute(sql`truncate ${stagingTable(slot)}`);
}

async function tryStagingSlots(tx: Transaction): Promise<number | undefined> {
  const free = await tx.db.execute<{ slot: number }>(sql`
    select slot
    from generate_series(1, ${STAGING_SLOTS}::int) as slots (slot)
    where pg_try_advisory_xact_lock(${LOCK.stagingSlot}, slot)
    limit 1`);
  return free.rows[0]?.slot;
}

export interface Staged {
  /** Lines that are in staging now. */
  readonly rows: number;
  /** Lines that are in quarantine now. */
  readonly rejected: number;
  /** Records that the source leaves out. */
  readonly skipped: number;
  /** Lines among those in staging that say that their invoice is void; of a drop that is in already, of those read again. */
  readonly voided: number;
  /** The rejected lines, by reason. */
  readonly reasons: readonly ReasonSummary[];
  /** Sum of the sizes of their totals, as far as they can be read, in cents. */
  readonly rejectedMoney: bigint;
  /** Hash of the bytes as they were read this time; null when reading stopped before the end. */
  readonly sha256: Buffer | null;
  /** Why the drop is refused as a whole, if it is. */
  readonly refusal: Refusal | null;
}

/** Reads the drop, and writes its rows to the staging table of the slot and its rejects to the quarantine. */
export async function stageDrop(task: LoadTask, slot: number): Promise<Staged> {
  const { path, loadId, quarantineBytes, stopwatch } = task;
  const target = createTarget(task, slot);
  let bytes = 0;
  const onBytes = (read: number) => {
    bytes = read;
  };
  let end: Pick<Staged, "sha256" | "refusal"> | undefined;
  let isFull = false;
  try {
    for await (const event of readDrop({ ...task, onBytes, numbered: task.selection !== undefined })) {
      if (event.kind === "dialect") target.layout = event.copy;
      else if (event.kind === "refused") end = { sha256: null, refusal: event };
      else if (event.kind === "end") end = { sha256: event.sha256, refusal: null };
      else await writeRows(target, event);
      const { rows, rejected } = target;
      stopwatch.progress({ bytes, rows: rows + rejected });
      if (target.quarantined + target.heldBytes > quarantineBytes) {
        isFull = true;
        break;
      }
    }
    await writeRejects(target);
  } catch (error) {
    // An open COPY would keep the rollback waiting for ever.
    await target.copy?.abandon();
    throw error;
  }
  const { rows, rejected } = target;
  const reasons = await summariseReasons(target.reasons, task);
  if (isFull) {
    const full = { fileName: basename(path), loadId, rejected, read: rows + rejected, reasons };
    end = { sha256: null, refusal: refuseFull(full, quarantineBytes) };
  }
  if (end === undefined) throw new Error("the reader ended without an end event");
  const { skipped, voided } = target;
  return { rows, rejected, skipped, voided, reasons, rejectedMoney: target.reasons.money, ...end };
}

/** Where rows and rejects go, and what was written so far. */
interface Target {
  readonly task: LoadTask;
  readonly slot: number;
  layout: CopyLayout | undefined;
  /** The COPY into staging, while it is open. */
  copy: Copy | undefined;
  rows: number;
  rejected: number;
  skipped: number;
  voided: number;
  readonly reasons: Reasons;
  /** Rejects that are not written yet, and their size. */
  held: Reject[];
  heldBytes: number;
  /** Size of the rejects that are written. */
  quarantined: number;
}

function createTarget(task: LoadTask, slot: number): Target {
  const counts = { rows: 0, rejected: 0, skipped: 0, voided: 0, heldBytes: 0, quarantined: 0 };
  return {
    task,
    slot,
    layout: undefined,
    copy: undefined,
    reasons: startReasons(),
    held: [],
    ...counts,
  };
}

async function writeRows(target: Target, event: RowsEvent): Promise<void> {
  const { copy, rows, lines } = event;
  const { selection } = target.task;
  const again = new Set(lines?.filter((line) => selection?.stage(line)));
  const voids = selection === undefined ? event.voids : event.voids.filter((line) => again.has(line));
  const rejects =
    selection === undefined ? event.rejects : event.rejects.filter(({ line }) => selection.has(line));
  if (rows > 0 && target.layout !== undefined) {
    target.copy ??= openCopy(target.task.tx, copyStatement(stagingName(target.slot), target.layout));
    await target.copy.write(copy);
  }
  target.rows += rows;
  target.rejected += rejects.length;
  target.skipped += event.skipped;
  target.voided += voids.length;
  for (const reject of rejects) {
    addReject(target.reasons, reject);
    target.heldBytes += sizeOfReject(reject);
  }
  target.held.push(...rejects);
  if (target.heldBytes > MAX_REJECT_BYTES) await writeRejects(target);
}

/** Ends the COPY into staging, because a connection has one COPY at a time, and writes the rejects. */
async function writeRejects(target: Target): Promise<void> {
  const { tx, loadId } = target.task;
  await target.copy?.close();
  target.copy = undefined;
  await copyRejects(tx, loadId, target.held);
  target.quarantined += target.heldBytes;
  target.held = [];
  target.heldBytes = 0;
}
