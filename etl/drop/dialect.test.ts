import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { splitRecord } from "./cells.ts";
import {
  copyLayout,
  DEFAULT_DIALECT,
  type Detection,
  detectDialect,
  dialectWithoutHeader,
  HEAD_LINES,
  NOTHING_DETECTED,
} from "./dialect.ts";
import { COLUMNS } from "./row.ts";
import { trimBlanks } from "./value/text.ts";

const latin1 = (text: string) => Buffer.from(text).toString("latin1");
const detect = (line: string) => detectDialect(latin1(line), NOTHING_DETECTED);

/** Looks at lines until the dialect is found or refused; undefined when all were looked at. */
function detectAll(lines: readonly string[]) {
  let before: Detection = NOTHING_DETECTED;
  for (const line of lines) {
    const result = detectDialect(latin1(line), before);
    if (result.kind !== "undecided") return result;
    before = result;
  }
  return undefined;
}

describe("the delimiter is", () => {
  test.each([
    ["the comma when it makes four cells", "v,u,2018-06-01,1.00", ","],
    ["the semicolon when it makes four cells", "v;u;2018-06-01;5,00", ";"],
    ["the tab when it makes four cells", "v\tu\t2018-06-01\t1.00", "\t"],
    ["the comma when both it and another make four", "a;a;a;a,b,c,d", ","],
    ["the semicolon before the tab", "a;b\tc\td\te;f;g", ";"],
    ["the bar when it makes four cells", "v|u|2018-06-01|1.00", "|"],
    ["one that makes four cells and an empty one at the end", "v;u;2018-06-01;1.00;", ";"],
    ["one inside of whose quotes others stand", '"a,b,c,d";u;2018-06-01;1', ";"],
    [
      "the one that makes all four names, however many cells",
      "x;venue_id;invoice_id;datetime_created;total",
      ";",
    ],
  ])("%s: %j", (_, line, delimiter) => {
    const result = detect(line);
    expect(result.kind === "dialect" && result.dialect.delimiter).toBe(delimiter);
  });

  test("not one whose split has broken quotes, when another fits", () => {
    expect(detect('"a,b;",c,d,e;f;g;h')).toMatchObject({ dialect: { delimiter: "," } });
    expect(detect('a;b "c,d,e;f,g;h')).toMatchObject({ kind: "undecided", delimiter: undefined });
    expect(detect('"a"b,c,d,e\tf\tg\th')).toMatchObject({ kind: "undecided", delimiter: undefined });
    expect(detect('"a,b",c,d')).toMatchObject({ kind: "undecided", delimiter: undefined });
    expect(detect('"a,b,c,d"\tf\tg\th')).toMatchObject({ dialect: { delimiter: "\t", header: false } });
  });
});

describe("no delimiter fits", () => {
  test.each([["v;u;x"], ["v"], ["a,b,c,d, "], ["v:u:2018-06-01:1.00"]])("%j", (line) => {
    expect(detect(line)).toEqual({ kind: "undecided", isSeparator: false, lines: 1, delimiter: undefined });
  });

  test("after as many lines as are looked at: the drop is refused", () => {
    const lines = Array.from({ length: HEAD_LINES }, () => "x");
    expect(detectAll(lines.slice(1))).toBeUndefined();
    expect(detectAll(lines)).toMatchObject({ kind: "refused", code: "bad_header" });
    expect(detectAll([...lines.slice(1), "a;b;c;d"])).toMatchObject({ dialect: { delimiter: ";" } });
    expect(dialectWithoutHeader(undefined)).toMatchObject({ kind: "refused", code: "bad_header" });
  });
});

describe("a first line that names the delimiter", () => {
  test.each([
    ["sep=;", ";"],
    ["SEP=|", "|"],
    ["Sep=\t", "\t"],
    ["sep=,", ","],
  ])("%j", (line, delimiter) => {
    expect(detect(line)).toEqual({ kind: "undecided", isSeparator: true, lines: 1, delimiter });
    expect(detectAll([line, "a,b,c,d", ["a", "b", "c", "d"].join(delimiter)])).toMatchObject({
      dialect: { delimiter, header: false },
    });
  });

  test.each([['"sep=;"'], ["sep=; "], ["sep=:"], ["sep=;;"], [" sep=;"]])("is not %j", (line) => {
    expect(detect(line)).toMatchObject({ isSeparator: false });
  });

  test("is the first, or none", () => {
    expect(detectAll(["x", "sep=;", "a,b,c,d"])).toMatchObject({ dialect: { delimiter: "," } });
  });
});

describe("a header may stand below", () => {
  const header = "total;venue_id;invoice_id;datetime_created";
  test.each([
    ["a title", ["Umsatz, Juli", header]],
    ["blank cells", [";;;", " ; ;;", header]],
    ["the line that names the delimiter", ["sep=;", header]],
    ["a title whose quotes are broken", ['"Umsatz', header]],
  ])("%s", (_, lines) => {
    expect(detectAll(lines)).toMatchObject({ dialect: { delimiter: ";", header: true } });
  });

  test("not below a record", () => {
    expect(detectAll(["v;u;2018-06-01;1.00", header])).toMatchObject({ dialect: { header: false } });
  });

  test("not below a name", () => {
    expect(detectAll(["Total", header])).toMatchObject({ kind: "refused", code: "bad_header" });
  });
});

describe("a first line is a header when", () => {
  test.each([
    ["it has the names", "venue_id,invoice_id,datetime_created,total", [0, 1, 2, 3], 4],
    ["their order is another", "total,datetime_created,venue_id,invoice_id", [2, 3, 1, 0], 4],
    [
      "their case is another, with blanks around",
      " Venue_ID ,\tINVOICE_id, datetime_created,TOTAL\t",
      [0, 1, 2, 3],
      4,
    ],
    ["they are quoted", '"venue_id","invoice_id"," datetime_created ",total', [0, 1, 2, 3], 4],
    ["there are more", "a,venue_id,b,invoice_id,datetime_created,total,", [1, 3, 4, 5], 7],
    [
      "a column beside them has no ASCII name",
      "größe,venue_id,invoice_id,datetime_created,total",
      [1, 2, 3, 4],
      5,
    ],
  ])("%s: %j", (_, line, [venue, invoice, created, total], cells) => {
    expect(detect(line)).toEqual({
      kind: "dialect",
      dialect: {
        delimiter: ",",
        header: true,
        cells,
        positions: { venue_id: venue, invoice_id: invoice, datetime_created: created, total },
      },
    });
  });
});

describe("a header is refused when", () => {
  test.each([
    ["a name is missing", "venue_id,invoice_id,datetime_created", "lacks total:"],
    ["a name is missing, by any delimiter", "venue_id;invoice_id;total", "lacks datetime_created:"],
    ["three are missing", "x,y,total,z", "lacks venue_id, invoice_id, datetime_created:"],
    ["a name is there twice", "venue_id,invoice_id,datetime_created,total,Total", "repeats total:"],
    [
      "one is missing and one there twice",
      "venue_id,venue_id,datetime_created,total",
      "lacks invoice_id and repeats venue_id:",
    ],
    ["a carriage return is part of a name", "venue_id,invoice_id,datetime_created,total\r", "lacks total:"],
  ])("%s: %j", (_, line, fault) => {
    const result = detect(line);
    expect(result).toMatchObject({ kind: "refused", code: "bad_header" });
    expect(result.kind === "refused" && result.message).toContain(fault);
  });
});

test.each([
  ["v,11111111-1111-4111-8111-000000000001,2018-06-01,1.00"],
  ["my venue_id,x,y,z"],
  ["venue id,x,y,z"],
  ["\ufeffvenue_id,x,y,z"],
  ["\u00a0venue_id,x,y,z"],
])("%j is no header", (line) => {
  expect(detect(line)).toMatchObject({ kind: "dialect", dialect: { header: false, cells: 4 } });
});

test("a first line that is not UTF-8 can be a header or not", () => {
  const header = Buffer.from("caf\xe9,venue_id,invoice_id,datetime_created,total", "latin1");
  expect(detectDialect(header.toString("latin1"), NOTHING_DETECTED)).toMatchObject({
    dialect: { header: true, cells: 5 },
  });
  expect(detectDialect("caf\xe9,b,c,d", NOTHING_DETECTED)).toMatchObject({ dialect: { header: false } });
});

test("rows go to COPY as the file has them only when it has the four columns alone", () => {
  expect(copyLayout(DEFAULT_DIALECT)).toEqual({ delimiter: ",", columns: COLUMNS });
  const swapped = detect("total;venue_id;invoice_id;datetime_created");
  expect(swapped.kind === "dialect" && copyLayout(swapped.dialect)).toEqual({
    delimiter: ";",
    columns: ["total", "venue_id", "invoice_id", "datetime_created"],
  });
  const more = detect("total;x;venue_id;invoice_id;datetime_created");
  expect(more.kind === "dialect" && copyLayout(more.dialect)).toEqual({ delimiter: ",", columns: COLUMNS });
});

describe("a record is split", () => {
  test.each<[string, string, string[] | undefined]>([
    ["without quotes", "a,,b, c ", ["a", "", "b", " c "]],
    ["into one cell without a delimiter", "a", ["a"]],
    ["with quotes taken off", '"a","",b', ["a", "", "b"]],
    ["with delimiters in quotes", '"a,b",c', ["a,b", "c"]],
    ["with doubled quotes", '"a ""b""",c', ['a "b"', "c"]],
    ["with nothing but doubled quotes", '"""",""""""', ['"', '""']],
    ["with blanks in quotes kept", '" a ",b', [" a ", "b"]],
    ["not when a quote is not closed", '"a,b', undefined],
    ["not when only a quote is there", '"', undefined],
    ["not when three are", '"""', undefined],
    ["not when something follows the closing quote", '"a"b,c', undefined],
    ["not when a blank follows it", '"a" ,c', undefined],
    ["not when a null character follows it", '"a"\0,c', undefined],
    ["not when a field has a quote inside", 'a"b,c', undefined],
    ["not when a blank stands before a quote", ' "x",c', undefined],
    ["not when a field ends in a quote", 'a",c', undefined],
    ["not when the delimiter stands in quotes that are not closed", 'a,"b,c', undefined],
  ])("%s: %s", (_, line, cells) => {
    expect(splitRecord(line, ",")).toEqual(cells);
  });

  test("as RFC 4180 says, whatever stands in it", () => {
    const text = fc.string({
      unit: fc.constantFrom('"', ",", ";", " ", "\t", "a", "é", "\u00a0", "\r", "\u0001", "\0"),
      maxLength: 12,
    });
    fc.assert(
      fc.property(text, fc.constantFrom(",", ";", "\t"), (line, delimiter) => {
        const found = splitRecord(line, delimiter)?.map((cell) => cell.replaceAll("\0", "\u0001"));
        expect(found).toEqual(splitByState(line.replaceAll("\0", "\u0001"), delimiter));
      }),
      { numRuns: 5000 },
    );
  });

  test("back into the fields that were quoted", () => {
    const fields = fc.array(fc.string({ unit: fc.constantFrom('"', ",", "a", " ") }), { minLength: 1 });
    fc.assert(
      fc.property(fields, (cells) => {
        const line = cells.map((cell) => `"${cell.replaceAll('"', '""')}"`).join(",");
        expect(splitRecord(line, ",")).toEqual(cells);
      }),
    );
  });
});

test("only blanks and tabs are trimmed", () => {
  expect(trimBlanks(" \t a b\t ")).toBe("a b");
  expect(trimBlanks(" \t ")).toBe("");
  expect(trimBlanks("\u00a0a\u200b")).toBe("\u00a0a\u200b");
});

/** The same rule as a state machine over characters. */
function splitByState(line: string, delimiter: string): string[] | undefined {
  const cells = [""];
  let state: "start" | "plain" | "quoted" | "closed" = "start";
  const add = (char: string) => cells.push((cells.pop() ?? "") + char);
  for (const char of line) {
    if (state === "quoted") {
      if (char === '"') state = "closed";
      else add(char);
    } else if (char === delimiter) {
      cells.push("");
      state = "start";
    } else if (char === '"') {
      if (state === "plain") return undefined;
      if (state === "closed") add('"');
      state = "quoted";
    } else {
      if (state === "closed") return undefined;
      add(char);
      state = "plain";
    }
  }
  return state === "quoted" ? undefined : cells;
}
