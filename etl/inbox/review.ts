/** Reviews rejected drops: which wait for a decision, and what each decision does. */
import { stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { sql } from "drizzle-orm";
import { type Database, withSession } from "../../db/client.ts";
import { RollbookError } from "../../db/errors.ts";
import { loads } from "../../db/schema.ts";
import type { LoadReport, Refusal } from "../load/report.ts";
import type { Warehouse } from "../warehouse.ts";
import { findLoadName } from "./archive.ts";
import { ARCHIVE, type InboxFile, listInbox, lookAt, REJECTED } from "./list.ts";
import { mirrorFolder, safeMirrorFolder } from "./mirror.ts";
import { moveDrop } from "./move.ts";
import {
  findReason,
  isReason,
  type Reason,
  readReasons,
  removeReason,
  unknownReason,
  writeReason,
} from "./rejection.ts";

export type RejectedDrop = Reason & { readonly path: string; readonly bytes: number };

/** The rejected drops of an inbox that nobody has decided on yet, oldest sync date first. */
export async function listRejected(inbox: string): Promise<readonly RejectedDrop[]> {
  const folder = join(inbox, REJECTED);
  // It is made with the first rejected drop.
  if ((await stat(folder).catch(() => undefined)) === undefined) return [];
  const { files } = await listInbox(folder, { recursive: true });
  const drops: RejectedDrop[] = [];
  for (const { name, path, bytes } of files) {
    if (isReason(name)) continue;
    const reason = (await findReason(path)) ?? unknownReason(path);
    if (reason.reviewedAt === undefined) drops.push({ ...reason, path, bytes: Number(bytes) });
  }
  return drops;
}

export const DECISIONS = ["load", "retry", "keep"] as const;
/** `load`: with its bad lines in quarantine; `retry`: back to the inbox; `keep`: it stays rejected. */
export type Decision = (typeof DECISIONS)[number];

export interface DecisionReport {
  /** The path. */
  readonly file: string;
  readonly decision: Decision;
  /** `already_loaded` and `already_returned`: an earlier run of the same decision did it. */
  readonly outcome:
    | "loaded"
    | "already_loaded"
    | "rejected"
    | "failed"
    | "returned"
    | "already_returned"
    | "kept";
  readonly loadId: number | null;
  /** Where the drop is now; null when it is still in rejected/. */
  readonly movedTo: string | null;
  readonly error?: Refusal;
}

/** A rejected drop as it was in the inbox. */
export interface Rejected {
  /** The file as it was listed, and no other. */
  readonly file: InboxFile;
  /** The path that it had in the inbox. */
  readonly inboxPath: string;
  /** For which it was rejected, if that is known. */
  readonly syncedOn: string | undefined;
}

export interface RejectedFile {
  readonly inbox: string;
  /** The drop in the inbox's rejected/, or in a folder below: the path begins with `inbox`. */
  readonly path: string;
}

/** Marks a rejected drop as one that stays rejected, so that nobody is asked again. */
export async function keepRejected({ path }: RejectedFile): Promise<DecisionReport> {
  if ((await lookAt(path)) === undefined) throw goneError(path);
  const reason = (await findReason(path)) ?? unknownReason(path);
  if (reason.reviewedAt === undefined) {
    await writeReason(path, { ...reason, reviewedAt: new Date().toISOString() });
  }
  return { file: path, decision: "keep", outcome: "kept", loadId: reason.loadId, movedTo: null };
}

/** Moves a rejected drop back to the inbox, under its old name if that is free. The next run loads it. */
export async function returnRejected({ inbox, path }: RejectedFile): Promise<DecisionReport> {
  const reason = await findReason(path);
  const report = { file: path, decision: "retry" as const, loadId: reason?.loadId ?? null };
  const name = basename(reason?.file ?? path);
  const file = await lookAt(path);
  const folder = await safeMirrorFolder(inbox, path, "");
  const movedTo = file && (await moveDrop({ file, folder, loadId: null, name }));
  if (movedTo !== undefined) {
    await removeReason(path);
    return { ...report, outcome: "returned", movedTo };
  }
  if ((await lookAt(path)) !== undefined) {
    throw new RollbookError({
      code: "file_changed",
      message: `${path} is being written to, so it stays. Decide again when it is whole.`,
    });
  }
  for (const place of [join(folder, name), join(mirrorFolder(inbox, path, ARCHIVE), name)]) {
    if ((await lookAt(place)) === undefined) continue;
    await removeReason(path);
    return { ...report, outcome: "already_returned", movedTo: place };
  }
  throw goneError(path);
}

/**
 * Loads a rejected drop with the share of rejects that the caller allows, and archives it. If it is rejected
 * for another reason, it stays, with that reason beside it.
 *
 * @param options.load loads the file as it was listed, and no other
 */
export async function loadRejected(
  options: RejectedFile & {
    readonly warehouse: Warehouse;
    readonly signal?: AbortSignal | undefined;
    readonly load: (rejected: Rejected) => Promise<LoadReport>;
  },
): Promise<DecisionReport> {
  const { inbox, path, warehouse, signal } = options;
  const file = await lookAt(path);
  if (file === undefined) return findLoaded(options);
  const reason = await findReason(path);
  const inboxPath = join(mirrorFolder(inbox, path, ""), basename(reason?.file ?? path));
  const syncedOn = reason?.syncedOn ?? undefined;
  const { outcome, loadId, error } = await options.load({ file, inboxPath, syncedOn });
  const report = { file: path, decision: "load", outcome, loadId, movedTo: null } as const;
  if (outcome === "rejected" && loadId !== null) {
    const fresh = (await readReasons({ ...warehouse, signal }, [loadId])).get(loadId);
    if (fresh !== undefined) await writeReason(path, { ...fresh, file: reason?.file ?? file.name });
  }
  if (outcome === "rejected" || outcome === "failed") return { ...report, ...(error && { error }) };
  const loadedAs = await findLoadName({ ...warehouse, signal }, { outcome, loadId });
  const folder = await safeMirrorFolder(inbox, path, ARCHIVE);
  const movedTo = await moveDrop({ file, folder, loadId, loadedAs });
  if (movedTo === undefined) return report;
  await removeReason(path);
  return { ...report, movedTo };
}

/**
 * For a drop that is not in rejected/ any more: an earlier run may have loaded and archived it. The ledger
 * then has the same bytes first as rejected, then as loaded.
 */
async function findLoaded({
  inbox,
  path,
  warehouse,
  signal,
}: RejectedFile & {
  readonly warehouse: { readonly database: Database };
  readonly signal?: AbortSignal | undefined;
}): Promise<DecisionReport> {
  const name = basename(path);
  const [loadId] = await withSession({ database: warehouse.database, signal }, async ({ db }) => {
    const found = await db.execute<{ load_id: number }>(sql`
      select l.load_id
      from ${loads} l
      where l.file_name = ${name} and l.status = 'loaded'
        and exists (
          select
          from ${loads} r
          where r.sha256 = l.sha256 and r.status = 'rejected' and r.load_id < l.load_id
        )
      order by l.load_id desc
      limit 1`);
    return found.rows.map((row) => row.load_id);
  });
  if (loadId === undefined) throw goneError(path);
  await removeReason(path);
  const archived = await lookAt(join(mirrorFolder(inbox, path, ARCHIVE), name));
  return {
    file: path,
    decision: "load",
    outcome: "already_loaded",
    loadId,
    movedTo: archived?.path ?? null,
  };
}

function goneError(path: string): RollbookError {
  return new RollbookError({
    code: "usage",
    message: `${path}: there is no such rejected drop. List them with: rollbook inbox rejected`,
  });
}
