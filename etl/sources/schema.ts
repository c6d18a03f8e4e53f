/** The schema of a source. Its input is the plain data of document.ts: every scalar is a text. The rules: docs/sources.md. */
import { IANAZone } from "luxon";
import * as v from "valibot";
import type { Delimiter } from "../drop/cells.ts";
import { type ColumnRef, ENCODINGS } from "../drop/form.ts";
import type { Column } from "../drop/row.ts";
import { trimBlanks } from "../drop/value/text.ts";
import { checkGlob } from "./glob.ts";
import { compileDatePattern, compileVenuePattern, type PatternResult } from "./pattern.ts";
import { readRejectLimit } from "./reject_limit.ts";
import { checkTimeFormat } from "./time_format.ts";
import { checkVenue } from "./venue.ts";

const isMap = (input: unknown): input is object =>
  typeof input === "object" && input !== null && !Array.isArray(input);

/**
 * A map with these keys and no others. valibot reports one unknown key at a time.
 *
 * @param instead what may stand there as well, for the message
 */
function closed<const Entries extends v.ObjectEntries>(entries: Entries, instead = "") {
  const keys = Object.keys(entries).join(", ");
  return v.pipe(
    v.custom<object>(isMap, `must be a map with the keys ${keys}${instead}`),
    v.strictObject(entries, ({ expected, received }) =>
      expected === "never"
        ? `there is no key ${received}: the keys here are ${keys}`
        : `the key ${expected} is missing: add it`,
    ),
  );
}

/** Many write the column here. */
const inColumns = (key: Column) => `: a column alone is columns.${key}`;

/** A text that a function turns into a value, or refuses with a message. */
function read<T>(
  message: string,
  turn: (text: string) => { readonly value: T } | { readonly fault: string },
) {
  return v.pipe(
    v.string(message),
    v.rawTransform<string, T>(({ dataset, addIssue, NEVER }) => {
      const result = turn(dataset.value);
      if ("value" in result) return result.value;
      addIssue({ message: result.fault });
      return NEVER;
    }),
  );
}

/** A text that a function checks: it returns what is wrong. */
const checked = (message: string, fault: (text: string) => string | undefined) =>
  read(message, (text) => {
    const found = fault(text);
    return found === undefined ? { value: text } : { fault: found };
  });

/** One value, or a list of them. */
function oneOrMore<Item extends v.GenericSchema<unknown, unknown>>(item: Item, message: string) {
  return v.pipe(
    v.unknown(),
    v.transform((input) => (Array.isArray(input) ? input : [input])),
    v.array(item),
    v.minLength(1, message),
  );
}

const choice = <T>(message: string, values: ReadonlyMap<string, T>) =>
  read(message, (text) => (values.has(text) ? { value: values.get(text) as T } : { fault: message }));

const flag = choice(
  "must be true or false",
  new Map([
    ["true", true],
    ["false", false],
  ]),
);

const whole = (message: string) =>
  read(message, (text) => (/^\d{1,6}$/.test(text) ? { value: Number(text) } : { fault: message }));

const COLUMN = "must be a column's name, or its number from 1";

const column = read<ColumnRef>(COLUMN, (text) => {
  const name = trimBlanks(text);
  const number = /^\d{1,4}$/.test(name) ? Number(name) : undefined;
  return name === "" || number === 0 ? { fault: COLUMN } : { value: number ?? name };
});

const columns = oneOrMore(column, "is an empty list: name a column");

const constant = checked("must be the venue's id, one text", checkVenue);

/** A column, or `{constant: TEXT}`. */
const columnOrConstant = v.lazy((input) =>
  typeof input === "object" && input !== null ? closed({ constant }, ", or a column") : column,
) as v.GenericSchema<unknown, ColumnRef | { constant: string }>;

const pattern = (compile: (text: string) => PatternResult) =>
  read("must be a regular expression, one text in single quotes", (text) => {
    const result = compile(text);
    return result.kind === "pattern" ? { value: result.pattern } : { fault: result.message };
  });

const ENCODING = `must be one of ${ENCODINGS.join(", ")}`;
const encoding = v.pipe(v.string(ENCODING), v.toLowerCase(), v.picklist(ENCODINGS, ENCODING));

const delimiter = choice<Delimiter>(
  'must be one of "," and ";" and "|" in quotes, or tab',
  new Map([
    [",", ","],
    [";", ";"],
    ["|", "|"],
    ["\t", "\t"],
    ["\\t", "\t"],
    ["tab", "\t"],
  ]),
);

const VALUES = 'must be a value or a list of values: "" is that of a blank cell';
const conditions = v.pipe(
  v.custom<object>(
    isMap,
    "must be a map from columns to their values, for example {Status: [paid, refunded]}",
  ),
  v.transform((map) => new Map<unknown, unknown>(Object.entries(map))),
  v.map(column, oneOrMore(v.pipe(v.string(VALUES), v.transform(trimBlanks)), VALUES)),
  v.transform((map) => [...map]),
);

const created = v.pipe(
  closed(
    {
      format: v.optional(checked("must be a format by Luxon's tokens, one text", checkTimeFormat)),
      epoch_seconds: v.optional(flag),
      epoch_milliseconds: v.optional(flag),
      zone: v.optional(
        checked("must be the name of a time zone", (zone) =>
          IANAZone.isValidZone(zone)
            ? undefined
            : `there is no time zone ${JSON.stringify(zone)}: write a name of the IANA list, for example America/New_York`,
        ),
      ),
    },
    inColumns("datetime_created"),
  ),
  v.partialCheck(
    [["format"], ["epoch_seconds"], ["epoch_milliseconds"]],
    ({ format, epoch_seconds, epoch_milliseconds }) =>
      [format !== undefined, epoch_seconds, epoch_milliseconds].filter(Boolean).length <= 1,
    "must have at most one of format, epoch_seconds and epoch_milliseconds",
  ),
  v.forward(
    v.partialCheck(
      [["zone"], ["epoch_seconds"], ["epoch_milliseconds"]],
      ({ zone, epoch_seconds, epoch_milliseconds }) =>
        zone === undefined || !(epoch_seconds || epoch_milliseconds),
      "is of no use: seconds since 1970 are the same in all zones. Remove it",
    ),
    ["zone"],
  ),
);

const THOUSANDS = `must be one of "." and "," and "'" and "\u2019", a blank, or a no-break blank, in quotes`;
const thousands = v.picklist([".", ",", "'", "\u2019", " ", "\u00a0", "\u202f"], THOUSANDS);

const DECIMAL = 'must be "." or ",", in quotes';
const total = v.pipe(
  closed(
    {
      decimal: v.optional(v.picklist([".", ","], DECIMAL)),
      thousands: v.optional(thousands),
      cents: v.optional(flag),
      sum_of: v.optional(columns),
      sum_rows: v.optional(flag),
    },
    inColumns("total"),
  ),
  v.forward(
    v.partialCheck(
      [["decimal"], ["thousands"]],
      (of) => of.thousands === undefined || of.thousands !== of.decimal,
      "is the decimal mark, too: one of them must be another",
    ),
    ["thousands"],
  ),
  // Without it, the mark would be the load's, which may be the same.
  v.forward(
    v.partialCheck(
      [["decimal"], ["thousands"]],
      (of) => !(of.thousands === "." || of.thousands === ",") || of.decimal !== undefined,
      "needs the key decimal beside it, with the other mark",
    ),
    ["thousands"],
  ),
);

const FROM = "must be name, path or mtime";
/** `mtime` alone is short for `from: mtime`. */
const syncedOn = v.pipe(
  v.unknown(),
  v.transform((input) => (input === "mtime" ? { from: input } : input)),
  closed(
    {
      from: v.picklist(["name", "path", "mtime"], FROM),
      pattern: v.optional(pattern(compileDatePattern)),
    },
    ", or mtime",
  ),
  v.forward(
    v.partialCheck(
      [["from"], ["pattern"]],
      (rule) => rule.from !== "mtime" || rule.pattern === undefined,
      "is of no use with from: mtime. Remove it",
    ),
    ["pattern"],
  ),
  v.partialCheck(
    [["from"], ["pattern"]],
    (rule) => rule.from === "mtime" || rule.pattern !== undefined,
    "needs the key pattern: where year, month and day are",
  ),
);

const maxRejects = read("must be a share of 0 to 1", (text) => {
  const limit = readRejectLimit(text);
  return limit === undefined
    ? { fault: "must be a share of 0 to 1, for example 0.01, or 0.01+3 for three lines in any case" }
    : { value: limit };
});

const keys = closed({
  files: oneOrMore(checked("must be a glob, one text", checkGlob), "is an empty list: write a glob"),
  encoding: v.optional(encoding),
  delimiter: v.optional(delimiter),
  skip: v.optional(whole("must be a whole number of lines")),
  header: v.optional(flag),
  columns: v.optional(
    closed({
      venue_id: v.optional(columnOrConstant),
      invoice_id: v.optional(column),
      datetime_created: v.optional(columns),
      total: v.optional(
        v.pipe(
          v.unknown(),
          v.check((input) => !Array.isArray(input), "is one column: several are total.sum_of"),
          column,
        ),
      ),
    }),
  ),
  venue_id: v.optional(closed({ from_path: pattern(compileVenuePattern) }, inColumns("venue_id"))),
  invoice_id: v.optional(closed({ uuid5_of: columns }, inColumns("invoice_id"))),
  datetime_created: v.optional(created),
  total: v.optional(total),
  keep: v.optional(conditions),
  skip_when: v.optional(conditions),
  void_when: v.optional(conditions),
  synced_on: v.optional(syncedOn),
  sync_slack: v.optional(whole("must be a whole number of days")),
  max_rejects: v.optional(maxRejects),
  replace_venue_days: v.optional(flag),
});

export const SCHEMA = v.pipe(
  keys,
  v.forward(
    v.partialCheck(
      [["columns"], ["venue_id"]],
      (source) => source.columns?.venue_id === undefined || source.venue_id === undefined,
      "is columns.venue_id, too: remove one of them",
    ),
    ["venue_id"],
  ),
  v.forward(
    v.partialCheck(
      [["columns"], ["invoice_id"]],
      (source) => source.columns?.invoice_id === undefined || source.invoice_id === undefined,
      "is columns.invoice_id, too: remove one of them",
    ),
    ["invoice_id"],
  ),
  v.forward(
    v.partialCheck(
      [["columns"], ["total"]],
      (source) => source.columns?.total === undefined || source.total?.sum_of === undefined,
      "is columns.total, too: remove one of them",
    ),
    ["total", "sum_of"],
  ),
  v.forward(
    v.partialCheck(
      [["total"], ["max_rejects"]],
      ({ total, max_rejects: limit }) =>
        !total?.sum_rows || limit === undefined || (limit.share === 0 && limit.lines === 0),
      "must be 0 with total.sum_rows: an invoice without one of its rows would have a wrong total",
    ),
    ["max_rejects"],
  ),
  v.forward(
    v.partialCheck(
      [["replace_venue_days"], ["max_rejects"]],
      ({ replace_venue_days: replaces, max_rejects: limit }) =>
        !replaces || limit === undefined || (limit.share === 0 && limit.lines === 0),
      "must be 0 with replace_venue_days: a line that cannot be read may name an invoice, which would be taken out",
    ),
    ["max_rejects"],
  ),
);

export type Keys = v.InferOutput<typeof SCHEMA>;
