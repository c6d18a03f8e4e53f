import { describe, expect, test } from "vitest";
import { rulesOf } from "../testing/line_rules.ts";
import type { Delimiter } from "./cells.ts";
import { detectDialect, NOTHING_DETECTED } from "./dialect.ts";
import { createRecogniser, NOT_CANONICAL } from "./recognise.ts";
import { COLUMNS, type Column } from "./row.ts";
import type { LineRules } from "./rules.ts";
import { type LineFormat, lineFormat } from "./validate.ts";

const UUID = "a2b4c6d8-1111-4111-8111-00000000000f";
const RULES = rulesOf({ syncedOn: "2018-07-01", closed: [["2018-02-01", "2018-03-01"]] });
const LINE = `v,${UUID},2018-06-01T12:00:00,1.00`;

function formatOf(columns: readonly string[], delimiter: Delimiter, rules: LineRules): LineFormat {
  const detected = detectDialect(columns.join(delimiter), NOTHING_DETECTED);
  if (detected.kind !== "dialect") throw new Error(detected.kind);
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
