/**
 * Compares archive/ with the ledger. A sender may go on writing into a file that was loaded and moved: such a
 * file goes back to the inbox, and is loaded again.
 */
import { createHash } from "node:crypto";
import { join, relative } from "node:path";
import { crc32 } from "node:zlib";
import { sql } from "drizzle-orm";
import { type Database, withSession } from "../../db/client.ts";
import { RollbookError } from "../../db/errors.ts";
import { loads } from "../../db/schema.ts";
import { hashDrop, readFileBytes } from "../drop/file.ts";
import { endingOf, loadNumberIn } from "../drop/place.ts";
import type { Refusal } from "../load/report.ts";
import { chooseSource } from "../sources/choose.ts";
import type { Source } from "../sources/source.ts";
import { describe } from "./archive.ts";
import { ARCHIVE, type InboxFile, isThere, type ListOptions, listInbox, lookAt, syncDateOf } from "./list.ts";
import { safeMirrorFolder } from "./mirror.ts";
import { moveDrop } from "./move.ts";

/** An archived file that is not as the ledger has it. */
export interface Finding {
  /** The path in archive/. */
  readonly file: string;
  /**
   * `returned`: it is back in the inbox. `unknown`: it stays, because the ledger knows neither its name nor
   * its bytes, or because it is empty. `undone`: it stays, and its load was undone. `failed`: it could not be
   * read or moved.
   */
  readonly outcome: "returned" | "unknown" | "undone" | "failed";
  /** The load that read it; null where that is not known. */
  readonly loadId: number | null;
  /** Its path in the inbox; null when it was not moved. */
  readonly movedTo: string | null;
  readonly error?: Refusal;
}

export interface CheckOptions {
  readonly database: Database;
  /** Path of the inbox. */
  readonly inbox: string;
  /** By which its files are read; default none. */
  readonly sources?: readonly Source[] | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onFinding: (finding: Finding) => Promise<void>;
}

/** Files that are looked up in the ledger by one query. */
const FILES_AT_ONCE = 2000;
const DAY_MS = 86_400_000;
/**
 * A file that was written to after its load is hashed for so long. Not for ever: in an archive that was
 * restored without its times, all files look like that.
 */
const HASHED_AFTER_WRITE_MS = 3 * DAY_MS;

/**
 * Compares all of archive/ by size, and by hash what was written to lately and one of `parts` parts, the next
 * one each day. What grew or changed goes back to the inbox; nothing else is moved. Run again after a crash,
 * it finishes the work.
 *
 * @param options.parts with 1 everything is hashed
 * @returns how many files there are, and how many of them were hashed
 * @throws RollbookError `file_unreadable` when archive/ cannot be read
 */
export async function checkArchive(
  options: CheckOptions & ListOptions & { readonly parts: number },
): Promise<{ readonly files: number; readonly hashed: number }> {
  const folder = join(options.inbox, ARCHIVE);
  // It is made with the first file.
  const files = (await isThere(folder)) ? (await listInbox(folder, options)).files : [];
  const part = Math.floor(Date.now() / DAY_MS) % options.parts;
  const isTurn = ({ path }: InboxFile) => crc32(relative(folder, path)) % options.parts === part;
  let hashed = 0;
  for (let start = 0; start < files.length; start += FILES_AT_ONCE) {
    hashed += await checkFiles(options, files.slice(start, start + FILES_AT_ONCE), isTurn);
  }
  return { files: files.length, hashed };
}

/**
 * Compares archived files with the ledger by size, and those of `isTurn` by hash.
 *
 * @returns how many of them were hashed
 */
export async function checkFiles(
  options: CheckOptions,
  files: readonly InboxFile[],
  isTurn: (file: InboxFile) => boolean,
): Promise<number> {
  const entries = await findByName(options, files);
  const suspects = files.filter((file) => isTurn(file) || isSuspect(file, entries.get(file)));
  const hashed: Hashed[] = [];
  for (const { path } of suspects) {
    const file = await lookAt(path);
    if (file === undefined) continue;
    try {
      const { sha256 } = await hashDrop({ path, follow: false, signal: options.signal });
      hashed.push({ file, sha256 });
    } catch (error) {
      await reportFailure(options, path, error);
    }
  }
  const known = await findByHash(options, hashed);
  for (const { file, sha256 } of hashed) {
    const entry = known.get(sha256.toString("hex"));
    if (entry === undefined) await takeBack(options, file);
    else if (entry.undone !== null) await reportUndone(options, file, entry.undone);
  }
  return hashed.length;
}

interface Hashed {
  readonly file: InboxFile;
  readonly sha256: Buffer;
}

/** What the ledger has of loads of this name. */
interface Entry {
  readonly sameSize: boolean;
  /** When the newest load of this size began, in milliseconds since 1970. */
  readonly readAtMs: number;
}

function isSuspect({ modifiedNs }: InboxFile, entry: Entry | undefined): boolean {
  if (entry === undefined) return false;
  const modifiedMs = Number(modifiedNs / 1_000_000n);
  const isRecent = modifiedMs > Date.now() - HASHED_AFTER_WRITE_MS;
  return !entry.sameSize || (isRecent && modifiedMs > entry.readAtMs);
}

/** Looks up files by their names, and by the numbers of loads that are in those names. */
async function findByName(
  options: Pick<CheckOptions, "database" | "signal">,
  files: readonly InboxFile[],
): Promise<ReadonlyMap<InboxFile, Entry>> {
  return withSession(options, async ({ db }) => {
    const found = await db.execute<{ number: number; same_size: boolean; read_at: number }>(sql`
      with wanted as (
        select *
        from unnest(
          ${sql.param(files.map(({ name }) => name))}::text[],
          ${sql.param(files.map(({ name }) => loadNumberIn(name)))}::integer[],
          ${sql.param(files.map(({ bytes }) => String(bytes)))}::bigint[]
        ) with ordinality as wanted (file_name, load_id, bytes, number)
      ),
      matched as (
        select w.number, w.bytes = l.bytes as same_size, l.started_at
        from wanted w
        join ${loads} l on l.file_name = w.file_name
        where l.status = 'loaded'
        union all
        select w.number, w.bytes = l.bytes, l.started_at
        from wanted w
        join ${loads} l on l.load_id = w.load_id
        where l.status = 'loaded'
      )
      select
        number::integer,
        bool_or(same_size) as same_size,
        coalesce(extract(epoch from max(started_at) filter (where same_size)) * 1000, 0)::float8 as read_at
      from matched
      group by number`);
    const entries = new Map<InboxFile, Entry>();
    for (const { number, same_size: sameSize, read_at: readAtMs } of found.rows) {
      const file = files[number - 1];
      if (file !== undefined) entries.set(file, { sameSize, readAtMs });
    }
    return entries;
  });
}

/** What the ledger has of these bytes. */
interface Known {
  /** The newest load of them, where each that was in is undone; else null. */
  readonly undone: number | null;
}

/** The hashes, in hexadecimal, that the ledger has. A load that failed took nothing in. */
async function findByHash(
  options: Pick<CheckOptions, "database" | "signal">,
  hashed: readonly Hashed[],
): Promise<ReadonlyMap<string, Known>> {
  if (hashed.length === 0) return new Map();
  return withSession(options, async ({ db }) => {
    const found = await db.execute<{ sha256: string; loaded: boolean; undone: number | null }>(sql`
      select encode(sha256, 'hex') as sha256, bool_or(status = 'loaded') as loaded,
             max(load_id) filter (where status = 'undone' and retry_of is null) as undone
      from ${loads}
      where sha256 = any(${sql.param(hashed.map(({ sha256 }) => sha256))}::bytea[]) and status <> 'failed'
      group by sha256`);
    return new Map(
      found.rows.map(({ sha256, loaded, undone }) => [sha256, { undone: loaded ? null : undone }]),
    );
  });
}

async function reportUndone({ onFinding }: CheckOptions, { path }: InboxFile, loadId: number): Promise<void> {
  await onFinding({ ...notMoved(path), outcome: "undone", loadId });
}

/** A load that may have read an archived file. */
interface Candidate {
  readonly loadId: number;
  readonly isUndone: boolean;
  readonly fileName: string;
  readonly syncedOn: string;
  readonly bytes: number;
  readonly sha256: Buffer;
}

/** A file that is written to all the time is hard to move; then the next check does. */
const MOVE_ATTEMPTS = 5;

/** Moves a file whose bytes the ledger does not know back to the inbox, if the ledger knows its name. */
async function takeBack(options: CheckOptions, { path, name }: InboxFile): Promise<void> {
  const { inbox, onFinding } = options;
  try {
    const found = await findCandidates(options, name);
    const candidates = found.filter(({ isUndone }) => !isUndone);
    // What its sender wrote to it is no reason to load a file again whose load was undone.
    const undone = candidates.length === 0 ? found.at(-1) : undefined;
    for (let attempt = 0; attempt < MOVE_ATTEMPTS; attempt += 1) {
      const file = await lookAt(path);
      if (file === undefined) return;
      if (undone !== undefined) return await reportUndone(options, file, undone.loadId);
      // An empty one holds nothing to load: a move that was cut off left it, or somebody emptied it.
      if (candidates.length === 0 || file.bytes === 0n) {
        return await onFinding({ ...notMoved(path), outcome: "unknown" });
      }
      const load = await findOrigin(options, file, candidates);
      const folder = await safeMirrorFolder(inbox, path, "");
      const movedTo = await moveDrop({
        file,
        folder,
        loadId: null,
        name: nameInInbox(options, folder, file, load),
      });
      if (movedTo === undefined) continue;
      return await onFinding({ file: path, outcome: "returned", loadId: load?.loadId ?? null, movedTo });
    }
    const message = `${path} is being written to, so it could not be moved. The next check looks at it again.`;
    throw new RollbookError({ code: "file_changed", message });
  } catch (error) {
    await reportFailure(options, path, error);
  }
}

async function reportFailure(
  { signal, onFinding }: Pick<CheckOptions, "signal" | "onFinding">,
  path: string,
  error: unknown,
): Promise<void> {
  if (signal?.aborted) throw error;
  // Another process that checks the archive has moved it.
  if ((await lookAt(path)) === undefined) return;
  await onFinding({ ...notMoved(path), outcome: "failed", error: describe(error) });
}

const notMoved = (file: string) => ({ file, loadId: null, movedTo: null });

function findCandidates(
  options: Pick<CheckOptions, "database" | "signal">,
  name: string,
): Promise<readonly Candidate[]> {
  return withSession(options, async ({ db }) => {
    const found = await db.execute<{
      load_id: number;
      undone: boolean;
      file_name: string;
      synced_on: string;
      bytes: string;
      sha256: Buffer;
    }>(sql`
      select load_id, status = 'undone' as undone, file_name, synced_on::text, bytes::text, sha256
      from ${loads}
      where (file_name = ${name} or load_id = ${loadNumberIn(name)}::integer)
        and status in ('loaded', 'undone') and retry_of is null and undo_of is null and bytes is not null
      order by bytes, load_id`);
    return found.rows.map((row) => ({
      loadId: row.load_id,
      isUndone: row.undone,
      fileName: row.file_name,
      syncedOn: row.synced_on,
      bytes: Number(row.bytes),
      sha256: row.sha256,
    }));
  });
}

/**
 * The load that read the file: the file still begins with the bytes of that load. If it does not, because it
 * was written anew, any of them where all are of one sync date.
 */
async function findOrigin(
  { signal }: Pick<CheckOptions, "signal">,
  file: InboxFile,
  candidates: readonly Candidate[],
): Promise<Candidate | undefined> {
  const hash = createHash("sha256");
  const smaller = candidates.filter(({ bytes }) => bytes <= Number(file.bytes));
  let origin: Candidate | undefined;
  let read = 0;
  let next = 0;
  const compareUpTo = (chunk: Buffer) => {
    let at = 0;
    for (
      let one = smaller[next];
      one !== undefined && one.bytes <= read + chunk.length;
      one = smaller[next]
    ) {
      hash.update(chunk.subarray(at, one.bytes - read));
      at = one.bytes - read;
      if (hash.copy().digest().equals(one.sha256)) origin = one;
      next += 1;
    }
    hash.update(chunk.subarray(at));
    read += chunk.length;
  };
  for await (const chunk of readFileBytes({ path: file.path, follow: false, signal })) {
    compareUpTo(chunk);
    if (next === smaller.length) break;
  }
  if (origin !== undefined) return origin;
  const dates = new Set(candidates.map(({ syncedOn }) => syncedOn));
  return dates.size === 1 ? candidates.at(-1) : undefined;
}

/** Longest name that gets a date added to it; the longest that a file system takes is 255 bytes. */
const LONGEST_DATED = 200;

/**
 * The file's name before it was archived, so that it is loaded for the same sync date. A date that was given
 * for it (`--synced-on`) is put into the name, unless a source says of which date it is.
 */
function nameInInbox(
  { inbox, sources = [] }: Pick<CheckOptions, "inbox" | "sources">,
  folder: string,
  { name: archived }: InboxFile,
  load: Candidate | undefined,
): string {
  if (load === undefined) return archived;
  const { fileName, syncedOn } = load;
  const read = (name: string) => {
    const choice = chooseSource({ sources, path: join(folder, name), inbox });
    const source = choice.kind === "source" ? choice.source : undefined;
    return {
      kind: choice.kind,
      source: source?.name,
      says: source?.syncedOn,
      date: syncDateOf({ name, source }),
    };
  };
  const before = read(fileName);
  const isDecided = before.kind === "refused" || before.says !== undefined;
  if (isDecided || before.date === syncedOn) return fileName;
  const ending = endingOf(fileName);
  const dated = `${fileName.slice(0, fileName.length - ending.length)}_${syncedOn}${ending}`;
  const after = read(dated);
  const isUsable =
    after.source === before.source && after.date === syncedOn && Buffer.byteLength(dated) <= LONGEST_DATED;
  if (isUsable) return dated;
  return before.kind === "source" || !/^\.csv(\.gz)?$/i.test(ending)
    ? fileName
    : `returned_${syncedOn}${ending}`;
}
