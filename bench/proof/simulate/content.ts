/** Writes a simulated drop as a file. */
import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import { euros } from "../../../etl/testing/models/money.ts";
import { type BadLine, type Content, type Drop, FIRST_DAY, type Line, NAMES, VENUES } from "./history.ts";

const DAY_MS = 86_400_000;
const FIRST_MS = Date.parse(`${FIRST_DAY}T00:00:00Z`);
const NAMES_OF_COLUMNS = ["venue_id", "invoice_id", "datetime_created", "total"];

export function dateOf(day: number): string {
  return new Date(FIRST_MS + day * DAY_MS).toISOString().slice(0, 10);
}

/** The file's name; of a drop without a sync date one that has none. */
export function nameOf(drop: Drop, content: Content): string {
  const date = content.spoiled === "no_sync_date" ? "undated" : dateOf(drop.syncDay);
  const written = drop.name % 2 === 0 ? date : date.replaceAll("-", "");
  const name = (NAMES[drop.name] ?? NAMES[0]).replace("%", written);
  return isPacked(content) ? `${name}.gz` : name;
}

function isPacked({ gzip, spoiled }: Content): boolean {
  return gzip || spoiled === "truncated";
}

/** Without a header the first line tells the delimiter, so it has to be a good one, and there is no fifth column. */
function hasHeader({ header, delimiter, lines, spoiled, says }: Content): boolean {
  return (
    header ||
    says !== "nothing" ||
    delimiter !== "," ||
    spoiled === "bad_header" ||
    typeof lines[0] === "string"
  );
}

export interface WrittenContent {
  /** The bytes of the file. */
  readonly file: Buffer;
  /** They are these, packed or not. */
  readonly text: Buffer;
}

export function writeContent(content: Content, timeZone: string): WrittenContent {
  const end = content.crlf ? "\r\n" : "\n";
  const names = content.spoiled === "bad_header" ? ["store", ...NAMES_OF_COLUMNS.slice(1)] : NAMES_OF_COLUMNS;
  // A fifth column, which is named after what the drop says: so none that says something else has the same bytes.
  const more = (cell: string) => (content.says === "nothing" ? [] : [cell]);
  const lines = hasHeader(content) ? [[...names, ...more(content.says)].join(content.delimiter)] : [];
  for (const line of content.lines) {
    const cells = [...cellsOf(line, timeZone), ...more(isVoidLine(line) ? "void" : "paid")];
    lines.push(cells.join(content.delimiter));
  }
  // One byte a character but for what UTF-8 makes of them: the one bad byte is put in afterwards.
  const text = Buffer.from(lines.map((line) => line + end).join(""));
  const bytes = Buffer.from(text.toString("latin1").replaceAll(BAD_BYTE_MARK, "\xff"), "latin1");
  if (!isPacked(content)) return { file: bytes, text: bytes };
  const packed = gzipSync(bytes);
  const cut = content.spoiled === "truncated" ? 6 : 0;
  return { file: packed.subarray(0, packed.length - cut), text: bytes };
}

export function isVoidLine(line: Line | BadLine | undefined): boolean {
  return typeof line === "object" && line.isVoid;
}

/** Whether what reads the drop knows void lines. */
export function knowsVoid({ says }: Content, isRetry: boolean): boolean {
  return says === "void" || says === "whole and void" || (isRetry && says === "void to a retry");
}

/** Whether the drop says that it is all there is for its venues and dates. */
export function isWhole({ says }: Content): boolean {
  return says === "whole" || says === "whole and void";
}

/** Stands for a byte that no UTF-8 has, until the text is bytes. */
const BAD_BYTE_MARK = "BADBYTE";

function msOf({ day, second }: Line): number {
  return FIRST_MS + day * DAY_MS + second * 1000;
}

function uuidOf(invoice: number): string {
  const hex = createHash("md5").update(String(invoice)).digest("hex");
  return hex.replace(/(.{8})(.{4})(.{4})(.{4})(.{12})/, "$1-$2-$3-$4-$5");
}

function cellsOf(line: Line | BadLine, timeZone: string): readonly string[] {
  if (typeof line === "string") return badCells(line);
  return [
    quoted(VENUES[line.venue] ?? ""),
    writeUuid(uuidOf(line.invoice), Math.floor(line.form / 20) % 3),
    writeTimestamp(line, timeZone),
    line.comma
      ? `"${euros(line.cents).replace(".", ",")}"`
      : writeTotal(line.cents, Math.floor(line.form / 4) % 5),
  ];
}

function badCells(reason: BadLine): readonly string[] {
  const uuid = uuidOf(0);
  const at = "2026-03-20T12:00:00Z";
  switch (reason) {
    case "bad_encoding":
      return [`v${BAD_BYTE_MARK}`, uuid, at, "1.00"];
    case "broken_quotes":
      return ['"v', uuid, at, "1.00"];
    case "wrong_column_count":
      return ["v", uuid];
    case "missing_venue":
      return ["", uuid, at, "1.00"];
    case "venue_too_long":
      return ["x".repeat(201), uuid, at, "1.00"];
    case "bad_uuid":
      return ["v", "12345", at, "1.00"];
    case "bad_timestamp":
      return ["v", uuid, "2026-02-30T12:00:00Z", "1.00"];
    case "bad_total":
      return ["v", uuid, at, "NaN"];
    case "sub_cent_total":
      return ["v", uuid, at, "1.005"];
    case "created_before_earliest":
      return ["v", uuid, "1999-12-30T12:00:00Z", "1.00"];
  }
}

function quoted(venue: string): string {
  return /["',;\t]/.test(venue) ? `"${venue.replaceAll('"', '""')}"` : venue;
}

function writeUuid(uuid: string, form: number): string {
  if (form === 1) return uuid.toUpperCase();
  return form === 2 ? `{${uuid.replaceAll("-", "")}}` : uuid;
}

function timestampForm({ form }: Line): number {
  return form % 4;
}

function writeTimestamp(line: Line, timeZone: string): string {
  const ms = msOf(line);
  const utc = new Date(ms).toISOString().slice(0, 19);
  switch (timestampForm(line)) {
    case 1:
      return `${new Date(ms + 2 * 3_600_000).toISOString().slice(0, 19).replace("T", " ")}+02:00`;
    case 2:
      return isPlain(ms, timeZone) ? localTime(ms, timeZone) : `${utc}Z`;
    case 3:
      return `${utc}.123456789Z`;
    default:
      return `${utc}Z`;
  }
}

function writeTotal(cents: number, form: number): string {
  switch (form) {
    case 1:
      return cents < 0 ? euros(cents) : `+${euros(cents)}`;
    case 2:
      return `${cents}e-2`;
    case 3:
      return ` ${euros(cents)} `;
    case 4:
      return `${euros(cents)}0000`;
    default:
      return euros(cents);
  }
}

const clocks = new Map<string, Intl.DateTimeFormat>();

/** Wall-clock time, `YYYY-MM-DDTHH:MM:SS`, by Node's time zones, not by PostgreSQL's. */
function localTime(ms: number, timeZone: string): string {
  let clock = clocks.get(timeZone);
  if (clock === undefined) {
    clock = new Intl.DateTimeFormat("sv-SE", {
      timeZone,
      dateStyle: "short",
      timeStyle: "medium",
    });
    clocks.set(timeZone, clock);
  }
  return clock.format(ms).replace(" ", "T");
}

/** No change of the clock is near, so the wall-clock time stands for one instant. */
function isPlain(ms: number, timeZone: string): boolean {
  const offset = (at: number) => Date.parse(`${localTime(at, timeZone)}Z`) - at;
  return offset(ms - DAY_MS) === offset(ms + DAY_MS);
}
