import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { stringify } from "yaml";
import { unsafeIn } from "../testing/hostile.ts";
import { parseText as sourceOf } from "../testing/sources.ts";
import { parseSource } from "./parse.ts";

const parse = (text: string | Buffer) =>
  parseSource({ name: "till", file: "sources/till.yaml", bytes: Buffer.from(text) });

function faultsOf(text: string | Buffer): readonly string[] {
  const parsed = parse(text);
  return parsed.kind === "refused" ? parsed.faults : [];
}

const PATTERN = String.raw`'(?<year>\d{4})(?<month>\d\d)(?<day>\d\d)'`;

test("a source with globs alone reads the four columns by their names", () => {
  const { form, ...source } = sourceOf("# from the tills\n\nfiles: tills/*.csv\n");
  expect(source).toMatchObject({
    name: "till",
    file: "sources/till.yaml",
    files: ["tills/*.csv"],
    filesLine: 3,
    venueFromPath: undefined,
    syncedOn: undefined,
    syncSlack: undefined,
    maxRejects: undefined,
  });
  expect(source.sha256.toString("hex")).toBe(
    "c9cf1082018688f219d2797f3a2899fd59bd55c645661c5770726947a64c0cdd",
  );
  expect(form).toEqual({
    skip: 0,
    header: true,
    venueId: { column: "venue_id" },
    invoiceId: { column: "invoice_id" },
    created: { columns: ["datetime_created"] },
    total: { columns: ["total"] },
    conditions: [],
    sumRows: false,
  });
});

test("without a header the four columns are the first four", () => {
  expect(sourceOf("files: a.csv\nheader: false").form).toMatchObject({
    header: false,
    venueId: { column: 1 },
    invoiceId: { column: 2 },
    created: { columns: [3] },
    total: { columns: [4] },
  });
});

test("every key has its place", () => {
  const source = sourceOf(`
files: [sumup/*.csv, "old/{a,b}/**"]
encoding: Windows-1252
delimiter: ";"
skip: 3
header: true
columns:
  datetime_created: [Datum, Zeit]
venue_id: {from_path: '^([^/]+)/'}
invoice_id: {uuid5_of: [Filiale, 2]}
datetime_created:
  format: dd/MM/yyyy HH:mm
  zone: America/New_York
total:
  decimal: ","
  thousands: "."
  cents: false
  sum_of: [Netto, Steuer]
  sum_rows: true
keep: {Status: [paid, refunded], 4: 0}
skip_when: {Status: " void "}
void_when: {Status: storno, 5: [1, ""]}
synced_on: {from: path, pattern: ${PATTERN}}
sync_slack: 1
max_rejects: 0
replace_venue_days: true
`);
  expect(source).toMatchObject({
    files: ["sumup/*.csv", "old/{a,b}/**"],
    filesLine: 2,
    venueFromPath: { pattern: /^([^/]+)\//u, line: 9 },
    syncedOn: { from: "path", pattern: /(?<year>\d{4})(?<month>\d\d)(?<day>\d\d)/u, line: 23 },
    syncSlack: 1,
    maxRejects: { share: 0, lines: 0 },
    replaceVenueDays: true,
  });
  expect(source.form).toEqual({
    encoding: "windows-1252",
    delimiter: ";",
    skip: 3,
    header: true,
    venueId: { constant: "" },
    invoiceId: { uuid5Of: ["Filiale", 2] },
    created: { columns: ["Datum", "Zeit"], format: "dd/MM/yyyy HH:mm", zone: "America/New_York" },
    total: { columns: ["Netto", "Steuer"], decimal: ",", thousands: ".", cents: false },
    conditions: [
      { column: 4, values: ["0"], effect: "keep" },
      { column: "Status", values: ["paid", "refunded"], effect: "keep" },
      { column: "Status", values: ["void"], effect: "skip" },
      { column: 5, values: ["1", ""], effect: "void" },
      { column: "Status", values: ["storno"], effect: "void" },
    ],
    sumRows: true,
  });
});

describe("a value is the text that stands there", () => {
  test.each([
    ["0", "0"],
    ["007", "007"],
    ["0x10", "0x10"],
    ["1.50", "1.50"],
    ["true", "true"],
    ["null", "null"],
    ["~", "~"],
    ["2019-12-31", "2019-12-31"],
    ['""', ""],
    ["''", ""],
    ["' void '", "void"],
  ])("keep: {Training: %s}", (written, value) => {
    expect(sourceOf(`files: a\nkeep: {Training: ${written}}`).form.conditions).toEqual([
      { column: "Training", values: [value], effect: "keep" },
    ]);
  });

  test("also under a directive of YAML 1.1", () => {
    const { form } = sourceOf("%YAML 1.1\n---\nfiles: a\ncolumns: {venue_id: {constant: yes}}\n");
    expect(form.venueId).toEqual({ constant: "yes" });
  });
});

describe("a column is", () => {
  test.each([
    ["a name", "Betrag", "Betrag"],
    ["a name without the blanks around it", '" Betrag "', "Betrag"],
    ["a number", "7", 7],
    ["a number in quotes", '"7"', 7],
    ["a number with zeros in front", "007", 7],
    ["a name, when it has more than four digits", "20191231", "20191231"],
    ["a name, when it only begins with digits", "7%", "7%"],
    ["a name, when it is that of a method", "constructor", "constructor"],
  ])("%s", (_, written, column) => {
    expect(sourceOf(`files: a\ncolumns: {total: ${written}}`).form.total.columns).toEqual([column]);
  });
});

describe("a delimiter is", () => {
  test.each([
    ['","', ","],
    ['";"', ";"],
    [";", ";"],
    ['"|"', "|"],
    ['"\\t"', "\t"],
    ["'\\t'", "\t"],
    ["tab", "\t"],
  ])("%s", (written, delimiter) => {
    expect(sourceOf(`files: a\ndelimiter: ${written}`).form.delimiter).toBe(delimiter);
  });
});

describe("the mark of thousands is", () => {
  test.each([
    ['"\'"', "'"],
    ["\u2019", "\u2019"],
    ['" "', " "],
    ['"\\_"', "\u00a0"],
    ['"\\u202f"', "\u202f"],
  ])("%s", (written, thousands) => {
    expect(sourceOf(`files: a\ntotal: {thousands: ${written}}`).form.total).toMatchObject({ thousands });
  });
});

test("mtime is short for from: mtime", () => {
  expect(sourceOf("files: a\nsynced_on: mtime").syncedOn).toEqual({ from: "mtime" });
  expect(sourceOf("files: a\nsynced_on: {from: mtime}").syncedOn).toEqual({ from: "mtime" });
});

test("a limit of rejects has a share, and lines that are allowed in any case", () => {
  expect(sourceOf("files: a\nmax_rejects: 0.02+3").maxRejects).toEqual({ share: 0.02, lines: 3 });
});

test("with sum_rows no line may be rejected", () => {
  expect(sourceOf("files: a\ntotal: {sum_rows: true}").maxRejects).toEqual({ share: 0, lines: 0 });
});

test("epoch times have their unit", () => {
  const epochOf = (key: string) => sourceOf(`files: a\ndatetime_created: {${key}}`).form.created.epoch;
  expect(epochOf("epoch_seconds: true")).toBe("seconds");
  expect(epochOf("epoch_milliseconds: true")).toBe("milliseconds");
  expect(epochOf("epoch_seconds: false")).toBeUndefined();
});

/** Each with where the fault is, and a part of what is said of it. `files: a` is line 1, unless files is what is wrong. */
const WRONG: readonly (readonly [text: string, where: string, said: string])[] = [
  // Keys
  ["file: b\nfiles: a", "1: file:", 'there is no key "file": the keys here are files, encoding'],
  ["skip: 1", "1: files:", 'the key "files" is missing'],
  ["files: a\n\nfoo: 1", "3: foo:", 'there is no key "foo"'],
  ["files: a\n__proto__: 1", "2: __proto__:", 'there is no key "__proto__"'],
  ["files: a\nconstructor: {a: 1}", "2: constructor:", 'there is no key "constructor"'],
  ["files: a\n<<: {skip: 1}", "2: <<:", 'there is no key "<<"'],
  ["files: a\nskip: 1\nskip: 2", "3: skip:", "the key is there twice"],
  ["files: a\ncolumns:\n  venue: x", "3: columns.venue:", "the keys here are venue_id, invoice_id"],
  ["files: a\ncolumns: {toString: x}", "2: columns.toString:", "there is no key"],
  ["files: a\n? [b]\n: c", "2:", "a key must be a plain text"],
  // Globs
  ["files:", "1: files:", "has no value"],
  ["files: []", "1: files:", "is an empty list"],
  ["files: {a: b}", "1: files:", "must be a glob"],
  ["files:\n  - a\n  - '[a'", "3: files:", "is no glob"],
  ["files: /data/*.csv", "1: files:", "is no path below the inbox"],
  ["files: ../*.csv", "1: files:", "is no path below the inbox"],
  ["files: tills\\*.csv", "1: files:", "has a backslash"],
  // How the file is written
  ["files: a\nencoding: utf-7", "2: encoding:", "must be one of utf-8, windows-1252"],
  ["files: a\ndelimiter: |", "2: delimiter:", "in quotes, or tab"],
  ['files: a\ndelimiter: ":"', "2: delimiter:", "in quotes, or tab"],
  ["files: a\nskip: -1", "2: skip:", "must be a whole number"],
  ["files: a\nskip: [1]", "2: skip:", "must be a whole number"],
  ["files: a\nheader: no", "2: header:", "must be true or false"],
  // Columns
  ["files: a\ncolumns: [a, b]", "2: columns:", "must be a map"],
  ["files: a\ncolumns: {total: 0}", "2: columns.total:", "its number from 1"],
  ["files: a\ncolumns:\n  total: [a, b]", "3: columns.total:", "several are total.sum_of"],
  ["files: a\ncolumns: {invoice_id: {constant: x}}", "2: columns.invoice_id:", "must be a column's name"],
  ["files: a\ncolumns: {venue_id: {constant: ' '}}", "2: columns.venue_id.constant:", "is a blank venue"],
  [
    `files: a\ncolumns: {venue_id: {constant: ${"x".repeat(201)}}}`,
    "2: columns.venue_id.constant:",
    "more than 200",
  ],
  [
    'files: a\ncolumns: {venue_id: {constant: "a\\eb"}}',
    "2: columns.venue_id.constant:",
    "control characters",
  ],
  ["files: a\ncolumns: {datetime_created: []}", "2: columns.datetime_created:", "is an empty list"],
  [
    "files: a\nheader: false\ncolumns: {total: Betrag}",
    "3: columns.total:",
    'the column "Betrag", but header is false',
  ],
  [
    "files: a\nheader: false\nskip_when: {Status: x}",
    "3: skip_when:",
    'the column "Status", but header is false',
  ],
  // Venue and invoice
  ["files: a\nvenue_id: Filiale", "2: venue_id:", "a column alone is columns.venue_id"],
  ["files: a\ntotal: Betrag", "2: total:", "a column alone is columns.total"],
  ["files: a\nvenue_id: {from_path: '('}", "2: venue_id.from_path:", "is no regular expression"],
  ["files: a\nvenue_id: {from_path: 'a'}", "2: venue_id.from_path:", "has no group"],
  ["files: a\nvenue_id: {from_path: '(a)(b)'}", "2: venue_id.from_path:", "has 2 groups"],
  [
    `files: a\nvenue_id: {from_path: '(${"a".repeat(1000)})'}`,
    "2: venue_id.from_path:",
    "is longer than 1000",
  ],
  [
    "files: a\ncolumns: {venue_id: b}\nvenue_id: {from_path: '(a)'}",
    "3: venue_id:",
    "is columns.venue_id, too",
  ],
  [
    "files: a\ncolumns: {invoice_id: b}\ninvoice_id: {uuid5_of: c}",
    "3: invoice_id:",
    "is columns.invoice_id, too",
  ],
  ["files: a\ninvoice_id: {uuid5_of: []}", "2: invoice_id.uuid5_of:", "is an empty list"],
  // Times
  ["files: a\ndatetime_created: {format: dd.MM. HH:mm}", "2: datetime_created.format:", "has no year"],
  ["files: a\ndatetime_created: {format: yyyy-dd HH:mm}", "2: datetime_created.format:", "has no month"],
  ["files: a\ndatetime_created: {format: yyyy-MM HH:mm}", "2: datetime_created.format:", "has no day"],
  [
    "files: a\ndatetime_created: {format: yyyy-MM-dd hh:mm}",
    "2: datetime_created.format:",
    "half of the day",
  ],
  [
    "files: a\ndatetime_created: {format: '%Y-%m-%d'}",
    "2: datetime_created.format:",
    "has Y, which is no token",
  ],
  ["files: a\ndatetime_created: {zone: CEST}", "2: datetime_created.zone:", 'there is no time zone "CEST"'],
  ["files: a\ndatetime_created: {zone: Mars/Base}", "2: datetime_created.zone:", "there is no time zone"],
  [
    "files: a\ndatetime_created: {format: yyyy-MM-dd, epoch_seconds: true}",
    "2: datetime_created:",
    "at most one of",
  ],
  [
    "files: a\ndatetime_created: {zone: UTC, epoch_seconds: true}",
    "2: datetime_created.zone:",
    "is of no use",
  ],
  // Totals
  ["files: a\ntotal: {decimal: ';'}", "2: total.decimal:", 'must be "." or ","'],
  ["files: a\ntotal: {decimal: ',', thousands: ','}", "2: total.thousands:", "is the decimal mark, too"],
  ["files: a\ntotal: {thousands: '.'}", "2: total.thousands:", "needs the key decimal"],
  ["files: a\ntotal: {thousands: _}", "2: total.thousands:", "a no-break blank"],
  ["files: a\ntotal: {cents: 1}", "2: total.cents:", "must be true or false"],
  ["files: a\ncolumns: {total: b}\ntotal: {sum_of: [c, d]}", "3: total.sum_of:", "is columns.total, too"],
  [
    "files: a\ntotal: {sum_rows: true}\nmax_rejects: 0.01",
    "3: max_rejects:",
    "must be 0 with total.sum_rows",
  ],
  ["files: a\ntotal: {sum_rows: true}\nmax_rejects: 0+1", "3: max_rejects:", "must be 0 with total.sum_rows"],
  // Conditions
  ["files: a\nkeep: [Status]", "2: keep:", "must be a map from columns to their values"],
  ["files: a\nkeep:\n  Status: []", "3: keep.Status:", "a list of values"],
  ["files: a\nkeep:\n  Status:", "3: keep.Status:", "has no value"],
  ["files: a\nskip_when: {0: x}", "2: skip_when.0:", "its number from 1"],
  ["files: a\nkeep: {Status: {a: b}}", "2: keep.Status:", "a list of values"],
  ["files: a\nvoid_when: storno", "2: void_when:", "must be a map from columns to their values"],
  ["files: a\nheader: false\nvoid_when: {Status: a}", "3: void_when:", "but header is false"],
  // Sync date and limits
  ["files: a\nsynced_on: name", "2: synced_on:", "must be a map with the keys from, pattern, or mtime"],
  ["files: a\nsynced_on: {from: header}", "2: synced_on.from:", "must be name, path or mtime"],
  ["files: a\nsynced_on: {from: name}", "2: synced_on:", "needs the key pattern"],
  [
    "files: a\nsynced_on: {from: name, pattern: '(?<year>a)'}",
    "2: synced_on.pattern:",
    "lacks (?<month>...), (?<day>...)",
  ],
  [`files: a\nsynced_on: {from: mtime, pattern: ${PATTERN}}`, "2: synced_on.pattern:", "is of no use"],
  ["files: a\nsync_slack: 1.5", "2: sync_slack:", "must be a whole number of days"],
  ["files: a\nmax_rejects: 1 %", "2: max_rejects:", "must be a share of 0 to 1"],
  ["files: a\nmax_rejects: 2", "2: max_rejects:", "must be a share of 0 to 1"],
  ["files: a\nreplace_venue_days: 1", "2: replace_venue_days:", "must be true or false"],
  [
    "files: a\nreplace_venue_days: true\nmax_rejects: 0.01",
    "3: max_rejects:",
    "must be 0 with replace_venue_days",
  ],
  // YAML
  ["", "1:", "nothing stands in it"],
  ["# only a comment\n", "1:", "nothing stands in it"],
  ["- files: a", "1:", "must be a map with the keys files,"],
  ["venue_id,invoice_id,datetime_created,total", "1:", "must be a map with the keys files,"],
  ["files: a\n\tskip: 1", "2:", "Tabs are not allowed as indentation"],
  ["files: a\ncolumns: {total: b", "2:", "is not YAML"],
  ["files: a: b", "1:", "is not YAML"],
  ['files: "a', "1:", "is not YAML"],
  ["files: a\n---\nfiles: b", "2:", "a second YAML document begins here"],
  ["files: &a b\nskip: 1", "1: files:", "anchors (&name) are not read"],
  ["files: a\nkeep:\n  Status: *b", "3: keep.Status:", "aliases (*name) are not read"],
  ["files: a\nskip: !!int 1", "2: skip:", "tags (!name) are not read"],
  ["files: a\n!x skip: 1", "2:", "a key must be a plain text"],
];

describe("a wrong source is refused with line and key:", () => {
  test.each(WRONG)("%j", (text, where, said) => {
    const faults = faultsOf(text);
    expect(faults).toHaveLength(1);
    expect(faults[0]).toContain(said);
    expect(faults[0]?.startsWith(`sources/till.yaml:${where}`)).toBe(true);
  });
});

test("all faults are told at once, in the order of their lines", () => {
  const faults = faultsOf(`colums: {total: x}
encoding: latin9
columns:
  venue: a
  amount: b
  total: [c, d]
skip: x
skip: 2
keep: {0: a, Status: }
max_rejects: many
`);
  expect(faults.map((fault) => fault.split(": ").slice(0, 2).join(" "))).toEqual([
    "sources/till.yaml:1 colums",
    "sources/till.yaml:1 files",
    "sources/till.yaml:2 encoding",
    "sources/till.yaml:4 columns.venue",
    "sources/till.yaml:5 columns.amount",
    "sources/till.yaml:6 columns.total",
    "sources/till.yaml:7 skip",
    "sources/till.yaml:8 skip",
    "sources/till.yaml:9 keep.0",
    "sources/till.yaml:9 keep.Status",
    "sources/till.yaml:10 max_rejects",
  ]);
});

describe("a hostile source is refused:", () => {
  const laughs = Array.from({ length: 9 }, (_, at) => `a${at + 1}: &a${at + 1} [${`*a${at},`.repeat(9)}]`);
  test.each([
    ["a billion laughs", ["a0: &a0 lol", ...laughs, "files: *a9"].join("\n")],
    ["lists in lists", "[".repeat(60_000)],
    ["lists in lists that are closed", `files: ${"[".repeat(30_000)}${"]".repeat(30_000)}`],
    ["maps in maps", "{a: ".repeat(15_000)],
    ["lists in lists, with hyphens", "- ".repeat(30_000)],
    ["keys in keys", "? ".repeat(30_000)],
    ["keys that are empty", ": ".repeat(30_000)],
    ["keys below keys", Array.from({ length: 300 }, (_, at) => `${" ".repeat(at)}a:`).join("\n")],
    ["thousands of keys", Array.from({ length: 9000 }, (_, at) => `k${at}: 1`).join("\n")],
    ["thousands of equal keys", "files: a\n".repeat(7000)],
    ["thousands of documents", "--- a\n".repeat(10_000)],
    ["thousands of syntax errors", "a: b: c\n".repeat(8000)],
    ["what steers a terminal", '"\\e[2J\\r\\u202e": 1\nfiles: "[\\e]0;"'],
    ["UTF-16", Buffer.from("\ufefffiles: a", "utf16le")],
    ["what is not UTF-8", Buffer.from("files: Stra\xdfe/*.csv", "latin1")],
    ["zeros", Buffer.alloc(60_000)],
  ])("%s", (_, text) => {
    const faults = faultsOf(text);
    expect(faults).not.toEqual([]);
    expect(faults.length).toBeLessThanOrEqual(21);
    expect(faults.join("\n").length).toBeLessThan(10_000);
    expect(unsafeIn(faults.join("\n"))).toEqual([]);
  });
});

test("a byte order mark and line ends of Windows change nothing", () => {
  expect(sourceOf("\ufefffiles: a\r\nskip: 2\r\n").form.skip).toBe(2);
  expect(faultsOf("\ufefffiles: a\r\n\r\nfoo: 2\r\n")[0]).toContain("till.yaml:3: foo:");
});

const name = fc.string({ minLength: 1, maxLength: 12, unit: "binary" }).filter((text) => {
  return (
    !/[\p{Cc}\p{Cs}]/u.test(text) && text.trim() !== "" && text === text.trim() && !/^\d{1,4}$/.test(text)
  );
});

test("what YAML writes is read as it was", () => {
  const keys = fc.record({
    skip: fc.nat({ max: 999 }),
    header: fc.constant(true),
    columns: fc.record({
      venue_id: fc.record({ constant: name }),
      datetime_created: fc.array(name, { minLength: 1 }),
    }),
    invoice_id: fc.record({ uuid5_of: fc.array(name, { minLength: 1 }) }),
    keep: fc.dictionary(name, fc.array(name, { minLength: 1 }), { maxKeys: 3 }),
    sync_slack: fc.nat({ max: 99 }),
  });
  fc.assert(
    fc.property(keys, fc.boolean(), (written, isFlow) => {
      const text = stringify({ files: "a.csv", ...written }, { collectionStyle: isFlow ? "flow" : "block" });
      const { form, syncSlack } = sourceOf(text);
      expect({ ...form, syncSlack }).toMatchObject({
        skip: written.skip,
        venueId: written.columns.venue_id,
        invoiceId: { uuid5Of: written.invoice_id.uuid5_of },
        created: { columns: written.columns.datetime_created },
        syncSlack: written.sync_slack,
      });
      expect(form.conditions).toEqual(
        Object.entries(written.keep).map(([column, values]) => ({ column, values, effect: "keep" })),
      );
    }),
  );
});

const PAGE = readFileSync(new URL("../../docs/sources.md", import.meta.url), "utf8");
const EXAMPLES = [...PAGE.matchAll(/^```yaml\n(.*?)^```$/gms)].map(([, text = ""]) => text);

test.each(EXAMPLES)("what docs/sources.md shows is a source: %s", (text) => {
  expect(faultsOf(text.includes("files:") ? text : `files: a\n${text}`)).toEqual([]);
});

test("docs/sources.md has a heading for each key", () => {
  const [said = ""] = faultsOf("files: a\nunknown: 1");
  const keys = said.slice(said.indexOf("are ") + 4).split(", ");
  const headings = [...PAGE.matchAll(/^### (.+)$/gm)].flatMap(([, heading = ""]) => heading.split(", "));
  expect(headings).toEqual(keys);
});

test("no text breaks the reader", () => {
  const pieces = fc.constantFrom(
    "files",
    "keep",
    "columns",
    ":",
    " ",
    "\n",
    "- ",
    "[",
    "]",
    "{",
    "}",
    "'",
    '"',
    "|",
    "&a",
    "*a",
    "!",
    "#",
    "a",
    "0",
    "\t",
    "---",
    "? ",
    ",",
  );
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 40 }), (parts) => {
      const parsed = parse(parts.join(""));
      if (parsed.kind === "refused") expect(parsed.faults).not.toEqual([]);
    }),
    { numRuns: 2000 },
  );
});
