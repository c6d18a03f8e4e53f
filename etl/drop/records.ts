/**
 * Where a record ends. Nearly always that is the end of its line; a quoted field may hold line breaks. The
 * rules: docs/design.md, "The drop format".
 */

/** How far a record of several lines may reach: in lines, and in bytes without its own terminator. */
const MAX_RECORD_LINES = 100;
const MAX_RECORD_BYTES = 64 * 1024;

const LF = 0x0a;
const CR = 0x0d;
const QUOTE = 0x22;

export type RecordEnd =
  /** `lf`: the offset of the LF that ends the record. */
  | { readonly kind: "whole"; readonly lf: number; readonly lines: number }
  /** Its quotes are broken, or it reaches too far. */
  | { readonly kind: "broken" }
  /** The batch ends within it. */
  | { readonly kind: "open" };

/**
 * Finds the end of the record that begins at `from`, by its quotes (RFC 4180).
 *
 * @param batch ends with LF
 */
export function findRecordEnd(batch: Buffer, from: number, delimiter: number): RecordEnd {
  let lines = 1;
  let at = from;
  for (;;) {
    if (batch[at] === QUOTE) {
      for (at++; ; at++) {
        const byte = batch[at];
        if (byte === undefined) return { kind: "open" };
        if (byte === LF) {
          lines++;
          if (lines > MAX_RECORD_LINES || at - from >= MAX_RECORD_BYTES) return { kind: "broken" };
        } else if (byte === QUOTE) {
          if (batch[at + 1] !== QUOTE) break;
          at++;
        }
      }
      at++;
      // Where the batch ends, the last byte was the LF of an open field, so there is a byte here.
      if (batch[at] === CR && batch[at + 1] === LF) at++;
      if (batch[at] !== delimiter && batch[at] !== LF) return { kind: "broken" };
    } else {
      while (batch[at] !== delimiter && batch[at] !== LF) {
        if (batch[at] === QUOTE) return { kind: "broken" };
        at++;
      }
    }
    if (batch[at] === LF) break;
    at++;
  }
  const end = batch[at - 1] === CR ? at - 1 : at;
  if (lines > 1 && end - from > MAX_RECORD_BYTES) return { kind: "broken" };
  return { kind: "whole", lf: at, lines };
}
