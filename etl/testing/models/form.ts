/**
 * Part of the format model: what a drop says whose form a source gives. It is written from docs/sources.md and
 * docs/design.md ("The drop format") alone, and shares no code with the product.
 */
import { decodeText, type Encoding } from "./charset.ts";
import type { ZoneName } from "./clocks.ts";
import { type ColumnRef, findColumns, type Plan } from "./columns.ts";
import { findContainer, isGzip } from "./container.ts";
import { type ReadLine, readRecords } from "./format.ts";
import { readEpoch, readFormatted } from "./formats.ts";
import { unpack } from "./gzip.ts";
import {
  countCharacters,
  type Decision,
  type Delimiter,
  decideDate,
  decode,
  fits,
  hasControls,
  type Invoice,
  rejected,
  splitCells,
  trim,
  type World,
} from "./line.ts";
import { splitLines } from "./lines.ts";
import { type Refusal, readTotal } from "./money.ts";
import { readNamed } from "./naming.ts";
import { readTime, readUuid, type Time } from "./values.ts";

export interface Form {
  readonly encoding?: Encoding | undefined;
  readonly delimiter?: Delimiter | undefined;
  readonly skip: number;
  readonly header: boolean;
  readonly venueId: { readonly column: ColumnRef } | { readonly constant: string };
  readonly invoiceId: { readonly column: ColumnRef } | { readonly uuid5Of: readonly ColumnRef[] };
  readonly created: {
    readonly columns: readonly ColumnRef[];
    readonly format?: string | undefined;
    readonly epoch?: "seconds" | "milliseconds" | undefined;
    readonly zone?: ZoneName | undefined;
  };
  readonly total: {
    readonly columns: readonly ColumnRef[];
    readonly decimal?: "." | ",";
    readonly thousands?: string | undefined;
    readonly cents?: boolean | undefined;
  };
  readonly conditions: readonly {
    readonly column: ColumnRef;
    readonly values: readonly string[];
    readonly effect: "keep" | "skip";
  }[];
  readonly sumRows: boolean;
}

export type FormDecision = Decision | { readonly kind: "skipped" };

export interface FormLine extends Omit<ReadLine, "decision"> {
  readonly decision: FormDecision;
}

/** What a drop comes to. One that is refused has no lines. */
export interface FormDrop {
  /** UTF-8 without a byte order mark. */
  readonly text: Buffer;
  readonly lines: readonly FormLine[];
  readonly refusal: FormRefusal | undefined;
  /** False of gzip that is not. */
  readonly isWhole: boolean;
}

export interface FormRefusal {
  readonly code: "bad_container" | "bad_encoding" | "bad_header" | "line_too_long";
  readonly line: number | undefined;
}

/** The bytes of a file, which has the form. */
export function readFormed(file: Buffer, isNamedGz: boolean, form: Form, world: World): FormDrop {
  const wasGzip = isGzip(file, isNamedGz);
  const { bytes, isWhole } = wasGzip ? unpack(file) : { bytes: file, isWhole: true };
  const decoded = decodeText(Buffer.from(bytes), form.encoding);
  const { text, faultAt } = decoded ?? { text: Buffer.alloc(0), faultAt: 0 };
  const refuse = (code: FormRefusal["code"], line?: number): FormDrop => ({
    text,
    lines: [],
    refusal: { code, line },
    isWhole,
  });
  if (decoded === undefined) return refuse("bad_encoding");
  if (findContainer(text.subarray(0, faultAt), wasGzip) !== undefined) return refuse("bad_container");
  const { lines, tooLong } = splitLines(text, isWhole);
  const faultLine = faultAt === undefined ? undefined : lineAt(text, faultAt);
  const sound = lines.filter(({ number }) => faultLine === undefined || number < faultLine);
  const plan = findColumns(sound, form, refsOf(form));
  if (plan !== undefined && "badHeader" in plan) return refuse("bad_header", plan.badHeader);
  if (tooLong !== undefined && (faultLine === undefined || tooLong < faultLine))
    return refuse("line_too_long", tooLong);
  if (faultLine !== undefined) {
    const before = (faultAt ?? 0) - (text.lastIndexOf(0x0a, Math.max(0, (faultAt ?? 0) - 1)) + 1);
    return refuse(before > LONGEST ? "line_too_long" : "bad_encoding", faultLine);
  }
  if (isWhole && isUtf8ReadAsBytes(bytes, form)) return refuse("bad_encoding");
  if (plan === undefined) return { text, lines: [], refusal: undefined, isWhole };
  const records = readRecords(sound, { ...plan, layout: plan }, text);
  const read = Array.from(records, (record) => {
    const decision = decideFormed(record.bytes, plan, form, world);
    return decision === undefined ? [] : [{ ...record, decision }];
  }).flat();
  return { text, lines: read, refusal: undefined, isWhole };
}

/** Text in UTF-8, not ASCII alone, whose source says an encoding of one byte a character. */
function isUtf8ReadAsBytes(bytes: Uint8Array, { encoding }: Form): boolean {
  if (encoding !== "windows-1252" && encoding !== "iso-8859-15") return false;
  return bytes.some((byte) => byte >= 0x80) && decode(bytes) !== undefined;
}

/** What can be no line and its end, wherever it would end. */
const LONGEST = 1_048_576 + 2;

function lineAt(text: Buffer, at: number): number {
  return text.subarray(0, at).filter((byte) => byte === 0x0a).length + 1;
}

/** The columns that a row is made of. */
function fieldRefs({ venueId, invoiceId, created, total }: Form): readonly ColumnRef[] {
  const venue = "column" in venueId ? [venueId.column] : [];
  const invoice = "column" in invoiceId ? [invoiceId.column] : invoiceId.uuid5Of;
  return [...venue, ...invoice, ...created.columns, ...total.columns];
}

function refsOf(form: Form): readonly ColumnRef[] {
  return [...fieldRefs(form), ...form.conditions.map(({ column }) => column)];
}

/** As decideRecord in line.ts, by what the source says. */
function decideFormed(record: Uint8Array, plan: Plan, form: Form, world: World): FormDecision | undefined {
  const text = decode(record);
  if (text === undefined || hasControls(record)) return rejected("bad_encoding", null);
  const cells = splitCells(text, plan.delimiter);
  if (cells === undefined) return rejected("broken_quotes", null);
  const textOf = (ref: ColumnRef) => cells[plan.placeOf(ref)] ?? "";
  const isOut = form.conditions.some(({ column, values, effect }) => {
    const cell = cells[plan.placeOf(column)];
    return cell !== undefined && values.includes(trim(cell)) === (effect === "skip");
  });
  if (isOut) return { kind: "skipped" };
  const places = fieldRefs(form).map(plan.placeOf);
  const mayBreak = (index: number) => index < plan.width && !places.includes(index);
  if (cells.some((cell, index) => cell.includes("\n") && !mayBreak(index)))
    return rejected("bad_encoding", null);
  if (!fits(cells, plan.width)) return rejected("wrong_column_count", null);
  if (fieldRefs(form).every((ref) => trim(textOf(ref)) === "")) return undefined;
  return decideFields(textOf, form, world);
}

function decideFields(textOf: (ref: ColumnRef) => string, form: Form, world: World): Decision {
  const { venueId, invoiceId, created } = form;
  const venue = "constant" in venueId ? venueId.constant : textOf(venueId.column);
  if (trim(venue) === "") return rejected("missing_venue", "venue_id");
  if (countCharacters(venue) > 200) return rejected("venue_too_long", "venue_id");
  const uuid =
    "column" in invoiceId
      ? readUuid(trim(textOf(invoiceId.column)))
      : readNamed(["constant" in venueId ? [venueId.constant] : [], invoiceId.uuid5Of.map(textOf)].flat());
  if (uuid === undefined) return rejected("bad_uuid", "invoice_id");
  const time = readCreated(created.columns.map(textOf).map(trim).join(" "), created);
  if (time === undefined) return rejected("bad_timestamp", "datetime_created");
  const cents = addUp(form.total.columns.map(textOf).map(trim), form.total, world);
  if (typeof cents === "string") return rejected(cents, "total");
  return decideDate({ venue, uuid, time, cents }, world, created.zone);
}

function readCreated(text: string, { format, epoch }: Form["created"]): Time | undefined {
  if (epoch !== undefined) return readEpoch(text, epoch);
  return format === undefined ? readTime(text) : readFormatted(text, format);
}

const REFUSALS: readonly Refusal[] = ["bad_total", "ambiguous_total", "sub_cent_total"];
const TOO_LARGE = 100_000_000_000_000n;

/** Each is a total of its own, a blank one 0 unless all are; of several that are refused the first reason counts. */
function addUp(texts: readonly string[], total: Form["total"], world: World): bigint | Refusal {
  const decimalComma = total.decimal === undefined ? world.decimalComma : total.decimal === ",";
  let sum = 0n;
  const refused: Refusal[] = [];
  for (const text of texts) {
    if (text === "" && texts.some((other) => other !== "")) continue;
    const cents = readTotal(text, decimalComma, total);
    if (typeof cents === "string") refused.push(cents);
    else sum += cents;
  }
  if (refused.length > 0) return REFUSALS.find((each) => refused.includes(each)) ?? "bad_total";
  return sum >= TOO_LARGE || sum <= -TOO_LARGE ? "bad_total" : sum;
}

/**
 * What remains of the lines of a drop when rows of one invoice are added: one for each key, with the sum of
 * their totals and the earliest of their times.
 */
export function addRows(lines: readonly FormLine[]): readonly Invoice[] {
  const byKey = new Map<string, Invoice>();
  for (const { decision } of lines) {
    if (decision.kind !== "taken") continue;
    const { venue, uuid, createdOn, instant, cents } = decision.invoice;
    const key = [createdOn, uuid, venue].join("\0");
    const known = byKey.get(key);
    if (known === undefined) byKey.set(key, decision.invoice);
    else {
      const earliest = instant < known.instant ? instant : known.instant;
      byKey.set(key, { ...known, instant: earliest, cents: known.cents + cents });
    }
  }
  return [...byKey.values()];
}
