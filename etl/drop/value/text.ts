/** Free text, such as a venue's id: kept exactly as the file has it. */

export interface TextRule<Reason extends string = string> {
  /** The most characters (code points). */
  readonly maxLength: number;
  /** Reasons to reject a text that holds only blanks, and one that is too long. */
  readonly missing: Reason;
  readonly tooLong: Reason;
}

/** Why a text is rejected; undefined for one that is taken. */
export function checkText<Reason extends string>(text: string, rule: TextRule<Reason>): Reason | undefined {
  const { maxLength } = rule;
  if (trimBlanks(text) === "") return rule.missing;
  if (text.length <= maxLength) return undefined;
  // A code point takes one or two of the units that `length` counts.
  if (text.length > 2 * maxLength) return rule.tooLong;
  return [...text].length > maxLength ? rule.tooLong : undefined;
}

/** The text without the blanks and tabs around it. Other white space is content. */
export function trimBlanks(text: string): string {
  let from = 0;
  let to = text.length;
  while (from < to && isBlank(text.charCodeAt(from))) from++;
  while (to > from && isBlank(text.charCodeAt(to - 1))) to--;
  return from === 0 && to === text.length ? text : text.slice(from, to);
}

const BLANK = 0x20;

function isBlank(code: number): boolean {
  return code === BLANK || code === 0x09;
}

/** Source: PostgreSQL 18 documentation, COPY, text format: these three must not stand bare in a value. */
export function escapeText(text: string, delimiter: string): string {
  if (!text.includes("\\") && !text.includes("\t") && !text.includes(delimiter)) return text;
  const escaped = text.replaceAll("\\", "\\\\").replaceAll("\t", "\\t");
  return delimiter === "\t" ? escaped : escaped.replaceAll(delimiter, `\\${delimiter}`);
}

/** Which bytes stand for themselves, both in a file and in COPY's text format: 1 for each of them. */
export interface PlainBytes {
  readonly ascii: Uint8Array;
  /** For input that is known to be UTF-8. */
  readonly utf8: Uint8Array;
}

export function plainBytes(delimiter: number): PlainBytes {
  const special = new Set([delimiter, '"'.charCodeAt(0), "\\".charCodeAt(0), 0x7f]);
  const below = (limit: number) =>
    Uint8Array.from({ length: 256 }, (_, byte) =>
      byte >= BLANK && byte < limit && !special.has(byte) ? 1 : 0,
    );
  return { ascii: below(0x80), utf8: below(0x100) };
}

/** The offset after a plain text of 1 to `maxBytes` bytes, without a blank in front; -1 for any other. */
export function scanText(plain: Uint8Array, batch: Buffer, at: number, maxBytes: number): number {
  let end = at;
  while (plain[batch[end] ?? 0] === 1) end++;
  const length = end - at;
  return length === 0 || length > maxBytes || batch[at] === BLANK ? -1 : end;
}
