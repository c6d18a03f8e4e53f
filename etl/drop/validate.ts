/**
 * The careful path: the rules for one line (docs/design.md, "The drop format"). A line is either written anew
 * as a row of COPY text, or rejected for the first reason that applies.
 */
import { isUtf8 } from "node:buffer";
import { copyLayout, type Dialect, splitLine } from "./dialect.ts";
import type { Reject, RejectReason } from "./reject.ts";
import { COLUMNS, type Column, type CopyLayout, ROW, writeRow } from "./row.ts";
import type { LineRules } from "./rules.ts";
import { checkCreated, findOpenSpans, type OpenSpans } from "./spans.ts";
import { checkText, trimBlanks } from "./value/text.ts";
import { readTimestamp, type Timestamp } from "./value/timestamp.ts";
import { readTotal } from "./value/total.ts";
import { readUuid } from "./value/uuid.ts";

/** All that decides about the lines of one drop, prepared once. */
export interface LineFormat {
  readonly dialect: Dialect;
  readonly copy: CopyLayout;
  readonly rules: LineRules;
  readonly open: OpenSpans;
}

export function lineFormat(options: { readonly dialect: Dialect; readonly rules: LineRules }): LineFormat {
  const { dialect, rules } = options;
  return { dialect, copy: copyLayout(dialect), rules, open: findOpenSpans(rules) };
}

/** The bytes of a line within a batch, without its terminator. */
export interface LineBytes {
  readonly batch: Buffer;
  /** Offsets in the batch: the first byte, and the one after the last. */
  readonly from: number;
  readonly to: number;
  /** True when the whole batch is known to be UTF-8. */
  readonly utf8: boolean;
  /** The line's number, from 1. */
  readonly line: number;
}

/**
 * Decides one line that is not empty: its row as COPY text (with an LF, in the layout of the format), or the
 * reject.
 */
export function validateLine(options: {
  readonly bytes: LineBytes;
  readonly format: LineFormat;
}): string | Reject {
  const { bytes, format } = options;
  const text = decodeLine(bytes);
  if (text === undefined) return reject(bytes, "bad_encoding", null);
  const { delimiter, cells: width, positions } = format.dialect;
  const cells = splitLine(text, delimiter, width + 1);
  if (cells === undefined) return reject(bytes, "broken_quotes", null);
  if (cells.length !== width) return reject(bytes, "wrong_column_count", null);
  const values: Values = { texts: { ...NO_TEXTS }, created: undefined };
  for (const column of COLUMNS) {
    const reason = readCell(values, column, cells[positions[column]] ?? "", format.rules);
    if (reason !== undefined) return reject(bytes, reason, column);
  }
  const { texts, created } = values;
  const reason = created && checkCreated(created, format.open, format.rules);
  return reason === undefined ? writeRow(format.copy, texts) : reject(bytes, reason, "datetime_created");
}

/** What was read of a line so far. */
interface Values {
  /** The canonical text of each column. */
  readonly texts: Record<Column, string>;
  created: Timestamp | undefined;
}

const NO_TEXTS = Object.fromEntries(COLUMNS.map((column) => [column, ""])) as Record<Column, string>;

/** Reads one cell into the values; returns the reason when the line is to be rejected for it. */
function readCell(values: Values, column: Column, cell: string, rules: LineRules): RejectReason | undefined {
  const { texts } = values;
  const rule = ROW[column];
  switch (rule.type) {
    case "text": {
      texts[column] = cell;
      return checkText(cell, rule);
    }
    case "uuid": {
      const uuid = readUuid(trimBlanks(cell));
      if (uuid === undefined) return "bad_uuid";
      texts[column] = uuid;
      return undefined;
    }
    case "timestamp with time zone": {
      const timestamp = readTimestamp(trimBlanks(cell));
      if (timestamp === undefined) return "bad_timestamp";
      values.created = timestamp;
      texts[column] = timestamp.text;
      return undefined;
    }
    case "numeric(14,2)": {
      const total = readTotal(trimBlanks(cell), rules.decimalComma);
      if (total === "bad_total" || total === "sub_cent_total") return total;
      texts[column] = total;
      return undefined;
    }
  }
}

function reject(bytes: LineBytes, reason: RejectReason, column: Column | null): Reject {
  // A copy: rejects outlive the batch, and a slice would keep all of it in memory.
  const raw = Buffer.from(bytes.batch.subarray(bytes.from, bytes.to));
  return { line: bytes.line, reason, column, raw };
}

const CONTROL = 1;
const NOT_ASCII = 2;
/**
 * For each byte: CONTROL for U+0000 to U+001F other than tab and for U+007F, NOT_ASCII from 0x80 on, else 0.
 */
const BYTE_KINDS = Uint8Array.from({ length: 256 }, (_, byte) => {
  if (byte >= 0x80) return NOT_ASCII;
  return (byte < 0x20 && byte !== 0x09) || byte === 0x7f ? CONTROL : 0;
});

/** The line as text; undefined when it is not UTF-8 or holds control characters. */
function decodeLine({ batch, from, to, utf8 }: LineBytes): string | undefined {
  let kinds = 0;
  for (let at = from; at < to; at++) kinds |= BYTE_KINDS[batch[at] ?? 0] ?? 0;
  if (kinds & CONTROL) return undefined;
  if (!(kinds & NOT_ASCII)) return batch.toString("latin1", from, to);
  return utf8 || isUtf8(batch.subarray(from, to)) ? batch.toString("utf8", from, to) : undefined;
}
