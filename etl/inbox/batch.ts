/** Cuts the drops that are ready into batches: each is loaded by one process. */
import { FILE_DATE } from "../drop/name.ts";
import { type InboxFile, syncDateOf } from "./list.ts";

/** Drops that one process loads, one after the other. */
export interface Batch {
  readonly files: readonly InboxFile[];
  readonly bytes: number;
  /** Oldest and newest sync date; null where neither a name nor a source says one. */
  readonly syncedFrom: string | null;
  readonly syncedTo: string | null;
}

/**
 * What a drop costs beside its bytes: its transaction and round trips take as long as loading so many bytes.
 */
const FILE_WEIGHT = 250_000;
/**
 * Less than this, in bytes, is not worth a process of its own: to start one takes as long as to load so much.
 */
const LEAST_WEIGHT = 32_000_000;

/** What files cost together, in bytes. */
export function weighFiles(files: readonly InboxFile[]): number {
  return files.reduce((sum, file) => sum + weightOf(file), 0);
}

function weightOf({ bytes }: InboxFile): number {
  return Number(bytes) + FILE_WEIGHT;
}

/**
 * Cuts files into at most `most` batches of similar weight, in their order.
 *
 * @param syncedOn the sync date of all of them, in place of those that their sources or names say
 */
export function cutBatches(files: readonly InboxFile[], most: number, syncedOn?: string): readonly Batch[] {
  const total = weighFiles(files);
  const count = Math.max(1, Math.min(most, Math.floor(total / LEAST_WEIGHT)));
  const batches: InboxFile[][] = Array.from({ length: count }, () => []);
  let before = 0;
  for (const file of files) {
    const weight = weightOf(file);
    // The batch that the middle of the file falls into gets it.
    batches[Math.floor(((before + weight / 2) / total) * count)]?.push(file);
    before += weight;
  }
  return batches.filter((batch) => batch.length > 0).map((batch) => describeBatch(batch, syncedOn));
}

function describeBatch(files: readonly InboxFile[], syncedOn: string | undefined): Batch {
  // The zone in which a file's own date is its sync date is the warehouse's.
  const dates = files
    .map((file) => syncedOn ?? syncDateOf(file))
    .filter((date) => date !== undefined && date !== FILE_DATE);
  return {
    files,
    bytes: files.reduce((sum, { bytes }) => sum + Number(bytes), 0),
    syncedFrom: dates.at(0) ?? null,
    syncedTo: dates.at(-1) ?? null,
  };
}
