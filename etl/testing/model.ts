/**
 * The rules of DESIGN.md section 8 once more, slow and by other means than etl/drop/validate.ts and etl/drop/recognise.ts,
 * for tests to hold both against.
 */
import type { Column, DateThreshold, LineRules } from "../drop/validate.ts";

/** What a line says, whatever its form: the venue, 32 hexadecimal digits, clock and microsecond, cents. */
export interface Meaning {
  readonly venue: string;
  readonly invoice: string;
  readonly created: string;
  readonly cents: bigint;
}

/** Decides one line that is not empty: what it means, or the reason why it is refused. */
export function decideByModel(options: {
  readonly line: Buffer;
  readonly delimiter: string;
  readonly columns: readonly string[];
  readonly rules: LineRules;
}): Meaning | string {
  const { line, delimiter, columns, rules } = options;
  const text = decode(line);
  if (text === undefined || /(?!\t)\p{Cc}/u.test(text.replace(/[\u0080-\u009f]/g, ""))) return "bad_encoding";
  const cells = split(text, delimiter);
  if (cells === undefined) return "broken_quotes";
  if (cells.length !== columns.length) return "wrong_column_count";
  const cell = (column: Column) => cells[columns.indexOf(column)] ?? "";
  const trimmed = (column: Column) =>
    cell(column)
      .replace(/^[ \t]+/, "")
      .replace(/[ \t]+$/, "");

  const venue = cell("venue_id");
  if (/^[ \t]*$/.test(venue)) return "missing_venue";
  if (Array.from(venue).length > 200) return "venue_too_long";
  const invoice = parseUuid(trimmed("invoice_id"));
  if (invoice === undefined) return "bad_uuid";
  const created = parseTime(trimmed("datetime_created"));
  if (created === undefined) return "bad_timestamp";
  const cents = parseCents(trimmed("total"), rules.decimalComma);
  if (typeof cents === "string") return cents;
  const from = (threshold: DateThreshold) =>
    threshold[created.clock].filter((second) => BigInt(second) * 1_000_000n <= created.micros).length % 2 ===
    1;
  if (!from(rules.earliest)) return "created_before_earliest";
  if (from(rules.afterSync)) return "created_after_sync";
  if (rules.closed.some((range) => from(range.from) && !from(range.to))) return "partition_closed";
  return { venue, invoice, created: `${created.clock} ${created.micros}`, cents };
}

function decode(line: Buffer): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(line);
  } catch {
    return undefined;
  }
}

function split(text: string, delimiter: string): string[] | undefined {
  const field = new RegExp(`(?:"((?:[^"]|"")*)"|([^"${delimiter}]*))(${delimiter}|$)`, "y");
  const cells: string[] = [];
  for (;;) {
    const match = field.exec(text);
    if (match === null) return undefined;
    cells.push(match[1]?.replace(/""/g, '"') ?? match[2] ?? "");
    if (match[3] === "") return cells;
  }
}

/** PostgreSQL's `string_to_uuid`, step by step. */
function parseUuid(source: string): string | undefined {
  let rest = source;
  const braces = rest[0] === "{";
  if (braces) rest = rest.slice(1);
  let digits = "";
  for (let byte = 0; byte < 16; byte++) {
    if (!/^[0-9A-Fa-f][0-9A-Fa-f]/.test(rest)) return undefined;
    digits += rest.slice(0, 2).toLowerCase();
    rest = rest.slice(2);
    if (rest[0] === "-" && byte % 2 === 1 && byte < 15) rest = rest.slice(1);
  }
  if (rest !== (braces ? "}" : "")) return undefined;
  return digits;
}

const DATE = /^(?<y>[0-9]{4})-(?<m>[0-9]{2})-(?<d>[0-9]{2})(?<more>.*)$/s;
const CLOCK = /^[T ](?<h>[0-9]{2}):(?<i>[0-9]{2})(?<more>.*)$/s;
const SECONDS = /^:(?<s>[0-9]{2})(?<more>.*)$/s;
const FRACTION = /^\.(?<f>[0-9]{1,9})(?<more>.*)$/s;
const OFFSET = /^(?<sign>[+-])(?<h>[0-9]{2})(?::?(?<i>[0-9]{2}))?$/;

function parseTime(text: string): { clock: "walls" | "instants"; micros: bigint } | undefined {
  const date = DATE.exec(text)?.groups;
  if (date === undefined) return undefined;
  const clock = CLOCK.exec(date.more ?? "")?.groups;
  if (clock === undefined && date.more !== "") return undefined;
  const seconds = SECONDS.exec(clock?.more ?? "")?.groups;
  const fraction = FRACTION.exec(seconds?.more ?? "")?.groups;
  const zone = fraction?.more ?? seconds?.more ?? clock?.more ?? "";
  const offset = OFFSET.exec(zone)?.groups;
  if (zone !== "" && zone !== "Z" && offset === undefined) return undefined;
  const [hour, minute, second] = [clock?.h ?? "00", clock?.i ?? "00", seconds?.s ?? "00"];
  if (hour >= "24" || minute >= "60" || second >= "60" || date.y === "0000") return undefined;
  if ((offset?.h ?? "00") > "15" || (offset?.i ?? "00") > "59") return undefined;
  // JavaScript moves a date that does not exist to one that does.
  const iso = new Date(`${date.y}-${date.m}-01T${hour}:${minute}:${second}Z`);
  if (Number.isNaN(iso.getTime())) return undefined;
  iso.setUTCDate(Number(date.d));
  if (iso.getUTCDate() !== Number(date.d) || iso.getUTCMonth() + 1 !== Number(date.m)) return undefined;
  const away =
    BigInt(Number(offset?.h ?? 0) * 60 + Number(offset?.i ?? 0)) * (offset?.sign === "-" ? -60n : 60n);
  const micros = BigInt((fraction?.f ?? "").slice(0, 6).padEnd(6, "0"));
  const whole = BigInt(iso.getTime() / 1000) - away;
  return { clock: zone === "" ? "walls" : "instants", micros: whole * 1_000_000n + micros };
}

function parseCents(text: string, decimalComma: boolean): bigint | string {
  const point = decimalComma ? text.replace(",", ".") : text;
  if (decimalComma && /[.,].*[.,]/s.test(text)) return "bad_total";
  const [mantissa = "", exponent, ...others] = point.split(/[eE]/);
  const [whole = "", fraction = "", ...more] = mantissa.replace(/^[+-]/, "").split(".");
  if (others.length > 0 || more.length > 0 || !/^[0-9]+$/.test(whole + fraction)) return "bad_total";
  if (exponent !== undefined && !/^[+-]?[0-9]{1,4}$/.test(exponent)) return "bad_total";
  // The size is above / below, as exact as any fraction.
  const power = Number(exponent ?? 0) - fraction.length;
  const above = BigInt(whole + fraction) * 10n ** BigInt(Math.max(power, 0));
  const below = 10n ** BigInt(Math.max(-power, 0));
  if (above >= 10n ** 12n * below) return "bad_total";
  const cents = (above * 200n + below) / (2n * below);
  const difference = above * 100n - cents * below;
  const size = difference < 0n ? -difference : difference;
  if (size * 10_000n > below) return "sub_cent_total";
  if (cents >= 10n ** 14n) return "bad_total";
  return mantissa.startsWith("-") ? -cents : cents;
}

/** What rows of COPY's text format mean to PostgreSQL. `columns`: in their order in the rows. */
export function readCopyRows(options: {
  readonly copy: Buffer;
  readonly delimiter: string;
  readonly columns: readonly string[];
}): Meaning[] {
  const { copy, delimiter, columns } = options;
  const lines = copy.toString("utf8").split("\n");
  if (lines.pop() !== "") throw new Error("the last row has no line feed");
  return lines.map((line) => {
    const cells = splitCopy(line, delimiter);
    if (cells.length !== columns.length) throw new Error(`a row of ${cells.length} cells: ${line}`);
    const cell = (column: Column) => cells[columns.indexOf(column)] ?? "";
    const [invoice, created, total] = [cell("invoice_id"), cell("datetime_created"), cell("total")];
    const isCanonical =
      /^[0-9a-f]{8}(-[0-9a-f]{4}){4}[0-9a-f]{8}$/.test(invoice) &&
      /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)?$/.test(created) &&
      /^-?\d{1,12}\.\d\d$/.test(total) &&
      total !== "-0.00";
    const time = parseTime(created);
    if (!isCanonical || time === undefined) throw new Error(`no canonical row: ${line}`);
    return {
      venue: cell("venue_id"),
      invoice: invoice.replaceAll("-", ""),
      created: `${time.clock} ${time.micros}`,
      cents: BigInt(total.replace(".", "")),
    };
  });
}

/** Source: PostgreSQL 18 documentation, COPY, text format. */
function splitCopy(line: string, delimiter: string): string[] {
  const cells = [""];
  for (const [token] of line.matchAll(/\\.|[^\\]/gsu)) {
    const value = token === "\\t" ? "\t" : token.replace(/^\\/, "");
    if (token === delimiter) cells.push("");
    else cells.push(cells.pop() + value);
  }
  return cells;
}
