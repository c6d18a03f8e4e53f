/** What a source says: which files it reads, and how. */
import type { Form } from "../drop/form.ts";

/** A file `NAME.yaml` of the folder of sources. */
export interface Source {
  readonly name: string;
  /** The path of its file, for messages. */
  readonly file: string;
  /** Of the file's bytes. */
  readonly sha256: Buffer;
  /** Globs on the path below the inbox, with `/`. */
  readonly files: readonly string[];
  /** Where these begin in its file, from 1. */
  readonly filesLine: number;
  /** Where `venueFromPath` is given, its venue is not the file's until that has been asked: chooseSource does. */
  readonly form: Form;
  /** Finds the venue in the path below the inbox: its group `venue_id`, or its only group. */
  readonly venueFromPath?: { readonly pattern: RegExp; readonly line: number } | undefined;
  readonly syncedOn?: SyncDateRule | undefined;
  readonly syncSlack?: number | undefined;
  /** Share 0 to 1, and lines that are allowed in any case. */
  readonly maxRejects?: { readonly share: number; readonly lines: number } | undefined;
  /** Whether a file is all there is for the venues and creation dates that it holds. */
  readonly replaceVenueDays: boolean;
}

/** Where the sync date of a file is; a pattern has the groups `year`, `month` and `day`. */
export type SyncDateRule =
  | { readonly from: "mtime" }
  | { readonly from: "name" | "path"; readonly pattern: RegExp; readonly line: number };

/** A source, and what it says of one file. */
export interface FileSource {
  readonly name: string;
  readonly sha256: Buffer;
  /** With the venue of the path, where that is where it stands. */
  readonly form: Form;
  /** `YYYY-MM-DD`, or FILE_DATE of etl/drop/name.ts; undefined: as the file's name says. */
  readonly syncedOn?: string | undefined;
  readonly syncSlack?: number | undefined;
  readonly maxRejects?: { readonly share: number; readonly lines: number } | undefined;
  readonly replaceVenueDays?: boolean | undefined;
}

/** Which source reads a file. */
export type Choice =
  /** The file is one of the drop format. */
  | { readonly kind: "none" }
  | { readonly kind: "source"; readonly source: FileSource }
  /** Two sources fit, or a pattern does not. */
  | { readonly kind: "refused"; readonly message: string };
