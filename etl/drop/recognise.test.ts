import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decideByModel, type Meaning, readCopyRows } from "../testing/model.ts";
import { rulesOf } from "../testing/rules.ts";
import { COLUMNS, type Column, type Delimiter, detectDialect } from "./dialect.ts";
import { type ReadEvent, readLines } from "./read.ts";
import { createRecogniser, NOT_CANONICAL } from "./recognise.ts";
import { type DateThreshold, type LineFormat, type LineRules, lineFormat, validateLine } from "./validate.ts";

const UUID = "a2b4c6d8-1111-4111-8111-00000000000f";
const RULES = rulesOf({ syncedOn: "2018-07-01", closed: [["2018-02-01", "2018-03-01"]] });
const LINE = `v,${UUID},2018-06-01T12:00:00,1.00`;

function formatOf(columns: readonly string[], delimiter: Delimiter, rules: LineRules): LineFormat {
  const detected = detectDialect({ firstLine: Buffer.from(columns.join(delimiter)) });
  if (detected.kind === "refused") throw new Error(detected.message);
  return lineFormat({ dialect: detected.dialect, rules });
}

function isCanonical(
  line: string | Buffer,
  { format = formatOf(COLUMNS, ",", RULES), utf8 = true } = {},
): boolean {
  const batch = Buffer.concat([Buffer.from("before\n"), Buffer.from(line), Buffer.from("\n")]);
  const next = createRecogniser({ format })(batch, 7, utf8);
  if (next !== NOT_CANONICAL) expect(next).toBe(batch.length);
  return next !== NOT_CANONICAL;
}

describe("a line is canonical with", () => {
  test.each([
    ["a wall-clock time", LINE],
    ["an instant", `v,${UUID},2018-06-01T12:00:00Z,1.00`],
    ["CRLF", `${LINE}\r`],
    ["blanks within and after the venue", `a b ,${UUID},2018-06-01T12:00:00,1.00`],
    ["a venue of other scripts", `居酒屋 ü,${UUID},2018-06-01T12:00:00,1.00`],
    ["a venue of 200 bytes", `${"x".repeat(200)},${UUID},2018-06-01T12:00:00,1.00`],
    ["another delimiter in the venue", `a;b,${UUID},2018-06-01T12:00:00,1.00`],
    ["twelve digits before the point", `v,${UUID},2018-06-01T12:00:00,999999999999.99`],
    ["the first second that is taken", `v,${UUID},2000-01-01T00:00:00,1.00`],
    ["the first instant that is taken", `v,${UUID},1999-12-31T23:00:00Z,1.00`],
    ["the last second that is taken", `v,${UUID},2018-07-01T23:59:59,1.00`],
    ["the last instant that is taken", `v,${UUID},2018-07-01T21:59:59Z,1.00`],
    ["the last second before a closed range", `v,${UUID},2018-01-31T23:59:59,1.00`],
    ["the first instant after a closed range", `v,${UUID},2018-02-28T23:00:00Z,1.00`],
    ["a leap day", `v,${UUID},2016-02-29T12:00:00,1.00`],
  ])("%s", (_, line) => {
    expect(isCanonical(line)).toBe(true);
  });
});

describe("a line is not canonical with", () => {
  test.each([
    ["nothing in it", ""],
    ["no venue", `,${UUID},2018-06-01T12:00:00,1.00`],
    ["a blank before the venue", ` v,${UUID},2018-06-01T12:00:00,1.00`],
    ["a tab in the venue", `a\tb,${UUID},2018-06-01T12:00:00,1.00`],
    ["a quote in the venue", `a"b,${UUID},2018-06-01T12:00:00,1.00`],
    ["a backslash in the venue", `a\\b,${UUID},2018-06-01T12:00:00,1.00`],
    ["U+007F in the venue", `a\u007fb,${UUID},2018-06-01T12:00:00,1.00`],
    ["a venue of 201 bytes", `${"x".repeat(201)},${UUID},2018-06-01T12:00:00,1.00`],
    ["an upper-case UUID", `v,${UUID.toUpperCase()},2018-06-01T12:00:00,1.00`],
    ["a hyphen for a digit", `v,${UUID.replace("0000f", "000-f")},2018-06-01T12:00:00,1.00`],
    ["a digit for a hyphen", `v,${UUID.replace("-", "0")},2018-06-01T12:00:00,1.00`],
    ["a UUID that is too long", `v,${UUID}0,2018-06-01T12:00:00,1.00`],
    ["a blank for the T", `v,${UUID},2018-06-01 12:00:00,1.00`],
    ["an offset", `v,${UUID},2018-06-01T12:00:00+02,1.00`],
    ["a fraction", `v,${UUID},2018-06-01T12:00:00.1,1.00`],
    ["no seconds", `v,${UUID},2018-06-01T12:00,1.00`],
    ["a date that is none", `v,${UUID},2018-02-29T12:00:00,1.00`],
    ["the month 00", `v,${UUID},2018-00-01T12:00:00,1.00`],
    ["the day 00", `v,${UUID},2018-06-00T12:00:00,1.00`],
    ["the year 0000", `v,${UUID},0000-06-01T12:00:00,1.00`],
    ["a letter in the year", `v,${UUID},20l8-06-01T12:00:00,1.00`],
    ["24 o'clock", `v,${UUID},2018-06-01T24:00:00,1.00`],
    ["60 minutes", `v,${UUID},2018-06-01T12:60:00,1.00`],
    ["60 seconds", `v,${UUID},2018-06-01T12:00:60,1.00`],
    ["a time before the first that is taken", `v,${UUID},1999-12-31T23:59:59,1.00`],
    ["a time after the last that is taken", `v,${UUID},2018-07-01T22:00:00Z,1.00`],
    ["a time in a closed range", `v,${UUID},2018-02-01T00:00:00,1.00`],
    ["an instant in a closed range", `v,${UUID},2018-02-28T22:59:59Z,1.00`],
    ["thirteen digits before the point", `v,${UUID},2018-06-01T12:00:00,0999999999999.99`],
    ["no digits before the point", `v,${UUID},2018-06-01T12:00:00,.99`],
    ["no point", `v,${UUID},2018-06-01T12:00:00,199`],
    ["one decimal", `v,${UUID},2018-06-01T12:00:00,1.9`],
    ["three decimals", `v,${UUID},2018-06-01T12:00:00,1.990`],
    ["a sign", `v,${UUID},2018-06-01T12:00:00,-1.00`],
    ["a blank at the end", `${LINE} `],
    ["a fifth cell", `${LINE},`],
    ["three cells", `v,${UUID},2018-06-01T12:00:00`],
    ["two carriage returns", `${LINE}\r\r`],
    ["another delimiter", LINE.replaceAll(",", ";")],
  ])("%s", (_, line) => {
    expect(isCanonical(line)).toBe(false);
  });

  test("bytes past ASCII when the batch is not known to be UTF-8", () => {
    const line = `居酒屋,${UUID},2018-06-01T12:00:00,1.00`;
    expect(isCanonical(line, { utf8: true })).toBe(true);
    expect(isCanonical(line, { utf8: false })).toBe(false);
    expect(isCanonical(LINE, { utf8: false })).toBe(true);
  });

  test("columns beside the four", () => {
    const format = formatOf([...COLUMNS, "note"], ",", RULES);
    expect(isCanonical(`${LINE},n`, { format })).toBe(false);
    expect(isCanonical(LINE, { format })).toBe(false);
  });
});

test("a canonical line is known in every order of columns, with every delimiter", () => {
  const cells: Record<Column, string> = {
    venue_id: "v",
    invoice_id: UUID,
    datetime_created: "2018-06-01T12:00:00",
    total: "1.00",
  };
  for (const delimiter of [",", ";", "\t"] as const) {
    for (const columns of ordersOf(COLUMNS)) {
      const format = formatOf(columns, delimiter, RULES);
      const line = columns.map((column) => cells[column]).join(delimiter);
      expect([line, isCanonical(line, { format }), isCanonical(`${line}\r`, { format })]).toEqual([
        line,
        true,
        true,
      ]);
      for (let length = 0; length < line.length - 1; length++) {
        const cut = line.slice(0, length);
        if (columns[3] !== "venue_id") expect([cut, isCanonical(cut, { format })]).toEqual([cut, false]);
      }
    }
  }
});

function ordersOf<T>(items: readonly T[]): T[][] {
  if (items.length === 0) return [[]];
  return items.flatMap((item) =>
    ordersOf(items.filter((other) => other !== item)).map((rest) => [item, ...rest]),
  );
}

// What follows makes lines of all kinds near the border between taken and refused, and decides each by the
// reader (fast path first), by the careful path alone, and by the model.

const venues = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.constantFrom("v", "venue-0001", "a b", "居酒屋", "Café Übersee", "\\N", "x;y", "NULL"),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom("", " ", "\t", " v", "v ", "a\tb", "😀".repeat(50), "\u00a0", "a,b", 'a"b'),
  },
  { weight: 1, arbitrary: fc.integer({ min: 195, max: 205 }).map((length) => "x".repeat(length)) },
  { weight: 1, arbitrary: fc.integer({ min: 198, max: 202 }).map((length) => "é".repeat(length)) },
  {
    weight: 1,
    arbitrary: fc.string({
      unit: fc.constantFrom("a", " ", "\t", '"', "\\", ",", ";", "é", "\u0001"),
      maxLength: 6,
    }),
  },
);
const uuids = fc.oneof(
  { weight: 6, arbitrary: fc.uuid() },
  { weight: 1, arbitrary: fc.uuid().map((uuid) => uuid.toUpperCase()) },
  { weight: 1, arbitrary: fc.uuid().map((uuid) => uuid.replaceAll("-", "")) },
  { weight: 1, arbitrary: fc.uuid().map((uuid) => `{${uuid}}`) },
  {
    weight: 1,
    arbitrary: fc.uuid().map((uuid) => uuid.replaceAll("-", "").replaceAll(/(.{4})(?=.)/g, "$1-")),
  },
);
const EDGES = [
  "2000-01-01",
  "2018-02-01",
  "2018-03-01",
  "2018-06-01",
  "2018-07-02",
  "0001-01-01",
  "9999-12-31",
];
const seconds = fc.oneof(
  fc.integer({ min: Date.parse("1999-12-01") / 1000, max: Date.parse("2018-08-01") / 1000 }),
  fc
    .tuple(fc.constantFrom(...EDGES), fc.integer({ min: -8000, max: 8000 }))
    .map(([date, away]) => Date.parse(date) / 1000 + away)
    .map((second) => Math.min(Math.max(second, -62_135_596_800), 253_402_300_799)),
);
const isoTimes = seconds.map((second) => new Date(second * 1000).toISOString().slice(0, 19));
const zones = fc.constantFrom(
  "",
  "",
  "",
  "Z",
  "Z",
  "Z",
  "+02",
  "-0330",
  "+15:59",
  "+16",
  "+02:60",
  "z",
  " Z",
);
const times = fc.oneof(
  { weight: 8, arbitrary: fc.tuple(isoTimes, zones).map(([time, zone]) => time + zone) },
  { weight: 1, arbitrary: fc.tuple(isoTimes, zones).map(([time, zone]) => time.replace("T", " ") + zone) },
  { weight: 1, arbitrary: fc.tuple(isoTimes, zones).map(([time, zone]) => time.slice(0, 16) + zone) },
  { weight: 1, arbitrary: isoTimes.map((time) => time.slice(0, 10)) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(isoTimes, fc.stringMatching(/^\.[0-9]{0,10}$/), zones)
      .map(([time, fraction, zone]) => time + fraction + zone),
  },
  {
    weight: 1,
    arbitrary: fc.stringMatching(/^20[01][0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9]$/),
  },
);
const totals = fc.oneof(
  { weight: 8, arbitrary: fc.stringMatching(/^[0-9]{1,13}\.[0-9]{2}$/) },
  { weight: 2, arbitrary: fc.stringMatching(/^[+-]?[0-9]{0,3}[.,]?[0-9]{0,9}([eE][+-]?[0-9]{1,2})?$/) },
  { weight: 1, arbitrary: fc.stringMatching(/^-?[0-9]{1,3}\.[0-9]{2}(0000|9999|0001)[0-9]{0,3}$/) },
  { weight: 1, arbitrary: fc.stringMatching(/^9{11,13}\.99(0000|0001|9998|9999|5)?[09]{0,3}$/) },
  { weight: 1, arbitrary: fc.stringMatching(/^[0-9.]{1,8}e[+-]?[0-9]{1,5}$/) },
  { weight: 1, arbitrary: fc.constantFrom("", "-0.00", "0", "NaN", "1e9999", "0e9999", "1e-9999", "1 000") },
);

const arounds = fc.constantFrom("", " ", "\t", " \t", "\u00a0");
function written(values: fc.Arbitrary<string>): fc.Arbitrary<string> {
  const odd = fc.tuple(values, arounds, arounds, fc.boolean()).map(([value, before, after, isQuoted]) => {
    const text = before + value + after;
    return isQuoted ? `"${text.replaceAll('"', '""')}"` : text;
  });
  return fc.oneof({ weight: 12, arbitrary: values }, { weight: 1, arbitrary: odd });
}

type Cells = Record<string, fc.Arbitrary<string>>;
const ODD_CELLS: Cells = {
  venue_id: written(venues),
  invoice_id: written(uuids),
  datetime_created: written(times),
  total: written(totals),
  note: fc.constantFrom("", "n", '"a,b"', "é"),
};
const CANONICAL_CELLS: Cells = {
  venue_id: fc.constantFrom("v", "venue-0001", "a b ", "居酒屋"),
  invoice_id: fc.uuid(),
  datetime_created: fc.tuple(isoTimes, fc.constantFrom("", "Z")).map(([time, zone]) => time + zone),
  total: fc.stringMatching(/^[0-9]{1,4}\.[0-9]{2}$/),
  note: fc.constant("n"),
};

/** Bytes that matter to some rule. */
const BYTES = ',;\t" \\\r\0\u007f-+:.TZe0129afFg{}'.split("").map((char) => char.charCodeAt(0));
const edits = fc.record({
  at: fc.nat(120),
  removed: fc.nat(2),
  added: fc.array(fc.constantFrom(...BYTES, 0x80, 0xc3, 0xa9, 0xe5, 0xff), { maxLength: 2 }),
});

function edit(
  line: Buffer,
  { at, removed, added }: { at: number; removed: number; added: number[] },
): Buffer {
  const from = at % (line.length + 1);
  return Buffer.concat([line.subarray(0, from), Buffer.from(added), line.subarray(from + removed)]);
}

function linesOf(columns: readonly string[], delimiter: string): fc.Arbitrary<Buffer[]> {
  const lineOf = (cells: Cells) =>
    fc
      .tuple(...columns.map((column) => cells[column] ?? fc.constant("")))
      .map((values) => Buffer.from(values.join(delimiter)));
  const edited = (line: fc.Arbitrary<Buffer>) =>
    fc.tuple(line, edits).map(([bytes, change]) => edit(bytes, change));
  const [canonical, odd] = [lineOf(CANONICAL_CELLS), lineOf(ODD_CELLS)];
  return fc.array(fc.oneof(canonical, edited(canonical), odd, edited(odd)), { maxLength: 30, size: "max" });
}

const threshold = (date: string, walls: number[], instants: number[]): DateThreshold => ({
  date,
  walls,
  instants,
});
const [start, end] = [Date.parse("2018-03-01") / 1000, Date.parse("2018-06-01") / 1000];
/** Rules whose calendar runs back twice, and with a comma for a point. */
const ODD_RULES: LineRules = {
  earliest: threshold("2018-03-01", [start, start + 1800, start + 3600], [start, start + 60, start + 7000]),
  afterSync: threshold("2018-06-01", [end - 3600, end - 1800, end], [end - 3600, end, end + 3600]),
  closed: [
    {
      from: threshold("2018-05-01", [end - 9e5], [end - 9e5]),
      to: threshold("2018-05-20", [end - 1e5], [end - 1e5]),
    },
    {
      from: threshold("2018-05-09", [end - 5e5], [end - 5e5]),
      to: threshold("2018-05-31", [end - 5e3], [end - 4e3]),
    },
  ],
  decimalComma: true,
};

const layouts = fc.record({
  columns: fc.oneof(
    fc.constantFrom(...ordersOf<string>(COLUMNS)),
    fc.shuffledSubarray([...COLUMNS, "note"], { minLength: 5 }),
  ),
  delimiter: fc.constantFrom<Delimiter>(",", ";", "\t"),
  rules: fc.constantFrom(RULES, ODD_RULES),
  terminator: fc.constantFrom("\n", "\r\n"),
});
const drops = layouts.chain((layout) =>
  linesOf(layout.columns, layout.delimiter).map((lines) => ({
    ...layout,
    // A CR at the end of a line would belong to its terminator.
    lines: lines.filter((line) => line.length > 0 && (layout.terminator === "\r\n" || line.at(-1) !== 0x0d)),
  })),
);

/** For each line what it means or why it is refused, by the reader as a whole. */
async function decideByReader(
  header: string,
  lines: readonly Buffer[],
  terminator: string,
  rules: LineRules,
) {
  const ended = [Buffer.from(header), ...lines].map((line) => Buffer.concat([line, Buffer.from(terminator)]));
  async function* source() {
    yield Buffer.concat(ended);
  }
  const events: ReadEvent[] = [];
  for await (const event of readLines({ source: source(), rules })) events.push(event);
  const [first, rows] = events;
  if (first?.kind !== "dialect") throw new Error("the dialect does not come first");
  if (rows === undefined) return [];
  if (rows.kind !== "rows" || events.length > 2) throw new Error("one batch is not told as one");
  const decided: (Meaning | string | undefined)[] = lines.map(() => undefined);
  for (const reject of rows.rejects) {
    expect(reject.raw).toEqual(lines[reject.line - 2]);
    decided[reject.line - 2] = reject.reason;
  }
  const taken = readCopyRows({ copy: rows.copy, ...first.copy });
  expect(taken.length).toBe(rows.rows);
  return decided.map((reason) => reason ?? taken.shift());
}

function decideCarefully(format: LineFormat, line: Buffer): Meaning | string | undefined {
  const decided = validateLine({
    bytes: { batch: line, from: 0, to: line.length, utf8: false, line: 1 },
    format,
  });
  if (typeof decided !== "string") return decided.reason;
  return readCopyRows({ copy: Buffer.from(decided), ...format.copy })[0];
}

test("the reader, the careful path alone and a naive model decide every line alike", async () => {
  const counts = { taken: 0, canonical: 0, reasons: new Set<string>() };
  await fc.assert(
    fc.asyncProperty(drops, async ({ columns, delimiter, rules, terminator, lines }) => {
      const format = formatOf(columns, delimiter, rules);
      const expected = lines.map((line) => decideByModel({ line, delimiter, columns, rules }));
      expect(lines.map((line) => decideCarefully(format, line))).toEqual(expected);
      expect(await decideByReader(columns.join(delimiter), lines, terminator, rules)).toEqual(expected);
      for (const [index, decided] of expected.entries()) {
        if (typeof decided === "string") counts.reasons.add(decided);
        else counts.taken++;
        if (isCanonical(lines[index] ?? "", { format, utf8: false })) counts.canonical++;
      }
    }),
    { numRuns: 1000 },
  );
  // All reasons occur, and many lines pass either way.
  expect(counts.reasons.size).toBe(12);
  expect(counts.canonical).toBeGreaterThan(200);
  expect(counts.taken - counts.canonical).toBeGreaterThan(200);
});
