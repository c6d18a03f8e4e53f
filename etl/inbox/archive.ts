/** Moves drops out of the inbox by what the ledger knows of them: this, not the load, is what makes a drop done for good. */
import { dirname, join } from "node:path";
import { sql } from "drizzle-orm";
import { type Database, withSession } from "../../db/client.ts";
import { errorState, RollbookError } from "../../db/errors.ts";
import type { Settings } from "../../db/schema.ts";
import { hashDrop, readDropName } from "../drop/file.ts";
import type { Refusal } from "../load/report.ts";
import { ARCHIVE, type InboxFile, lookAt, REJECTED } from "./list.ts";
import { moveDrop } from "./move.ts";
import { findReason, type Reason, readReasons, removeReason, writeReason } from "./rejection.ts";

export interface ArchiveReport {
  /** The path. */
  readonly file: string;
  /**
   * `loaded` and `rejected`: what the ledger says; it was moved, or stood there already. `unknown`: the ledger does not know these bytes, so it
   * stays. `missing`: it is gone. `failed`: it could not be moved.
   */
  readonly outcome: "loaded" | "rejected" | "unknown" | "missing" | "failed";
  readonly loadId: number | null;
  /** Its new path; null when it was not moved. */
  readonly movedTo: string | null;
  /** Why it was rejected, or stays. */
  readonly error?: Refusal;
}

export interface ArchiveOptions {
  readonly database: Database;
  readonly settings: Settings;
  /** The inbox. */
  readonly folder: string;
  /** Files in the inbox or in its rejected/: their paths begin with `folder` as it is given. */
  readonly files: readonly string[];
  readonly signal?: AbortSignal | undefined;
  /** Told of each file, in their order. */
  readonly onReport: (report: ArchiveReport) => Promise<void>;
}

/** Files looked up in the ledger at once: enough that a query each does not count, few enough that a crash loses little work. */
const FILES_AT_ONCE = 200;

/**
 * Moves loaded drops to archive/ and rejected ones to rejected/, each with its reason; what the ledger does not know stays. A file that cannot
 * be moved does not hold up the others. Restartable.
 */
export async function archiveDrops(options: ArchiveOptions): Promise<void> {
  const { files, signal } = options;
  for (let start = 0; start < files.length; start += FILES_AT_ONCE) {
    const hashed: (Hashed | ArchiveReport)[] = [];
    for (const path of files.slice(start, start + FILES_AT_ONCE)) hashed.push(await hashFile(options, path));
    const known = await askLedger(options, hashed.filter(isHashed));
    const rejected = [...known.values()].filter(({ status }) => status === "rejected");
    const reasons = await readReasons(
      options,
      rejected.map(({ loadId }) => loadId),
    );
    for (const found of hashed) {
      signal?.throwIfAborted();
      await options.onReport(isHashed(found) ? await putAway(options, found, known, reasons) : found);
    }
  }
}

interface Hashed {
  readonly file: InboxFile;
  readonly key: DropKey;
}

function isHashed(found: Hashed | ArchiveReport): found is Hashed {
  return "key" in found;
}

/** A drop as the ledger knows it. One without a sync date is known by its name, too. */
interface DropKey {
  readonly fileName: string;
  readonly sha256: Buffer;
  readonly syncedOn: string | null;
}

async function hashFile({ folder, signal }: ArchiveOptions, path: string): Promise<Hashed | ArchiveReport> {
  const stays = { file: path, loadId: null, movedTo: null };
  const file = await lookAt(path);
  if (file === undefined) return { ...stays, outcome: "missing" };
  try {
    const { sha256 } = await hashDrop({ path, signal, listed: file, follow: false });
    // In rejected/ it may have another name, and the reason knows which date it was loaded for.
    const reason = isIn(folder, path, REJECTED) ? await findReason(path) : undefined;
    const fileName = reason?.file ?? file.name;
    const name = readDropName({ fileName });
    const syncedOn = name.kind === "named" ? name.syncedOn : (reason?.syncedOn ?? null);
    return { file, key: { fileName, sha256, syncedOn } };
  } catch (error) {
    if (signal?.aborted) throw error;
    if ((await lookAt(path)) === undefined) return { ...stays, outcome: "missing" };
    // Another file has come, which nobody has loaded.
    const isAnother = error instanceof RollbookError && error.code === "file_changed";
    return { ...stays, outcome: isAnother ? "unknown" : "failed", error: describe(error) };
  }
}

function isIn(inbox: string, path: string, folder: string): boolean {
  return dirname(path) === join(inbox, folder);
}

interface LedgerWord {
  readonly loadId: number;
  readonly status: "loaded" | "rejected" | "failed";
}

/**
 * What the ledger says last of each drop. Once a drop is loaded it is in, whatever failed afterwards; a failure after a rejection means that
 * it is being tried again.
 */
async function askLedger(
  options: { readonly database: Database; readonly signal?: AbortSignal | undefined },
  drops: readonly Hashed[],
): Promise<ReadonlyMap<Hashed, LedgerWord>> {
  if (drops.length === 0) return new Map();
  const column = (of: (key: DropKey) => unknown) => sql.param(drops.map(({ key }) => of(key)));
  return withSession(options, async ({ db }) => {
    const found = await db.execute<{
      number: number;
      load_id: number;
      status: LedgerWord["status"];
    }>(sql`
      select distinct on (wanted.number) wanted.number::integer, l.load_id, l.status
      from unnest(
        ${column(({ sha256 }) => sha256)}::bytea[],
        ${column(({ syncedOn }) => syncedOn)}::date[],
        ${column(({ fileName }) => fileName)}::text[]
      ) with ordinality as wanted (sha256, synced_on, file_name, number)
      join warehouse.loads l
        on l.sha256 = wanted.sha256
       and l.synced_on is not distinct from wanted.synced_on
       and (l.synced_on is not null or l.file_name = wanted.file_name)
      where l.status in ('loaded', 'rejected', 'failed')
      order by wanted.number, l.status = 'loaded' desc, l.load_id desc`);
    const words = new Map<Hashed, LedgerWord>();
    for (const { number, load_id: loadId, status } of found.rows) {
      const drop = drops[number - 1];
      if (drop !== undefined) words.set(drop, { loadId, status });
    }
    return words;
  });
}

async function putAway(
  { folder }: ArchiveOptions,
  drop: Hashed,
  known: ReadonlyMap<Hashed, LedgerWord>,
  reasons: ReadonlyMap<number, Reason>,
): Promise<ArchiveReport> {
  const { file } = drop;
  const word = known.get(drop);
  const stays = { file: file.path, loadId: word?.loadId ?? null, movedTo: null };
  if (word === undefined || word.status === "failed") return { ...stays, outcome: "unknown" };
  const { loadId, status } = word;
  const said = status === "rejected" ? reasons.get(loadId) : undefined;
  // The ledger's last word may be of the same bytes under another name.
  const reason = said && { ...said, file: drop.key.fileName };
  const report = { ...stays, outcome: status, ...(reason?.error && { error: reason.error }) };
  try {
    if (status === "rejected" && isIn(folder, file.path, REJECTED)) {
      if (reason !== undefined && (await findReason(file.path)) === undefined) {
        await writeReason(file.path, reason);
      }
      return report;
    }
    const movedTo = await moveDrop({
      file,
      folder: join(folder, status === "rejected" ? REJECTED : ARCHIVE),
      loadId,
      reason,
    });
    if (movedTo === undefined) return notMoved(file, stays);
    if (isIn(folder, file.path, REJECTED)) await removeReason(file.path);
    return { ...report, movedTo };
  } catch (error) {
    return { ...stays, outcome: "failed", error: describe(error) };
  }
}

/** Another process has moved it, or another file of its name has come, which nobody has loaded. */
async function notMoved(
  file: InboxFile,
  stays: Pick<ArchiveReport, "file" | "movedTo">,
): Promise<ArchiveReport> {
  if ((await lookAt(file.path)) === undefined) return { ...stays, loadId: null, outcome: "missing" };
  const message = `${file.path} changed while it was looked up, so it stays. The next run loads it.`;
  return { ...stays, loadId: null, outcome: "unknown", error: { code: "file_changed", message } };
}

/** Why a file could not be read or moved, with the remedy. */
export function describe(error: unknown): Refusal {
  if (error instanceof RollbookError) return { code: error.code, message: error.message };
  const said = error instanceof Error ? error.message : String(error);
  switch (errorState(error)) {
    case "ENOSPC":
    case "EDQUOT":
      return { code: "disk_full", message: `${said}. Make room, and run it again.` };
    case "EACCES":
    case "EPERM":
    case "EROFS":
      return { code: "permission", message: `${said}. Let this user write to the inbox and its folders.` };
    default:
      return { code: "not_moved", message: `${said}. See what stands in the way, and run it again.` };
  }
}
