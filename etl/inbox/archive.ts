/** Moves drops out of the inbox by what the ledger knows of them. Only after this is a drop done for good. */
import { and, desc, eq, sql } from "drizzle-orm";
import { type Database, withSession } from "../../db/client.ts";
import { errorState, RollbookError } from "../../db/errors.ts";
import { loads, type Settings } from "../../db/schema.ts";
import { hashDrop } from "../drop/file.ts";
import { givenVenue } from "../drop/form.ts";
import { findSyncDate } from "../load/load.ts";
import { enteredSource } from "../load/read_by.ts";
import { type LoadReport, NO_LINES, type Refusal } from "../load/report.ts";
import { chooseSource } from "../sources/choose.ts";
import type { Source } from "../sources/source.ts";
import { ARCHIVE, type InboxFile, lookAt, REJECTED, syncDateOf } from "./list.ts";
import { placeOf, safeMirrorFolder } from "./mirror.ts";
import { moveDrop } from "./move.ts";
import { findReason, type Reason, readReasons, removeReason, writeReason } from "./rejection.ts";

export interface ArchiveReport {
  /** The path. */
  readonly file: string;
  /**
   * `loaded` and `rejected`: what the ledger says; the file was moved, or was there already. `unknown`: the
   * ledger does not know these bytes, or their load was undone, so the file stays. `missing`: the file is gone. `failed`: it could not
   * be moved.
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
  /** Files in the inbox, in its rejected/ or in folders below: their paths begin with `folder` as it is given. */
  readonly files: readonly string[];
  /** The sync date that they were loaded for, in place of those that their sources or names say, as a load takes it. */
  readonly syncedOn?: string | undefined;
  /** By which they were loaded; default none. */
  readonly sources?: readonly Source[] | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Called for each file, in their order. */
  readonly onReport: (report: ArchiveReport) => Promise<void>;
}

/** Files looked up in the ledger by one query. After a crash at most so many are hashed again. */
const FILES_AT_ONCE = 200;

/**
 * Moves loaded drops to archive/, and rejected ones with their reasons to rejected/. A file that the ledger
 * does not know stays, and so does one that cannot be moved; neither holds up the others. Run again after a
 * crash, it finishes the work.
 *
 * @throws what `onReport` threw first, after all files are done: a report that nobody takes does not end the
 *   work
 */
export async function archiveDrops(options: ArchiveOptions): Promise<void> {
  const { files } = options;
  const unreported: unknown[] = [];
  const report = async (done: ArchiveReport): Promise<void> => {
    if (unreported.length > 0) return;
    await options.onReport(done).catch((error: unknown) => unreported.push(error));
  };
  for (let start = 0; start < files.length; start += FILES_AT_ONCE) {
    await archiveBatch(options, files.slice(start, start + FILES_AT_ONCE), report);
  }
  if (unreported.length > 0) throw unreported[0];
}

async function archiveBatch(
  options: ArchiveOptions,
  files: readonly string[],
  report: (done: ArchiveReport) => Promise<void>,
): Promise<void> {
  const hashed: (Hashed | ArchiveReport)[] = [];
  for (const path of files) hashed.push(await hashFile(options, path));
  const entries = await findEntries(options, hashed.filter(isHashed));
  const rejected = [...entries.values()].filter(({ status }) => status === "rejected");
  const reasons = await readReasons(
    options,
    rejected.map(({ loadId }) => loadId),
  );
  for (const found of hashed) {
    options.signal?.throwIfAborted();
    await report(isHashed(found) ? await archiveDrop(options, found, entries.get(found), reasons) : found);
  }
}

interface Hashed {
  readonly file: InboxFile;
  readonly key: DropKey;
}

function isHashed(found: Hashed | ArchiveReport): found is Hashed {
  return "key" in found;
}

/**
 * A drop as the ledger knows it. One without a sync date is known by its name where it was rejected, and by
 * its bytes alone where it was loaded: somebody gave the date (`--synced-on`).
 */
interface DropKey {
  readonly fileName: string;
  readonly sha256: Buffer;
  readonly syncedOn: string | null;
  /** Where its source gives it: the same bytes of another venue are another drop. */
  readonly venueId: string | null;
}

async function hashFile(options: ArchiveOptions, path: string): Promise<Hashed | ArchiveReport> {
  const { folder, signal } = options;
  const stays = { file: path, loadId: null, movedTo: null };
  const file = await lookAt(path);
  if (file === undefined) return { ...stays, outcome: "missing" };
  try {
    const { sha256 } = await hashDrop({ path, signal, listed: file, follow: false });
    // In rejected/ it may have another name, and the reason knows which date it was loaded for.
    const reason = placeOf(folder, path).place === REJECTED ? await findReason(path) : undefined;
    const fileName = reason?.file ?? file.name;
    const { sources = [] } = options;
    const choice = chooseSource({ sources, path, name: reason?.file, inbox: folder });
    if (choice.kind === "refused") {
      return { ...stays, outcome: "unknown", error: { code: "configuration", message: choice.message } };
    }
    const source = choice.kind === "source" ? choice.source : undefined;
    const given = await findSyncDate({ ...options, path, source });
    const syncedOn = given ?? syncDateOf({ name: fileName, source }) ?? reason?.syncedOn ?? null;
    return { file, key: { fileName, sha256, syncedOn, venueId: givenVenue(source?.form) } };
  } catch (error) {
    if (signal?.aborted) throw error;
    if ((await lookAt(path)) === undefined) return { ...stays, outcome: "missing" };
    // Another file has come, which nobody has loaded.
    const isAnother = error instanceof RollbookError && error.code === "file_changed";
    return { ...stays, outcome: isAnother ? "unknown" : "failed", error: describe(error) };
  }
}

interface Entry {
  readonly loadId: number;
  readonly status: "loaded" | "rejected" | "failed" | "undone";
  readonly fileName: string;
}

/**
 * The entry of the ledger that counts for each drop. Once a drop is loaded it is in, whatever failed
 * afterwards. Otherwise the newest entry counts: a failure after a rejection means that the drop is being
 * tried again, and one whose load was undone may be loaded again.
 */
async function findEntries(
  options: { readonly database: Database; readonly signal?: AbortSignal | undefined },
  drops: readonly Hashed[],
): Promise<ReadonlyMap<Hashed, Entry>> {
  if (drops.length === 0) return new Map();
  const column = (of: (key: DropKey) => unknown) => sql.param(drops.map(({ key }) => of(key)));
  return withSession(options, async ({ db }) => {
    const found = await db.execute<{
      number: number;
      load_id: number;
      status: Entry["status"];
      file_name: string;
    }>(sql`
      select distinct on (wanted.number) wanted.number::integer, l.load_id, l.status, l.file_name
      from unnest(
        ${column(({ sha256 }) => sha256)}::bytea[],
        ${column(({ syncedOn }) => syncedOn)}::date[],
        ${column(({ fileName }) => fileName)}::text[],
        ${column(({ venueId }) => venueId)}::text[]
      ) with ordinality as wanted (sha256, synced_on, file_name, venue_id, number)
      join ${loads} l
        on l.sha256 = wanted.sha256
       and l.venue_id is not distinct from wanted.venue_id
       and case
             when wanted.synced_on is not null then l.synced_on = wanted.synced_on
             else l.status in ('loaded', 'undone') or (l.synced_on is null and l.file_name = wanted.file_name)
           end
      where l.status in ('loaded', 'rejected', 'failed', 'undone') and l.retry_of is null and l.undo_of is null
      order by wanted.number, l.status = 'loaded' desc, l.load_id desc`);
    const entries = new Map<Hashed, Entry>();
    for (const { number, load_id: loadId, status, file_name: fileName } of found.rows) {
      const drop = drops[number - 1];
      if (drop !== undefined) entries.set(drop, { loadId, status, fileName });
    }
    return entries;
  });
}

async function archiveDrop(
  { folder }: ArchiveOptions,
  { file, key }: Hashed,
  entry: Entry | undefined,
  reasons: ReadonlyMap<number, Reason>,
): Promise<ArchiveReport> {
  const stays = { file: file.path, loadId: entry?.loadId ?? null, movedTo: null };
  if (entry === undefined || entry.status === "failed") return { ...stays, outcome: "unknown" };
  if (entry.status === "undone") return { ...stays, outcome: "unknown", error: undoneError(file, entry) };
  const { loadId, status } = entry;
  const kept = status === "rejected" ? reasons.get(loadId) : undefined;
  // The entry may be of the same bytes under another name.
  const reason = kept && { ...kept, file: key.fileName };
  const report = { ...stays, outcome: status, ...(reason?.error && { error: reason.error }) };
  const wasRejected = placeOf(folder, file.path).place === REJECTED;
  try {
    if (status === "rejected" && wasRejected) {
      const isMissing = (await findReason(file.path)) === undefined;
      if (reason !== undefined && isMissing) await writeReason(file.path, reason);
      return report;
    }
    const target = await safeMirrorFolder(folder, file.path, status === "rejected" ? REJECTED : ARCHIVE);
    const loadedAs = status === "loaded" ? entry.fileName : undefined;
    const movedTo = await moveDrop({ file, folder: target, loadId, reason, loadedAs });
    if (movedTo === undefined) return notMoved(file, stays);
    if (wasRejected) await removeReason(file.path);
    return { ...report, movedTo };
  } catch (error) {
    return { ...stays, outcome: "failed", error: describe(error) };
  }
}

function undoneError({ path }: InboxFile, { loadId }: Entry): Refusal {
  const message = `${path}: load ${loadId} was undone, so it stays, and the next run loads it again. Take it out of the inbox if it must not come in.`;
  return { code: "undone", message };
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

/** The name under which the ledger has a load: a drop that is in already may have come under another. */
export function findLoadName(
  options: { readonly database: Database; readonly signal?: AbortSignal | undefined },
  { outcome, loadId }: Pick<LoadReport, "outcome" | "loadId">,
): Promise<string | undefined> {
  if (outcome !== "already_loaded" || loadId === null) return Promise.resolve(undefined);
  return withSession(options, async ({ db }) => {
    const [load] = await db.select({ name: loads.fileName }).from(loads).where(eq(loads.loadId, loadId));
    return load?.name;
  });
}

/**
 * The load that took in the bytes of a file for which neither source nor name says a sync date: somebody gave it
 * (`--synced-on`), and nobody is to be asked for it again.
 *
 * @returns undefined also when that cannot be found out: what is in the way meets the load, too, which says so
 */
export async function findLoadOfUndated(
  options: { readonly database: Database; readonly signal?: AbortSignal | undefined },
  file: InboxFile,
): Promise<LoadReport | undefined> {
  if (syncDateOf(file) !== undefined) return undefined;
  const { path } = file;
  const started = performance.now();
  try {
    const { sha256 } = await hashDrop({ path, listed: file, follow: false, signal: options.signal });
    const [load] = await withSession(options, ({ db }) =>
      db
        .select()
        .from(loads)
        .where(
          and(
            eq(loads.sha256, sha256),
            eq(loads.status, "loaded"),
            sql`${loads.venueId} is not distinct from ${givenVenue(file.source?.form)}::text`,
          ),
        )
        .orderBy(desc(loads.loadId))
        .limit(1),
    );
    if (load === undefined) return undefined;
    const { loadId, syncedOn, partitions: touched } = load;
    const durationMs = Math.round(performance.now() - started);
    const outcome = "already_loaded";
    return {
      file: path,
      outcome,
      loadId,
      syncedOn,
      source: enteredSource(load),
      rows: NO_LINES,
      reasons: [],
      suspicious: [],
      partitions: [],
      touched,
      durationMs,
      timings: {},
    };
  } catch (error) {
    if (options.signal?.aborted) throw error;
    return undefined;
  }
}

/** Why a file could not be read or moved, with the remedy. */
export function describe(error: unknown): Refusal {
  if (error instanceof RollbookError) return { code: error.code, message: error.message };
  const cause = error instanceof Error ? error.message : String(error);
  switch (errorState(error)) {
    case "ENOSPC":
    case "EDQUOT":
      return { code: "disk_full", message: `${cause}. Make room, and run it again.` };
    case "EACCES":
    case "EPERM":
    case "EROFS":
      return { code: "permission", message: `${cause}. Let this user write to the inbox and its folders.` };
    default:
      return { code: "not_moved", message: `${cause}. See what stands in the way, and run it again.` };
  }
}
