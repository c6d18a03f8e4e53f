/** How a simulated drop is read: what it says beside its invoices, a source says, or an option of the load. */
import { createHash } from "node:crypto";
import type { FileSource } from "../../../etl/sources/source.ts";
import { isWhole, knowsVoid } from "./content.ts";
import type { Content } from "./history.ts";

/** What a process is told of it. */
export interface Reading {
  /** The columns are those of the drop format; undefined: the drop is read as a file of it. */
  readonly source: { readonly delimiter: Content["delimiter"]; readonly column: string } | undefined;
  /** The drop is all there is for its venues and dates: by its source, where it has one. */
  readonly isWhole: boolean;
}

/** @param isRetry whether lines are read again */
export function readingOf(content: Content, isRetry: boolean): Reading {
  const { delimiter, says } = content;
  const source = knowsVoid(content, isRetry) ? { delimiter, column: says } : undefined;
  return { source, isWhole: isWhole(content) };
}

/** What loads and retries take. */
export function readBy({ source, isWhole }: Reading): {
  readonly source: FileSource | undefined;
  readonly replaceVenueDays: boolean;
} {
  if (source === undefined) return { source, replaceVenueDays: isWhole };
  const { delimiter, column } = source;
  const form: FileSource["form"] = {
    delimiter,
    skip: 0,
    header: true,
    venueId: { column: "venue_id" },
    invoiceId: { column: "invoice_id" },
    created: { columns: ["datetime_created"] },
    total: { columns: ["total"] },
    conditions: [{ column, values: ["void"], effect: "void" }],
    sumRows: false,
  };
  const sha256 = createHash("sha256").update(JSON.stringify(form)).digest();
  return { source: { name: "till", sha256, form, replaceVenueDays: isWhole }, replaceVenueDays: false };
}
