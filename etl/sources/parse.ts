/** Makes a source of the text of its file, or says all that is wrong with it. */
import { createHash } from "node:crypto";
import * as v from "valibot";
import type { ColumnRef, Condition, Form } from "../drop/form.ts";
import { COLUMNS, type Column } from "../drop/row.ts";
import { printable } from "../escape.ts";
import {
  type Fault,
  type Path,
  type Plain,
  type PlainMap,
  readDocument,
  type SourceDocument,
} from "./document.ts";
import { type Keys, SCHEMA } from "./schema.ts";
import type { Source, SyncDateRule } from "./source.ts";

export type ParsedSource =
  | { readonly kind: "source"; readonly source: Source }
  /** Each names file, line, key and remedy, on one line. */
  | { readonly kind: "refused"; readonly faults: readonly string[] };

/** More than these are not listed: whoever mends them looks again. */
const MAX_FAULTS = 20;

/**
 * @param options.file the path of the file, for messages
 * @param options.bytes UTF-8
 */
export function parseSource(options: {
  readonly name: string;
  readonly file: string;
  readonly bytes: Buffer;
}): ParsedSource {
  const { name, file, bytes } = options;
  const text = decode(bytes);
  if (text === undefined) {
    return { kind: "refused", faults: [`${printable(file)}: is not UTF-8: save it as UTF-8`] };
  }
  const document = readDocument(text);
  const { keys, faults } = checkKeys(document);
  if (keys === undefined || faults.length > 0) {
    return { kind: "refused", faults: describeFaults(file, faults) };
  }
  const sha256 = createHash("sha256").update(bytes).digest();
  return { kind: "source", source: toSource({ name, file, sha256, keys, lineOf: document.lineOf }) };
}

function decode(bytes: Buffer): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

function checkKeys(document: SourceDocument): {
  readonly keys?: Keys | undefined;
  readonly faults: readonly Fault[];
} {
  const { value, lineOf } = document;
  if (!document.readable) return { faults: document.faults };
  if (value === null) {
    const message = "nothing stands in it: a source has at least the key files";
    return { faults: [...document.faults, { line: 1, path: [], message }] };
  }
  const faults = [...document.faults];
  const known = new Set(faults.map(({ line }) => line));
  const add = (fault: Fault) => {
    // What is no text, map or list has been told.
    if (!known.has(fault.line) || fault.path.length === 0) faults.push(fault);
  };
  const { keys, faults: found } = validate(value, lineOf);
  for (const fault of found) add(fault);
  if (keys !== undefined) for (const fault of findNames(keys, lineOf)) add(fault);
  return { keys, faults };
}

type LineOf = (path: Path) => number;

function validate(
  value: Plain,
  lineOf: LineOf,
): { readonly keys?: Keys | undefined; readonly faults: readonly Fault[] } {
  const faults: Fault[] = [];
  let rest = value;
  for (;;) {
    const result = v.safeParse(SCHEMA, rest);
    if (result.success) return { keys: result.output, faults };
    const unknown = result.issues.filter(({ expected }) => expected === "never");
    const final = unknown.length === 0 || faults.length > MAX_FAULTS;
    for (const issue of final ? result.issues : unknown) {
      const path = (issue.path ?? []).map(({ key }) => key as string | number);
      const message = issue.input === null ? "has no value: write one, or remove the key" : issue.message;
      faults.push({ line: lineOf(path), path, message });
      if (issue.expected === "never") rest = without(rest, path);
    }
    if (final) return { faults };
  }
}

/** The same without the key at a path. */
function without(value: Plain, [step = "", ...path]: Path): Plain {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map((item, index) => (index === step ? without(item, path) : item));
  const rest: Record<string, Plain> = Object.assign(Object.create(null), value);
  const next = rest[step];
  if (path.length === 0 || next === undefined) delete rest[step];
  else rest[step] = without(next, path);
  return rest as PlainMap;
}

/** Where a column is named although no line of the file names columns. */
function findNames(keys: Keys, lineOf: LineOf): readonly Fault[] {
  if (keys.header !== false) return [];
  const { columns = {}, invoice_id, total, keep = [], skip_when = [], void_when = [] } = keys;
  const { venue_id, ...others } = columns;
  const used: readonly (readonly [Path, unknown])[] = [
    [["columns", "venue_id"], venue_id],
    ...Object.entries(others).map(([key, refs]) => [["columns", key], refs] as const),
    [["invoice_id", "uuid5_of"], invoice_id?.uuid5_of],
    [["total", "sum_of"], total?.sum_of],
    [["keep"], keep.map(([column]) => column)],
    [["skip_when"], skip_when.map(([column]) => column)],
    [["void_when"], void_when.map(([column]) => column)],
  ];
  return used.flatMap(([path, refs]) => {
    const name = [refs].flat().find((ref) => typeof ref === "string");
    if (name === undefined) return [];
    const message = `names the column ${quote(name)}, but header is false: write the column's number, from 1`;
    return [{ line: lineOf(path), path, message }];
  });
}

const quote = (text: string) => JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}...` : text);

function describeFaults(file: string, faults: readonly Fault[]): readonly string[] {
  const sorted = faults.toSorted((a, b) => a.line - b.line);
  const said = sorted.slice(0, MAX_FAULTS).map(({ line, path, message }) => {
    const key = path.filter((step) => typeof step === "string").map((step) => step.slice(0, 60));
    return printable([`${file}:${line}`, ...(key.length > 0 ? [key.join(".")] : []), message].join(": "));
  });
  const more = sorted.length - said.length;
  return more === 0 ? said : [...said, `${printable(file)}: and ${more} more`];
}

function toSource(options: {
  readonly name: string;
  readonly file: string;
  readonly sha256: Buffer;
  readonly keys: Keys;
  readonly lineOf: LineOf;
}): Source {
  const { keys, lineOf, ...its } = options;
  const { venue_id, synced_on, sync_slack, max_rejects, total } = keys;
  return {
    ...its,
    files: keys.files,
    filesLine: lineOf(["files"]),
    form: toForm(keys),
    venueFromPath: venue_id && { pattern: venue_id.from_path, line: lineOf(["venue_id", "from_path"]) },
    syncedOn: synced_on && toSyncDateRule(synced_on, lineOf(["synced_on", "pattern"])),
    syncSlack: sync_slack,
    maxRejects: total?.sum_rows ? { share: 0, lines: 0 } : max_rejects,
    replaceVenueDays: keys.replace_venue_days ?? false,
  };
}

function toSyncDateRule(rule: NonNullable<Keys["synced_on"]>, line: number): SyncDateRule {
  const { from, pattern } = rule;
  return from === "mtime" || pattern === undefined ? { from: "mtime" } : { from, pattern, line };
}

function toForm(keys: Keys): Form {
  const { header = true, columns = {}, total = {}, keep = [], skip_when = [], void_when = [] } = keys;
  /** Where nothing says it: a column by its own name, or without names by its place. */
  const own = (column: Column): ColumnRef => (header ? column : COLUMNS.indexOf(column) + 1);
  return {
    encoding: keys.encoding,
    delimiter: keys.delimiter,
    skip: keys.skip ?? 0,
    header,
    venueId: toVenueId(keys, own("venue_id")),
    invoiceId: keys.invoice_id
      ? { uuid5Of: keys.invoice_id.uuid5_of }
      : { column: columns.invoice_id ?? own("invoice_id") },
    created: {
      columns: columns.datetime_created ?? [own("datetime_created")],
      format: keys.datetime_created?.format,
      epoch: toEpoch(keys.datetime_created ?? {}),
      zone: keys.datetime_created?.zone,
    },
    total: {
      columns: total.sum_of ?? [columns.total ?? own("total")],
      ...(total.decimal && { decimal: total.decimal }),
      thousands: total.thousands,
      cents: total.cents,
    },
    conditions: [
      ...toConditions(keep, "keep"),
      ...toConditions(skip_when, "skip"),
      ...toConditions(void_when, "void"),
    ],
    sumRows: total.sum_rows ?? false,
  };
}

function toVenueId({ venue_id, columns }: Keys, own: ColumnRef): Form["venueId"] {
  // The venue of a path is set when the path is known.
  if (venue_id !== undefined) return { constant: "" };
  const of = columns?.venue_id ?? own;
  return typeof of === "object" ? of : { column: of };
}

function toEpoch(created: NonNullable<Keys["datetime_created"]>): Form["created"]["epoch"] {
  if (created.epoch_seconds) return "seconds";
  return created.epoch_milliseconds ? "milliseconds" : undefined;
}

function toConditions(
  conditions: NonNullable<Keys["keep"]>,
  effect: Condition["effect"],
): readonly Condition[] {
  return conditions.map(([column, values]) => ({ column, values, effect }));
}
