import { describe, expect, test } from "vitest";
import { rulesOf } from "../testing/line_rules.ts";
import type { DateThreshold } from "./calendar.ts";
import type { Delimiter } from "./cells.ts";
import { detectDialect, NOTHING_DETECTED } from "./dialect.ts";
import { REJECT_REASONS } from "./reject.ts";
import { COLUMNS } from "./row.ts";
import type { LineRules } from "./rules.ts";
import { lineFormat, validateRecord } from "./validate.ts";
import { readTimestamp } from "./value/timestamp.ts";
import { readTotal } from "./value/total.ts";
import { readUuid } from "./value/uuid.ts";

const UUID = "11111111-1111-4111-8111-000000000001";
const RULES = rulesOf({ syncedOn: "2018-07-01" });
const HEADER = COLUMNS.join(",");

/** Decides a line: its row, or the reason and column of its reject. */
function decide(line: string | Buffer, rules: LineRules = RULES, header = HEADER): unknown {
  const detected = detectDialect(header, NOTHING_DETECTED);
  if (detected.kind !== "dialect") throw new Error(detected.kind);
  const batch = Buffer.isBuffer(line) ? line : Buffer.from(line);
  const bytes = { batch, from: 0, to: batch.length, utf8: false, line: 7, lines: 1, broken: false };
  const decided = validateRecord({ bytes, format: lineFormat({ dialect: detected.dialect, rules }) });
  if (typeof decided !== "object" || "row" in decided) return decided;
  expect(decided.line).toBe(7);
  expect(decided.raw.equals(batch)).toBe(true);
  return [decided.reason, decided.column];
}

/** A total in its canonical form, or why it is none. */
function totalOf(text: string, decimalComma: boolean): string {
  const result = readTotal(text, { decimal: decimalComma ? "," : "." });
  return result.kind === "total" ? result.text : result.reason;
}

test("a good line becomes a canonical row", () => {
  expect(decide(`v,${UUID},2018-06-01,1`)).toBe(`v,${UUID},2018-06-01T00:00:00,1.00\n`);
});

describe("bad_encoding is", () => {
  test.each([
    ["a byte that is not UTF-8", Buffer.from(`caf\xe9,${UUID},2018-06-01,1`, "latin1")],
    ["a sequence that is cut", Buffer.from(`\xc3,${UUID},2018-06-01,1`, "latin1")],
    ["an overlong sequence", Buffer.from(`\xc0\xaf,${UUID},2018-06-01,1`, "latin1")],
    ["a surrogate", Buffer.from(`\xed\xa0\x80,${UUID},2018-06-01,1`, "latin1")],
    ["a code point past U+10FFFF", Buffer.from(`\xf4\x90\x80\x80,${UUID},2018-06-01,1`, "latin1")],
    ["NUL", `v\0,${UUID},2018-06-01,1`],
    ["a carriage return", `v\r,${UUID},2018-06-01,1`],
    ["U+001F", `v\u001f,${UUID},2018-06-01,1`],
    ["U+007F", `v\u007f,${UUID},2018-06-01,1`],
    ["a control character in quotes", `"v\u0007",${UUID},2018-06-01,1`],
    ["before all other faults", `"\u0001`],
  ])("%s", (_, line) => {
    expect(decide(line)).toEqual(["bad_encoding", null]);
  });

  test("not a tab, U+0080, U+FEFF or a non-character", () => {
    for (const venue of ["a\tb", "\u0080", "\ufeff", "\uffff", "\u{10ffff}"]) {
      const escaped = venue.replace("\t", "\\t");
      expect(decide(`${venue},${UUID},2018-06-01,1`)).toBe(`${escaped},${UUID},2018-06-01T00:00:00,1.00\n`);
    }
  });

  test("looked for in columns that are ignored too", () => {
    const header = `${HEADER},note`;
    expect(decide(`v,${UUID},2018-06-01,1,n\u0001`, RULES, header)).toEqual(["bad_encoding", null]);
    expect(decide(`v,${UUID},2018-06-01,1,n"`, RULES, header)).toEqual(["broken_quotes", null]);
    expect(decide(`v,${UUID},2018-06-01,1,n`, RULES, header)).toBe(`v,${UUID},2018-06-01T00:00:00,1.00\n`);
  });
});

test.each(['"v,x', 'v"w,x', '"v"w,x,y,z', `v,${UUID},2018-06-01,"1`, ` "v",${UUID},2018-06-01,1`, '"'])(
  "%s has broken quotes",
  (line) => {
    expect(decide(line)).toEqual(["broken_quotes", null]);
  },
);

test.each([
  "v",
  " ",
  "v,x,y",
  `v,${UUID},2018-06-01,1.00,,`,
  `v,${UUID},2018-06-01,1.00, `,
  `v,${UUID},2018-06-01,1,50`,
  '"v,w",x,y',
  ",,,,,,,,",
])("%j has a wrong number of columns", (line) => {
  expect(decide(line)).toEqual(["wrong_column_count", null]);
});

describe("a venue", () => {
  const row = (venue: string) => `${venue},${UUID},2018-06-01,1`;
  test.each(["", '""', " ", "\t", '" \t "', " ".repeat(201)])("%j is missing", (venue) => {
    expect(decide(row(venue))).toEqual(["missing_venue", "venue_id"]);
  });

  test.each([
    ["201 letters", "x".repeat(201)],
    ["201 characters of four bytes", "😀".repeat(201)],
    ["blanks among them", ` ${"x".repeat(199)} `],
    ["a megabyte", "x".repeat(1_000_000)],
  ])("of %s is too long", (_, venue) => {
    expect(decide(row(venue))).toEqual(["venue_too_long", "venue_id"]);
  });

  test.each([
    [" v", " v"],
    ["v ", "v "],
    ["NULL", "NULL"],
    ["\\N", "\\\\N"],
    ["\\.", "\\\\."],
    ["\\", "\\\\"],
    ["a\tb", "a\\tb"],
    ['"a,b"', "a\\,b"],
    ['"a ""b"""', 'a "b"'],
    ['"\\,\t"', "\\\\\\,\\t"],
    ["a;b", "a;b"],
    ["\u00a0", "\u00a0"],
    ["\u200b", "\u200b"],
    ["u\u0308", "u\u0308"],
    ["$&", "$&"],
  ])("%j is kept, in COPY's text as %j", (venue, written) => {
    expect(decide(row(venue))).toBe(`${written},${UUID},2018-06-01T00:00:00,1.00\n`);
  });

  test.each(["x", "é", "😀"])("of 200 times %s is kept", (character) => {
    const venue = character.repeat(200);
    expect(decide(row(venue))).toBe(`${venue},${UUID},2018-06-01T00:00:00,1.00\n`);
  });

  test.each<[Delimiter, string, string]>([
    [";", '"a;b,c"', "a\\;b,c"],
    ["\t", '"a\tb,c"', "a\\tb,c"],
  ])("is escaped for the delimiter %j", (delimiter, venue, written) => {
    const line = [venue, UUID, "2018-06-01", "1"].join(delimiter);
    const expected = [written, UUID, "2018-06-01T00:00:00", "1.00\n"].join(delimiter);
    expect(decide(line, RULES, COLUMNS.join(delimiter))).toBe(expected);
  });
});

const LOWER = "a2b4c6d8-1111-4111-8111-00000000000f";
test.each([
  [LOWER],
  [LOWER.toUpperCase()],
  ["A2B4c6d8-1111-4111-8111-00000000000f"],
  ["a2b4c6d811114111811100000000000f"],
  [`{${LOWER}}`],
  ["{A2B4C6D811114111811100000000000F}"],
  ["a2b4-c6d8-1111-4111-8111-0000-0000-000f"],
  ["{a2b4-c6d8-1111-4111-8111-0000-0000-000f}"],
  ["a2b4c6d81111-4111-8111-00000000000f"],
  ["a2b4-c6d811114111811100000000000f"],
])("%s is a UUID, as PostgreSQL takes it", (text) => {
  expect(readUuid(text)).toBe(LOWER);
});

test.each([
  [""],
  ["x"],
  ["{}"],
  [LOWER.slice(1)],
  [`${LOWER}0`],
  [`{${LOWER}`],
  [`${LOWER}}`],
  [`{{${LOWER}}}`],
  [`(${LOWER})`],
  [`{ ${LOWER} }`],
  [LOWER.replaceAll("-", "_")],
  [LOWER.replace("-", "--")],
  [`${LOWER}-`],
  [`-${LOWER}`],
  [`{${LOWER}-}`],
  ["a2-b4c6d8-1111-4111-8111-00000000000f"],
  ["a2b4c6d-81111-4111-8111-00000000000f"],
  [LOWER.replace("a", "g")],
  [LOWER.replace("a", "à")],
  [LOWER.replace("a", "ａ")],
  [`urn:uuid:${LOWER}`],
  ["0".repeat(64)],
])("%s is no UUID", (text) => {
  expect(readUuid(text)).toBeUndefined();
});

describe("a timestamp", () => {
  test.each([
    ["2018-06-01", "2018-06-01T00:00:00"],
    ["2018-06-01T12:34", "2018-06-01T12:34:00"],
    ["2018-06-01 12:34:56", "2018-06-01T12:34:56"],
    ["2018-06-01T12:34:56.1", "2018-06-01T12:34:56.1"],
    ["2018-06-01T23:59:59.9999999", "2018-06-01T23:59:59.999999"],
    ["2018-06-01T12:34:56.123456789Z", "2018-06-01T12:34:56.123456Z"],
    ["2018-06-01T12:34Z", "2018-06-01T12:34:00Z"],
    ["2018-06-01T12:34:56+02", "2018-06-01T12:34:56+02:00"],
    ["2018-06-01T12:34+0230", "2018-06-01T12:34:00+02:30"],
    ["2018-06-01T12:34:56-03:30", "2018-06-01T12:34:56-03:30"],
    ["2018-06-01T12:34:56+15:59", "2018-06-01T12:34:56+15:59"],
    ["2018-06-01T12:34:56-00:00", "2018-06-01T12:34:56-00:00"],
    ["0001-01-01", "0001-01-01T00:00:00"],
    ["2000-02-29", "2000-02-29T00:00:00"],
    ["2016-02-29", "2016-02-29T00:00:00"],
    ["29.02.2016", "2016-02-29T00:00:00"],
    ["01.06.2018 12:00", "2018-06-01T12:00:00"],
    ["01.06.2018T12:00:00.5 +02:00", "2018-06-01T12:00:00.5+02:00"],
    ["2018-06-01T12:34z", "2018-06-01T12:34:00Z"],
    ["2018-06-01 12:34:56 UTC", "2018-06-01T12:34:56Z"],
    ["2018-06-01T12:34:56GMT", "2018-06-01T12:34:56Z"],
    ["9999-12-31T23:59:59", "9999-12-31T23:59:59"],
  ])("%s is read as %s", (text, canonical) => {
    expect(readTimestamp(text, "00:00")?.text).toBe(canonical);
  });

  test.each([
    ["", "yesterday", "now", "epoch", "infinity", "-infinity", "today", "allballs"],
    ["2018-02-29", "1900-02-29", "2018-13-01", "2018-00-01", "2018-06-00", "2018-06-31", "0000-01-01"],
    [
      "2018-6-1",
      "20180601",
      "20180601T120000",
      "1.06.2018",
      "01.06.18",
      "01-06-2018",
      "06/01/2018",
      "2018-152",
      "2018-W22-5",
      "1527847200",
    ],
    ["2018-06-01T24:00:00", "2018-06-01T12:60:00", "2018-06-01T12:00:60", "2018-06-01T12", "2018-06-01T"],
    ["2018-06-01t12:00:00", "2018-06-01T12:00:00  Z", "2018-06-01T12:00:00 utc", "2018-06-01T12:00:00CET"],
    ["2018-06-01  12:00:00", "2018-06-01\t12:00:00", "2018-06-01 ", " 2018-06-01", "2018-06-01T12:0:00"],
    [
      "2018-06-01T12:00:00+16",
      "2018-06-01T12:00:00+02:60",
      "2018-06-01T12:00:00+2",
      "2018-06-01T12:00:00+02:0",
    ],
    [
      "2018-06-01T12:00:00+02:00:00",
      "2018-06-01T12:00:00+",
      "2018-06-01T12:00:00Z+02",
      "2018-06-01T12:00:00 + 02",
    ],
    ["2018-06-01T12:00:00 Europe/Berlin", "2018-06-01 BC", "+2018-06-01", "12018-06-01", "-2018-06-01"],
    ["2018-06-01T12:00:00.1234567890", "2018-06-01T12:00:00.", "2018-06-01T12:00.5", "2018-06-01T12:00:00,5"],
    [
      "2018-06-01Z",
      "2018-06-01+02",
      "２０１８-06-01",
      "2018-06-01T١٢:00",
      "2018-06-01T12:00:00\u00a0",
      "2018-06-01\n",
    ],
  ])("is not %j or %j", (...texts) => {
    for (const text of texts) expect([text, readTimestamp(text, "00:00")]).toEqual([text, undefined]);
  });

  test.each([
    ["1970-01-01", "walls", 0],
    ["1970-01-01T00:00:00.999999999Z", "instants", 0],
    ["1969-12-31T23:59:59.5Z", "instants", -1],
    ["1970-01-01T02:00:00+02", "instants", 0],
    ["1969-12-31T12:00:00-12:00", "instants", 0],
    ["0001-01-01", "walls", -62_135_596_800],
    ["9999-12-31T23:59:59Z", "instants", 253_402_300_799],
  ])("%s stands on the time line of %s at second %d", (text, kind, second) => {
    expect(readTimestamp(text, "00:00")).toMatchObject({ kind, second });
  });

  test("is read for every day of four centuries as JavaScript reads it", () => {
    const wrong: string[] = [];
    for (let day = Date.UTC(1800, 0, 1) / 86_400_000; day <= Date.UTC(2200, 0, 1) / 86_400_000; day++) {
      const date = new Date(day * 86_400_000).toISOString().slice(0, 10);
      if (readTimestamp(date, "00:00")?.second !== day * 86_400) wrong.push(date);
    }
    expect(wrong).toEqual([]);
  });
});

describe("a total", () => {
  test.each([
    ["0", "0.00"],
    ["-0.00", "0.00"],
    ["+0", "0.00"],
    ["1", "1.00"],
    ["1.", "1.00"],
    ["5.e1", "50.00"],
    [".5", "0.50"],
    ["-.5", "-0.50"],
    ["+1.5", "1.50"],
    ["-1.50", "-1.50"],
    ["-0.01", "-0.01"],
    ["001.50", "1.50"],
    ["1.500000", "1.50"],
    ["1e2", "100.00"],
    ["1E+2", "100.00"],
    ["1.5e-1", "0.15"],
    ["150e-2", "1.50"],
    ["0.1e1", "1.00"],
    ["1e0001", "10.00"],
    ["0e9999", "0.00"],
    ["-0e-9999", "0.00"],
    ["1e-9999", "0.00"],
    ["-1e-9999", "0.00"],
    ["12.340000001", "12.34"],
    ["12.340001", "12.34"],
    ["12.3400010000", "12.34"],
    ["12.339999", "12.34"],
    ["12.339999999", "12.34"],
    ["0.999999", "1.00"],
    ["-9.999999", "-10.00"],
    ["0.0000001", "0.00"],
    ["0.000001", "0.00"],
    ["-0.000001", "0.00"],
    ["0.0099999", "0.01"],
    ["1e-6", "0.00"],
    ["-12.3450000001e1", "-123.45"],
    ["999999999999.99", "999999999999.99"],
    ["-999999999999.99", "-999999999999.99"],
    ["999999999999.990001", "999999999999.99"],
    ["999999999999990000e-6", "999999999999.99"],
    ["0000000000000000000001", "1.00"],
  ])("%s is %s", (text, canonical) => {
    expect(totalOf(text, false)).toBe(canonical);
  });

  test.each([
    ["", " ", "NaN", "nan", "Infinity", "-inf", "0x10", "0b1", "0o7", "1_000", "1'000", "1 000", "five"],
    ["1e", "e1", ".", "+", "-", "+.", ".e1", "--1", "+-1", "1.0.0", "..5", "1f", "1d0", "1e1.5", "1e+"],
    ["€5€", "5 $", "٣", "１", "1e99999999999", "1e00001", "0e99999", "1e-99999", "5,00", "1\n"],
    ["1000000000000", "-1000000000000.00", "1e12", "1e13", "1e9999", "-1e9999", "10000000000000000e-4"],
    ["999999999999.999999999", "-999999999999.9999990", "1000000000000.005", "1000000000000.000000001"],
  ])("is not %s or %s", (...texts) => {
    for (const text of texts) expect([text, totalOf(text, false)]).toEqual([text, "bad_total"]);
  });

  test.each([
    ["1.005", "0.001", "12.345", "-0.005", "1e-3", "12.340002", "12.3400011", "12.34000100001", "12.339998"],
    ["12.3399989", "0.0000011", "1.1e-6", "0.009998", "999999999999.994", "999999999999.9949999999", "1e-5"],
    ["999999999999.995", "-999999999999.999", "999999999999.9999989"],
  ])("has parts of a cent in %s and %s", (...texts) => {
    for (const text of texts) expect([text, totalOf(text, false)]).toEqual([text, "sub_cent_total"]);
  });

  test("may have a megabyte of digits", () => {
    const zeros = "0".repeat(500_000);
    expect(totalOf(`${zeros}1.${zeros}`, false)).toBe("1.00");
    expect(totalOf(`0.${"0".repeat(9998)}1e9999`, false)).toBe("1.00");
    expect(totalOf(`1${"0".repeat(9999)}e-9999`, false)).toBe("1.00");
    expect(totalOf("9".repeat(1_000_000), false)).toBe("bad_total");
    expect(totalOf(`${zeros}x`, false)).toBe("bad_total");
    expect(totalOf(`1.00${"5".repeat(1_000_000)}`, false)).toBe("sub_cent_total");
    expect(totalOf(`0.000001${zeros}1`, false)).toBe("sub_cent_total");
  });

  test("may have a decimal comma only when that is asked for, and points still", () => {
    expect(totalOf("5,00", false)).toBe("bad_total");
    expect(totalOf("5,00", true)).toBe("5.00");
    expect(totalOf("-,5e1", true)).toBe("-5.00");
    expect(totalOf("5,", true)).toBe("5.00");
    expect(totalOf("5.25", true)).toBe("5.25");
    expect(totalOf("1.234,56", true)).toBe("1234.56");
    expect(totalOf("1,234.56", true)).toBe("bad_total");
    expect(totalOf(",", true)).toBe("bad_total");
    const rules = rulesOf({ syncedOn: "2018-07-01", decimalComma: true });
    expect(decide(`v,${UUID},2018-06-01,"5,25"`, rules)).toBe(`v,${UUID},2018-06-01T00:00:00,5.25\n`);
  });
});

describe("a total may have around it", () => {
  test.each([
    ["a currency", ["€5", "5 €", "EUR 5.00", "5EUR"], "5.00"],
    ["a sign before it", ["-5", "- 5.00", "\u22125.00", "-€5.00", "€ -5.00", "EUR-5"], "-5.00"],
    ["a minus behind it", ["5-", "5.00 -", "5.00\u2212", "5.00- €", "5.00 €-", "5e0-"], "-5.00"],
    ["brackets", ["(5)", "( 5.00 )", "(€5.00)", "€(5.00)", "(5.00) EUR"], "-5.00"],
    ["an apostrophe", ["'-5.00", "'5.00-", "'(5.00)", "' - 5.00"], "-5.00"],
    ["a plus", ["+5", "€+5.00", "'+5.00 EUR"], "5.00"],
    ["thousands", ["1,234.50", "001,234.50", "+1,234.5", "1,234.500 €"], "1234.50"],
    ["more thousands", ["1,234,567", "€1,234,567", "1,234,567.00"], "1234567.00"],
  ])("%s", (_, texts, total) => {
    for (const text of texts) expect([text, totalOf(text, false)]).toEqual([text, total]);
  });

  test.each([
    ["two signs", ["--5", "-5-", "+5-", "(-5)", "-(5)", "(5)-", "((5))", "-5.-", "(5.-)"]],
    ["a plus behind", ["5+"]],
    ["half of the brackets", ["(5", "5)", "()", "(1)(2)"]],
    ["two currencies", ["€€5", "€5€", "EUR €5", "EUR 5 EUR"]],
    ["an apostrophe elsewhere", ["''5", "5'", "-'5", "('5)"]],
    ["other groups", ["1,23", "1,2345", "1234,567", "1,23,456", "1,,234", ",123", "1,234,"]],
    ["groups with an exponent or a bare point", ["1,234e1", "1,234.5e1", "1,234.", "1,234.-"]],
    ["blanks within", ["5 .00", "1 234.50", "1, 234.50"]],
  ])("not %s", (_, texts) => {
    for (const text of texts) expect([text, totalOf(text, false)]).toEqual([text, "bad_total"]);
  });

  test("what can be read in two ways is ambiguous", () => {
    for (const text of [
      "1,234",
      "-999,999",
      "(1,234)",
      "€1,234",
      "1,000-",
      "5.-",
      "5. -",
      "12.\u2212",
      "€ 5.-",
    ])
      expect([text, totalOf(text, false)]).toEqual([text, "ambiguous_total"]);
    for (const text of ["12.500", "1.234", ".500", "1234.500", "1.500e1", "0.001", "5,-", "12.-", "(1.234)"])
      expect([text, totalOf(text, true)]).toEqual([text, "ambiguous_total"]);
    // The size is judged first.
    expect(totalOf("1000000000000.500", true)).toBe("bad_total");
  });

  test("with a decimal comma, points between the thousands", () => {
    for (const text of ["1.234,50", "1.234,5", "001.234,50", "1.234,500", "1234,50", "1234.50", "1.234,50 €"])
      expect([text, totalOf(text, true)]).toEqual([text, "1234.50"]);
    for (const text of ["1,234.50", "1,234,567", "1.234.", "1.2345,6", "1.234.56", "1..234"])
      expect([text, totalOf(text, true)]).toEqual([text, "bad_total"]);
    expect(totalOf("1.234.567", true)).toBe("1234567.00");
  });
});

describe("a record whose quotes hold line breaks", () => {
  const header = `${HEADER},note`;
  const decideLines = (text: string) => {
    const detected = detectDialect(header, NOTHING_DETECTED);
    if (detected.kind !== "dialect") throw new Error(detected.kind);
    const batch = Buffer.from(text);
    const bytes = { batch, from: 0, to: batch.length, utf8: true, line: 7, lines: 2, broken: false };
    const decided = validateRecord({
      bytes,
      format: lineFormat({ dialect: detected.dialect, rules: RULES }),
    });
    return typeof decided === "object" && "reason" in decided ? [decided.reason, decided.column] : decided;
  };

  test("is taken where the column is ignored", () => {
    const row = `v,${UUID},2018-06-01T00:00:00,1.00\n`;
    expect(decideLines(`v,${UUID},2018-06-01,1,"a\nb"`)).toBe(row);
    expect(decideLines(`v,${UUID},2018-06-01,1,"a\r\n""b"""`)).toBe(row);
  });

  test("is rejected where it is one of the four, or one too many, and for a CR alone", () => {
    const bad = ["bad_encoding", null];
    expect(decideLines(`"v\n",${UUID},2018-06-01,1,`)).toEqual(bad);
    expect(decideLines(`v,${UUID},2018-06-01,"\n1",`)).toEqual(bad);
    expect(decideLines(`v,${UUID},2018-06-01,1,,"a\nb"`)).toEqual(bad);
    expect(decideLines(`v,${UUID},2018-06-01,1,"a\rb\n"`)).toEqual(bad);
  });
});

test("a reject tells its cell, and the line's total where that can be read", () => {
  const rejectOf = (line: string) => {
    const detected = detectDialect(HEADER, NOTHING_DETECTED);
    if (detected.kind !== "dialect") throw new Error(detected.kind);
    const batch = Buffer.from(line);
    const bytes = { batch, from: 0, to: batch.length, utf8: true, line: 7, lines: 1, broken: false };
    const decided = validateRecord({
      bytes,
      format: lineFormat({ dialect: detected.dialect, rules: RULES }),
    });
    return typeof decided === "object" && "reason" in decided ? [decided.cell, decided.total] : decided;
  };
  expect(rejectOf(`v,x,2018-06-01,"1,234.50"`)).toEqual(["x", "1234.50"]);
  expect(rejectOf(`v,${UUID}, tomorrow ,-1`)).toEqual([" tomorrow ", "-1.00"]);
  expect(rejectOf(`v,${UUID},2018-06-01,"1,234"`)).toEqual(["1,234", null]);
  expect(rejectOf(`v,${UUID},2018-07-02,5`)).toEqual(["2018-07-02", "5.00"]);
  expect(rejectOf("v,x")).toEqual([null, null]);
  expect(rejectOf(`v,${"x".repeat(300)},2018-06-01,1`)).toEqual(["x".repeat(200), "1.00"]);
});

test.each([",,,", " , ,\t,  ", '"","",,""', ",,,,"])("%j is blank and counts for nothing", (line) => {
  expect(decide(line)).toBeUndefined();
});

describe("created_on", () => {
  const created = (text: string, rules: LineRules) => {
    const decided = decide(`v,${UUID},${text},1`, rules);
    return Array.isArray(decided) ? decided : "taken";
  };
  test.each([
    ["2000-01-01", "taken"],
    ["1999-12-31T23:00:00Z", "taken"],
    ["2000-01-01T15:59+15:59", "taken"],
    ["1999-12-31T23:59:59.999999999", "created_before_earliest"],
    ["1999-12-31T22:59:59.999999999Z", "created_before_earliest"],
    ["2000-01-01T00:59:59+02:00", "created_before_earliest"],
    ["0001-01-01T00:00:00+15:59", "created_before_earliest"],
    ["2018-07-01T23:59:59.999999999", "taken"],
    ["2018-07-01T21:59:59.999999999Z", "taken"],
    ["2018-07-02", "created_after_sync"],
    ["2018-07-01T22:00:00Z", "created_after_sync"],
    ["9999-12-31T23:59:59-15:59", "created_after_sync"],
  ])("%s is %s in Berlin", (text, expected) => {
    expect(created(text, RULES)).toEqual(expected === "taken" ? "taken" : [expected, "datetime_created"]);
  });

  test.each([
    ["2017-12-31T23:59:59", "taken"],
    ["2018-01-01", "partition_closed"],
    ["2018-01-31T22:59:59Z", "partition_closed"],
    ["2018-01-31T23:00:00Z", "partition_closed"],
    ["2018-02-28T22:59:59Z", "partition_closed"],
    ["2018-02-28T23:00:00Z", "taken"],
    ["2018-04-30", "taken"],
    ["2018-05-01", "partition_closed"],
    ["2018-07-15", "created_after_sync"],
    ["1999-06-01", "created_before_earliest"],
  ])("%s is %s beside closed partitions", (text, expected) => {
    const closed = [
      ["2018-05-01", "2018-06-01"],
      ["2018-01-01", "2018-02-01"],
      ["2018-02-01", "2018-03-01"],
      ["2018-02-01", "2018-03-01"],
      ["2018-07-01", "2018-08-01"],
      ["1999-06-01", "1999-07-01"],
    ] as const;
    const rules = rulesOf({ syncedOn: "2018-07-01", closed });
    expect(created(text, rules)).toEqual(expected === "taken" ? "taken" : [expected, "datetime_created"]);
  });

  test.each([
    ["2017-12-31T23:59:59", "taken"],
    ["2018-01-01", "period_closed"],
    ["2018-02-01", "partition_closed"],
    ["2018-02-28T22:59:59Z", "partition_closed"],
    ["2018-02-28T23:00:00Z", "period_closed"],
    ["2018-03-31T21:59:59Z", "period_closed"],
    ["2018-03-31T22:00:00Z", "taken"],
    ["2018-07-15", "created_after_sync"],
  ])("%s is %s beside closed periods, which may overlap", (text, expected) => {
    const rules = rulesOf({
      syncedOn: "2018-07-01",
      closed: [["2018-02-01", "2018-03-01"]],
      closedPeriods: [
        ["2018-01-01", "2018-04-01"],
        ["2018-03-01", "2018-04-01"],
        ["2018-07-01", "2018-08-01"],
      ],
    });
    expect(created(text, rules)).toEqual(expected === "taken" ? "taken" : [expected, "datetime_created"]);
  });

  test("follows a calendar that repeats a stretch of time", () => {
    // The date begins at 1000, the clock goes back to the day before at 1060, and it begins again at 1120.
    const twice: DateThreshold = {
      date: "1970-01-01",
      walls: [1000, 1060, 1120],
      instants: [2000, 2060, 2120],
    };
    const never: DateThreshold = { date: "9999-12-31", walls: [9e9], instants: [9e9] };
    const rules: LineRules = {
      earliest: twice,
      afterSync: never,
      closed: [],
      closedPeriods: null,
      decimalComma: false,
      dayStarts: "00:00",
    };
    const at = (second: number, zone = "") => `${new Date(second * 1000).toISOString().slice(0, 19)}${zone}`;
    const walls = [999, 1000, 1059, 1060, 1119, 1120].map((second) => created(at(second), rules) === "taken");
    expect(walls).toEqual([false, true, true, false, false, true]);
    const instants = [1999, 2000, 2059, 2060, 2119, 2120].map(
      (second) => created(at(second, "Z"), rules) === "taken",
    );
    expect(instants).toEqual([false, true, true, false, false, true]);
    const until: LineRules = {
      ...rules,
      earliest: { ...never, walls: [0], instants: [0] },
      afterSync: twice,
    };
    const after = [999, 1000, 1059, 1060, 1119, 1120].map((second) => created(at(second), until) === "taken");
    expect(after).toEqual([true, false, false, true, true, false]);
  });

  test("is never taken when the earliest date is after the sync date", () => {
    const rules = rulesOf({ syncedOn: "2018-07-01", earliest: "2019-01-01" });
    expect(created("2018-08-01", rules)).toEqual(["created_before_earliest", "datetime_created"]);
    expect(created("2019-01-01", rules)).toEqual(["created_after_sync", "datetime_created"]);
  });
});

test("blanks and tabs around the last three fields are ignored, in quotes too", () => {
  const expected = `v,${UUID},2018-06-01T00:00:00,7.00\n`;
  expect(decide(`v, ${UUID} ,\t2018-06-01 ,  7.00\t`)).toBe(expected);
  expect(decide(`v," ${UUID}"," 2018-06-01\t","7.00 "`)).toBe(expected);
  expect(decide(`v,\u00a0${UUID},2018-06-01,7.00`)).toEqual(["bad_uuid", "invoice_id"]);
  expect(decide(`v,${UUID},2018-06-01\u00a0,7.00`)).toEqual(["bad_timestamp", "datetime_created"]);
  expect(decide(`v,${UUID},2018-06-01,7.00\u200b`)).toEqual(["bad_total", "total"]);
});

test("of several faults the first in the order of the reasons counts", () => {
  const rules = rulesOf({
    syncedOn: "2018-07-01",
    earliest: "2018-01-01",
    closed: [["2018-06-01", "2018-07-01"]],
    closedPeriods: [["2018-05-01", "2018-07-01"]],
  });
  const long = "x".repeat(201);
  const lines = [
    '\u0001",x',
    '",x',
    ",x,y",
    ",x,y,z",
    `${long},x,y,z`,
    "v,x,y,z",
    `v,${UUID},y,z`,
    `v,${UUID},2017-01-01,z`,
    `v,${UUID},2017-01-01,"1,234"`,
    `v,${UUID},2017-01-01,0.001`,
    `v,${UUID},2017-01-01,1`,
    `v,${UUID},2018-07-02,1`,
    `v,${UUID},2018-06-02,1`,
    `v,${UUID},2018-05-31,1`,
  ];
  const reasons = lines.map((line) => decide(line, rules));
  expect(reasons.map((reason) => Array.isArray(reason) && reason[0])).toEqual(REJECT_REASONS);
  expect(decide(`v,${UUID},2018-06-02,1000000000000.001`, rules)).toEqual(["bad_total", "total"]);
});

test("columns are found wherever the header has them", () => {
  const row = decide(`1;x;2018-06-01;v,w;${UUID}`, RULES, "total;x;datetime_created;venue_id;invoice_id");
  expect(row).toBe(`v\\,w,${UUID},2018-06-01T00:00:00,1.00\n`);
  const four = decide(`1;2018-06-01;v,w;${UUID}`, RULES, "total;datetime_created;venue_id;invoice_id");
  expect(four).toBe(`1.00;2018-06-01T00:00:00;v,w;${UUID}\n`);
});
