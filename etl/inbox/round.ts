/**
 * One round of an inbox, as `watch` and `inbox take` go: load, refresh, move. A file leaves the inbox last, so after a
 * crash anywhere the next round finds it there, finds it loaded, refreshes what it touched, and moves it.
 */
import type { Database } from "../../db/client.ts";
import { isRetryable, RollbookError } from "../../db/errors.ts";
import type { Settings } from "../../db/schema.ts";
import { forEachAtOnce } from "../at_once.ts";
import type { LoadReport, Refusal } from "../load/report.ts";
import { findLoadName } from "./archive.ts";
import { ARCHIVE, type InboxFile, isUntouched, REJECTED } from "./list.ts";
import { safeMirrorFolder } from "./mirror.ts";
import { moveDrop } from "./move.ts";
import { readReasons } from "./rejection.ts";

/** The `number`th drop of the `of` that are ready now. */
export interface Place {
  readonly number: number;
  readonly of: number;
}

export interface RoundOptions {
  readonly database: Database;
  readonly settings: Settings;
  /** Path of the folder. */
  readonly inbox: string;
  /** What is ready, in the order in which it is loaded. */
  readonly files: readonly InboxFile[];
  /** Files loaded at a time, default 1. */
  readonly atOnce?: number | undefined;
  readonly signal: AbortSignal;
  /** The report of a file that an earlier round loaded: only what comes after the load is left to do. */
  readonly findKnown?: ((file: InboxFile) => LoadReport | undefined) | undefined;
  /**
   * Loads a drop as it was listed, and no other file. A drop that fails or is rejected is a report, no error.
   */
  readonly load: (file: InboxFile, place: Place) => Promise<LoadReport>;
  /** Refreshes what the drops of this round touched, and more where the caller knows of more. */
  readonly refresh: (touched: ReadonlySet<string>) => Promise<unknown>;
}

/** What became of a file in a round. */
export interface Taken {
  readonly file: InboxFile;
  readonly report: LoadReport;
  readonly move: Move;
}

export type Move =
  | { readonly kind: "moved"; readonly to: string }
  /** Another process has moved it, or another file has its name by now. */
  | { readonly kind: "gone" }
  /** It is loaded or rejected, and stays in the inbox. `folder`: where it belongs, archive or rejected. */
  | { readonly kind: "not_moved"; readonly folder: string; readonly error: unknown }
  /** Its load failed, or what was loaded could not be refreshed. */
  | { readonly kind: "stays" };

export interface Round {
  /** In the order of the files. Those that others took meanwhile, and those that were not tried, are left out. */
  readonly taken: readonly Taken[];
  /** Why the round ended early: the database is away. Then nothing was moved. */
  readonly away?: { readonly step: "load" | "refresh"; readonly error: unknown };
}

/**
 * Goes one round.
 *
 * @throws what `load` and `refresh` throw, unless the database is away; the signal's reason when it aborts
 */
export async function goRound(options: RoundOptions): Promise<Round> {
  const byIndex: (Loaded | undefined)[] = [];
  let lost: Refusal | undefined;
  await forEachAtOnce(options.files.entries(), options.atOnce ?? 1, async ([index, file]) => {
    // Another process may have taken it meanwhile.
    if (lost !== undefined || !(await isUntouched(file))) return;
    const place = { number: index + 1, of: options.files.length };
    const report = options.findKnown?.(file) ?? (await options.load(file, place));
    byIndex[index] = { file, report };
    if (report.error?.code === "connection") lost = report.error;
  });
  const loaded = byIndex.filter((one) => one !== undefined);
  const end = (away: Round["away"]): Round => ({
    taken: loaded.map((one) => ({ ...one, move: { kind: "stays" } })),
    ...(away && { away }),
  });
  if (lost !== undefined) return end({ step: "load", error: lost });
  try {
    await options.refresh(new Set(loaded.flatMap(({ report }) => report.touched)));
  } catch (error) {
    if (options.signal.aborted || !isAway(error)) throw error;
    return end({ step: "refresh", error });
  }
  const taken: Taken[] = [];
  for (const { file, report } of loaded)
    taken.push({ file, report, move: await moveOut(options, file, report) });
  return { taken };
}

type Loaded = Pick<Taken, "file" | "report">;

/** Whether the database is out of reach, or was in the way only for now. */
export function isAway(error: unknown): boolean {
  return isRetryable(error) || (error instanceof RollbookError && error.code === "connection");
}

/** Moves a file to archive/, or with its reason to rejected/. */
async function moveOut(options: RoundOptions, file: InboxFile, report: LoadReport): Promise<Move> {
  const { outcome, loadId } = report;
  if (outcome === "failed") return { kind: "stays" };
  const folder = outcome === "rejected" ? REJECTED : ARCHIVE;
  try {
    const rejected = outcome === "rejected" && loadId !== null ? [loadId] : [];
    const [reason] = (await readReasons(options, rejected)).values();
    const loadedAs = await findLoadName(options, report);
    const target = await safeMirrorFolder(options.inbox, file.path, folder);
    const movedTo = await moveDrop({ file, folder: target, loadId, reason, loadedAs });
    return movedTo === undefined ? { kind: "gone" } : { kind: "moved", to: movedTo };
  } catch (error) {
    if (options.signal.aborted) throw error;
    return { kind: "not_moved", folder, error };
  }
}
