/**
 * The fast path: a byte scanner that recognises canonical lines, which pass to COPY as they are. It rejects
 * nothing. All other lines go the careful path (validate.ts), and a test compares the two.
 *
 * A canonical line has the columns of a row and no others, each in a form that the scanner of its type takes,
 * and ends with LF or CRLF. Its time has no fraction and no offset but `Z`, and its date is one that is
 * taken.
 */
import { keepsLines } from "./dialect.ts";
import { ROW } from "./row.ts";
import { createSpanCheck, type OpenSpans } from "./spans.ts";
import type { LineFormat } from "./validate.ts";
import { plainBytes, scanText } from "./value/text.ts";
import { scanSecond, TIME_LENGTH } from "./value/timestamp.ts";
import { scanTotal } from "./value/total.ts";
import { scanUuid } from "./value/uuid.ts";

/** What a recogniser returns for a line that is not canonical. */
export const NOT_CANONICAL = -1;

/**
 * Returns the offset after the line's terminator when the line at `from` is canonical, else NOT_CANONICAL.
 *
 * `batch` ends with LF, which is part of no field, so the scanners read no further. `utf8`: whether all of
 * the batch is UTF-8. If it is not, only ASCII is recognised.
 */
export type Recogniser = (batch: Buffer, from: number, utf8: boolean) => number;

const LF = 0x0a;
const CR = 0x0d;
const UPPER_Z = 0x5a;

/**
 * Makes a scanner for the lines of one drop. In a file with other columns no line is canonical: each row is
 * written anew.
 */
export function createRecogniser(options: { readonly format: LineFormat }): Recogniser {
  const { dialect, copy, open } = options.format;
  if (!keepsLines(dialect)) return () => NOT_CANONICAL;
  const delimiter = dialect.delimiter.charCodeAt(0);
  const plain = plainBytes(delimiter);
  const scanTime = createTimeScanner(open);
  const fields = copy.columns.map((column) => ROW[column]);

  return (batch, from, utf8) => {
    const plainHere = utf8 ? plain.utf8 : plain.ascii;
    let at = from - 1;
    for (let field = 0; field < fields.length; field++) {
      if (field > 0 && batch[at] !== delimiter) return NOT_CANONICAL;
      const rule = fields[field] as (typeof fields)[number];
      // A switch in the loop, not a list of functions: V8 can put the code of each scanner in its place.
      switch (rule.type) {
        case "text":
          // A text has at least as many bytes as characters.
          at = scanText(plainHere, batch, at + 1, rule.maxLength);
          break;
        case "uuid":
          at = scanUuid(batch, at + 1);
          break;
        case "timestamp with time zone":
          at = scanTime(batch, at + 1);
          break;
        case "numeric(14,2)":
          at = scanTotal(batch, at + 1);
          break;
      }
      if (at < 0) return NOT_CANONICAL;
    }
    if (batch[at] === CR) at++;
    return batch[at] === LF ? at + 1 : NOT_CANONICAL;
  };
}

/** Scans `YYYY-MM-DDTHH:MM:SS`, or that with `Z`, of a date that is taken. */
function createTimeScanner(open: OpenSpans): (batch: Buffer, at: number) => number {
  const isOpenWall = createSpanCheck(open.walls);
  const isOpenInstant = createSpanCheck(open.instants);
  return (batch, at) => {
    const end = at + TIME_LENGTH;
    if (end >= batch.length) return -1;
    const second = scanSecond(batch, at);
    if (second === undefined) return -1;
    if (batch[end] === UPPER_Z) return isOpenInstant(second) ? end + 1 : -1;
    return isOpenWall(second) ? end : -1;
  };
}
