/**
 * How a file is written whose columns are not those of the drop format: which of its cells make a row, and how
 * they are read. A source says so (etl/sources/). The rules: docs/sources.md.
 */
import type { Delimiter } from "./cells.ts";
import type { Notation } from "./value/total.ts";

export const ENCODINGS = ["utf-8", "windows-1252", "iso-8859-15", "utf-16", "utf-16le", "utf-16be"] as const;
/** `utf-16`: with a byte order mark. */
export type Encoding = (typeof ENCODINGS)[number];

/** A column of a file: its name in the header, or its number, from 1. */
export type ColumnRef = string | number;

/** What becomes of a record by the text of one of its cells, without blanks around it. */
export interface Condition {
  readonly column: ColumnRef;
  /** Each exactly as it is written; the empty text is that of a blank cell. A cell that is not there is not asked. */
  readonly values: readonly string[];
  /**
   * `keep`: all records with other values are left out; `skip`: those with these values are; `void`: those with
   * these values say that their invoice is void.
   */
  readonly effect: "keep" | "skip" | "void";
}

/** How times are read that are not written as the drop format has it. */
export interface TimeForm {
  /** Their cells, joined by one blank, without blanks around each. */
  readonly columns: readonly ColumnRef[];
  /** By Luxon's tokens, for example `dd/MM/yyyy HH:mm`; undefined: the forms of the drop format. */
  readonly format?: string | undefined;
  /** A number of seconds or milliseconds since 1970-01-01 UTC. */
  readonly epoch?: "seconds" | "milliseconds" | undefined;
  /** The time zone of wall-clock times; undefined: the warehouse's. */
  readonly zone?: string | undefined;
}

/** How totals are written; what is left out is as the load says (`--decimal-comma`), or the drop format. */
export interface TotalForm extends Partial<Notation> {
  /** Their sum is the total. Where there are several, a blank cell counts as 0. */
  readonly columns: readonly ColumnRef[];
}

export interface Form {
  /** Undefined: UTF-8, or UTF-16 with a byte order mark. */
  readonly encoding?: Encoding | undefined;
  /** Undefined: the first that fits. */
  readonly delimiter?: Delimiter | undefined;
  /** Lines before the header. */
  readonly skip: number;
  /** Whether a line names the columns. */
  readonly header: boolean;
  readonly venueId: { readonly column: ColumnRef } | { readonly constant: string };
  /** `uuid5Of`: the id is made of these cells. */
  readonly invoiceId: { readonly column: ColumnRef } | { readonly uuid5Of: readonly ColumnRef[] };
  readonly created: TimeForm;
  readonly total: TotalForm;
  readonly conditions: readonly Condition[];
  /** Whether the totals of rows with one key are added: for registers that write an invoice in several rows. */
  readonly sumRows: boolean;
}

/** The venue of all lines of a file, where no cell says it; else null. */
export function givenVenue(form: Form | undefined): string | null {
  return form !== undefined && "constant" in form.venueId ? form.venueId.constant : null;
}
