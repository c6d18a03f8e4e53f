/** The files of the loads, where the console was told of the inbox. A page names a load and an invoice, never a file. */
import type { ReportedLoad, Settings } from "../db/schema.ts";

export interface FileLines {
  readonly outcome: "read" | "missing" | "other_source" | "too_large" | "unreadable";
  /** Where the file is, below the inbox. */
  readonly path: string | null;
  readonly lines: readonly { readonly line: number; readonly text: string }[];
}

/** Reads the lines of an invoice in the file of a load. */
export type ReadInvoiceLines = (asked: {
  readonly settings: Settings;
  readonly load: ReportedLoad;
  readonly venue: string;
  readonly invoiceId: string;
  readonly signal: AbortSignal;
}) => Promise<FileLines>;

/** Files that are read at once. */
const AT_ONCE = 2;
/** After so long a file is given up. */
const MOST_MS = 5000;

/** The same within limits: a page that asks for many files does not keep others from theirs for long. */
export function limitReading(read: ReadInvoiceLines): ReadInvoiceLines {
  let open = 0;
  const waiting: (() => void)[] = [];
  return async (asked) => {
    if (open >= AT_ONCE) await new Promise<void>((resolve) => waiting.push(resolve));
    else open += 1;
    const { signal } = asked;
    try {
      signal.throwIfAborted();
      const limit = AbortSignal.timeout(MOST_MS);
      return await read({ ...asked, signal: AbortSignal.any([signal, limit]) }).catch((error: unknown) => {
        if (!limit.aborted || signal.aborted) throw error;
        return { outcome: "too_large", path: null, lines: [] };
      });
    } finally {
      const next = waiting.shift();
      if (next === undefined) open -= 1;
      else next();
    }
  };
}
