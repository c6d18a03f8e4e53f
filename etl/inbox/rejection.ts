/** Why a drop was rejected: a file beside it in rejected/, for people and for programs. */
import { isUtf8 } from "node:buffer";
import { randomUUID } from "node:crypto";
import { rename, unlink, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { inArray, sql } from "drizzle-orm";
import type { Database } from "../../db/client.ts";
import type { ReasonSummary } from "../../db/reason_summary.ts";
import { type Load, loads, rejects, type Settings } from "../../db/schema.ts";
import { openRegularFile } from "../drop/file.ts";
import { toJson } from "../escape.ts";
import { enteredSource } from "../load/read_by.ts";
import type { ReadBy, Refusal } from "../load/report.ts";
import { inWarehouseZone, isoInstant } from "../reports/zone.ts";

export interface Reason {
  /** The name that the drop had in the inbox. */
  readonly file: string;
  readonly loadId: number | null;
  readonly syncedOn: string | null;
  /** The source that read it; null where none did. */
  readonly source: ReadBy | null;
  /** An instant in the warehouse's zone. */
  readonly rejectedAt: string | null;
  readonly error: Refusal | null;
  readonly rows: { readonly read: number; readonly rejected: number } | null;
  /** What was rejected, by reason. */
  readonly reasons: readonly ReasonSummary[];
  /** The first of the rejected lines. */
  readonly lines: readonly ReasonLine[];
  /** When somebody decided that it stays rejected. */
  readonly reviewedAt?: string;
}

/** A rejected line: its text, or its bytes where they are not UTF-8. */
export type ReasonLine = {
  readonly line: number;
  readonly reason: string;
  readonly column: string | null;
} & ({ readonly raw: string } | { readonly rawBase64: string });

const ENDING = ".reason.json";
/** So many rejected lines at most; `rollbook rejects` shows all. */
const LINES = 20;

export function reasonPath(path: string): string {
  return `${path}${ENDING}`;
}

export function isReason(name: string): boolean {
  return name.endsWith(ENDING);
}

/** A quarantined line as JSON can hold it. */
export function rawOf(raw: Buffer): { readonly raw: string } | { readonly rawBase64: string } {
  return isUtf8(raw) ? { raw: raw.toString("utf8") } : { rawBase64: raw.toString("base64") };
}

/** Reads the reasons of rejected loads from ledger and quarantine, by the load's number. */
export async function readReasons(
  options: {
    readonly database: Database;
    readonly settings: Settings;
    readonly signal?: AbortSignal | undefined;
  },
  loadIds: readonly number[],
): Promise<ReadonlyMap<number, Reason>> {
  if (loadIds.length === 0) return new Map();
  return inWarehouseZone(options, async ({ db }) => {
    const entries = await db
      .select()
      .from(loads)
      .where(inArray(loads.loadId, [...loadIds]));
    const found = await db.execute<{
      load_id: number;
      line: string;
      reason: string;
      column: string | null;
      raw: Buffer;
    }>(sql`
      select r.load_id, r.line, r.reason, r.column_name as "column", r.raw
      from unnest(${sql.param(loadIds)}::integer[]) as wanted (load_id)
      cross join lateral (
        select * from ${rejects} where load_id = wanted.load_id order by line limit ${LINES}
      ) r
      order by r.load_id, r.line`);
    const lines = new Map<number, ReasonLine[]>(loadIds.map((loadId) => [loadId, []]));
    for (const { load_id: loadId, line, reason, column, raw } of found.rows) {
      lines.get(loadId)?.push({ line: Number(line), reason, column, ...rawOf(raw) });
    }
    return new Map(entries.map((entry) => [entry.loadId, reasonOf(entry, lines.get(entry.loadId) ?? [])]));
  });
}

function reasonOf(load: Load, lines: readonly ReasonLine[]): Reason {
  return {
    file: load.fileName,
    loadId: load.loadId,
    syncedOn: load.syncedOn,
    source: enteredSource(load),
    rejectedAt: isoInstant(load.finishedAt),
    error: load.errorCode === null ? null : { code: load.errorCode, message: load.errorMessage ?? "" },
    rows: { read: load.read, rejected: load.rejected },
    reasons: load.reasons,
    lines,
  };
}

/** The reason of a rejected file that has none beside it. */
export function unknownReason(path: string): Reason {
  return {
    file: basename(path),
    loadId: null,
    syncedOn: null,
    source: null,
    rejectedAt: null,
    error: null,
    rows: null,
    reasons: [],
    lines: [],
  };
}

/** Writes the reason of the rejected file at `path` beside it: whole or not at all. */
export async function writeReason(path: string, reason: Reason): Promise<void> {
  // A short name, because the drop's may be as long as a name can be. A random one, so that nobody can put a
  // link there.
  const part = join(dirname(path), `.reason-${randomUUID()}.part`);
  try {
    await writeFile(part, `${toJson(reason, 2)}\n`, { flag: "wx" });
    await rename(part, reasonPath(path));
  } catch (error) {
    await unlink(part).catch(() => {});
    throw error;
  }
}

/** Reads the reason beside a rejected file; undefined where there is none that can be read. */
export async function findReason(path: string): Promise<Reason | undefined> {
  try {
    const found: unknown = JSON.parse(await readReason(reasonPath(path)));
    return isReasonObject(found) ? { ...unknownReason(path), ...found } : undefined;
  } catch {
    return undefined;
  }
}

/** A reason is never larger: it has twenty lines of at most 1 MiB, in JSON. */
const MOST_BYTES = 200 * 1024 * 1024;

/** Follows no link, and does not wait for a pipe. */
async function readReason(path: string): Promise<string> {
  const file = await openRegularFile(path, { follow: false });
  try {
    const { size } = await file.stat();
    if (size > MOST_BYTES) throw new Error("too large to be a reason");
    return await file.readFile("utf8");
  } finally {
    await file.close();
  }
}

/** People may have edited the file, so what this program depends on is checked. */
function isReasonObject(found: unknown): found is Reason {
  if (typeof found !== "object" || found === null) return false;
  const { file, loadId, syncedOn, error, rows, lines } = found as Partial<Record<keyof Reason, unknown>>;
  return (
    typeof file === "string" &&
    (loadId === null || Number.isSafeInteger(loadId)) &&
    (syncedOn === null || (typeof syncedOn === "string" && /^\d{4}-\d\d-\d\d$/.test(syncedOn))) &&
    (error === null || hasTexts(error, "code", "message")) &&
    (rows === null || hasNumbers(rows, "read", "rejected")) &&
    Array.isArray(lines) &&
    lines.every(
      (line) =>
        hasNumbers(line, "line") &&
        hasTexts(line, "reason") &&
        (hasTexts(line, "raw") || hasTexts(line, "rawBase64")),
    )
  );
}

function hasTexts(found: unknown, ...names: readonly string[]): boolean {
  return names.every((name) => typeof memberOf(found, name) === "string");
}

function hasNumbers(found: unknown, ...names: readonly string[]): boolean {
  return names.every((name) => typeof memberOf(found, name) === "number");
}

function memberOf(found: unknown, name: string): unknown {
  return typeof found === "object" && found !== null ? (found as Record<string, unknown>)[name] : undefined;
}

export async function removeReason(path: string): Promise<void> {
  await unlink(reasonPath(path)).catch(() => {});
}
