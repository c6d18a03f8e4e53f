import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { errorState, RollbookError } from "../../db/errors.ts";
import type { LineCounts } from "../../etl/load/report.ts";
import type { BadReason } from "./odd_lines.ts";
import type { Recipe } from "./options.ts";

export const MANIFEST = "manifest.json";
export const TOTALS = "totals.csv";

/** 2: bad lines are bad by version 2 of the drop format, too. */
export const VERSION = 2;

/** What was generated, and what a warehouse must say after loading it. Written last, when all is there. */
export interface Manifest {
  /** Of this shape and of the numbers: the same recipe gives the same bytes only within a version. */
  readonly version: typeof VERSION;
  /** The options of these drops, after those of the drops they come after. */
  readonly recipes: readonly Recipe[];
  /** The least `--max-rejects` with which every file loads. */
  readonly maxRejects: number;
  /** By sync date. Those of drops that these come after are in their own manifest. */
  readonly files: readonly ManifestFile[];
  /** The end state, drops to come after included. */
  readonly totals: ManifestTotals;
}

export interface ManifestFile {
  readonly name: string;
  readonly syncedOn: string;
  readonly bytes: number;
  /** Hex, of the file's bytes as they are (zipped ones, then). */
  readonly sha256: string;
  /** What `load` says when the files are loaded in date order into a warehouse with no others. No source reads them. */
  readonly rows: Omit<LineCounts, "skipped" | "summed" | "voided" | "absent">;
  /** Rejected lines by reason code. */
  readonly rejects: Partial<Record<BadReason, number>>;
  /** Inserted invoices with a lateness of 2 days or more. */
  readonly late: number;
}

export interface ManifestTotals {
  readonly invoices: number;
  /** Euros, a decimal string with two decimals. */
  readonly total: string;
  /** (venue, date) groups: the lines of `totals.csv`, header not counted. */
  readonly groups: number;
  readonly sha256: string;
}

/** Throws `not_found` when the folder has no manifest, `configuration` when it is of another version. */
export async function readManifest(folder: string): Promise<Manifest> {
  const path = join(folder, MANIFEST);
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if (errorState(error) !== "ENOENT") throw error;
    throw new RollbookError({
      code: "not_found",
      message: `${path} is not there: ${folder} holds no generated drops, or not all of them`,
    });
  }
  const manifest = JSON.parse(text) as Manifest;
  if (manifest.version !== VERSION) {
    throw new RollbookError({
      code: "configuration",
      message: `${path} is of version ${manifest.version}, not ${VERSION}; generate its drops again`,
    });
  }
  return manifest;
}
