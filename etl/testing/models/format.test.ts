/** The model against the sentences of the drop format about whole drops (docs/design.md, "The drop format"). */
import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { type ReadDrop, readDrop, readFile } from "./format.ts";
import type { World } from "./line.ts";

const UUID = "a2b4c6d8-1111-4111-8111-00000000000f";
const WORLD: World = {
  timeZone: "UTC",
  dayStarts: "00:00",
  earliest: "2000-01-01",
  syncedOn: "2018-10-28",
  syncSlack: 0,
  closed: [],
  decimalComma: false,
};
const ROW = `v,${UUID},2018-06-01,1.00`;
const HEADER = "venue_id,invoice_id,datetime_created,total";
const WIDE = `${HEADER},note`;

/** What a drop comes to: numbers of its records with reasons. */
function read(text: string | Buffer) {
  return tell(readDrop(Buffer.from(text), WORLD));
}

function tell({ lines, refusal, layout }: ReadDrop) {
  const said = lines.map(({ number, decision }) => [
    number,
    decision.kind === "taken" ? "taken" : decision.reason,
  ]);
  return { lines: said, refusal: refusal?.code, delimiter: layout.delimiter };
}

describe("lines", () => {
  test.each([
    ["ended by LF", `${ROW}\n${ROW}\n`, [1, 2]],
    ["ended by CRLF", `${ROW}\r\n${ROW}\r\n`, [1, 2]],
    ["ended by the end of the file", `${ROW}\n${ROW}`, [1, 2]],
    ["after a byte order mark", `\ufeff${ROW}\n`, [1]],
    ["with empty ones among them, which count for nothing but their number", `\n${ROW}\n\r\n${ROW}`, [2, 4]],
  ])("%s", (_, text, numbers) => {
    expect(read(text).lines).toEqual(numbers.map((number) => [number, "taken"]));
  });

  test("a file without records is a drop of none", () => {
    for (const text of ["", "\n\r\n", "\ufeff", HEADER, "sep=;", ",,,\n"])
      expect(read(text)).toMatchObject({ lines: [], refusal: undefined });
  });

  test("a carriage return that ends no line is a control character", () => {
    expect(read(`${ROW}\r\r\n${ROW}\r`).lines).toEqual([
      [1, "bad_encoding"],
      [2, "bad_encoding"],
    ]);
  });

  test("one of more than 1 MiB refuses the drop, after those before it", () => {
    const long = "x".repeat(1024 * 1024);
    expect(read(`${ROW}\n${long}\n`)).toMatchObject({
      lines: [
        [1, "taken"],
        [2, "wrong_column_count"],
      ],
      refusal: undefined,
    });
    const tooLong = { lines: [[1, "taken"]], refusal: "line_too_long" };
    expect(read(`${ROW}\n${long}x\n${ROW}`)).toMatchObject(tooLong);
    expect(read(`${ROW}\n${long}x`)).toMatchObject(tooLong);
    expect(read(`title\n${long}x`)).toMatchObject({ lines: [], refusal: "line_too_long" });
  });
});

describe("the delimiter", () => {
  test.each([
    ["comma", ROW, ","],
    ["semicolon", ROW.replaceAll(",", ";"), ";"],
    ["tab", ROW.replaceAll(",", "\t"), "\t"],
    ["|", ROW.replaceAll(",", "|"), "|"],
    ["the first that makes four cells", `a;b;c,${UUID},2018-06-01,1;00`, ","],
    ["the first that makes four cells and an empty one", `a;b;c,${UUID},2018-06-01,1;00,`, ","],
    ["the first that makes all four names", `x;${HEADER.replaceAll(",", ";")}`, ";"],
    ["of the first line that one fits", `a,b\nc;d;e;f\n${ROW}`, ";"],
    ["of a line that is all blank", ";;;\n", ";"],
    ["named by sep=", `sep=;\n${ROW}`, ";"],
    ["named by SEP=", `SEP=|\n${ROW}`, "|"],
    ["named after empty lines", `\n\r\nsep=\t\n${ROW}`, "\t"],
  ])("%s", (_, text, delimiter) => {
    expect(read(text)).toMatchObject({ delimiter, refusal: undefined });
  });

  test("is decided by the first 20 lines that are not empty, or the drop is refused", () => {
    expect(read(`${"x\n\n".repeat(19)}${ROW}`)).toMatchObject({ refusal: undefined });
    expect(read(`${"x\n\n".repeat(20)}${ROW}`)).toMatchObject({ refusal: "bad_header", lines: [] });
    expect(read("a:b:c:d").refusal).toBe("bad_header");
    expect(read("a,b,c,d,e").refusal).toBe("bad_header");
    expect(read("a,b,c,d, ").refusal).toBe("bad_header");
  });

  test("is not named by a line that is not exactly so, nor by a later one", () => {
    expect(read(`sep=; \n${ROW}`).lines).toEqual([
      [1, "wrong_column_count"],
      [2, "taken"],
    ]);
    expect(read(`"sep=;"\n${ROW}`).delimiter).toBe(",");
    expect(read(`sep=:\n${ROW}`).delimiter).toBe(",");
    expect(read(`${ROW}\nsep=;\n${ROW}`).lines).toEqual([
      [1, "taken"],
      [2, "wrong_column_count"],
      [3, "taken"],
    ]);
  });
});

describe("the header", () => {
  test.each([
    ["names in any order", "total,venue_id,datetime_created,invoice_id", `1.00,v,2018-06-01,${UUID}`],
    ["names with blanks around them, in any case", " Venue_ID,\tinvoice_id ,DATETIME_CREATED,total", ROW],
    ["names in quotes", '"venue_id","invoice_id","datetime_created"," total "', ROW],
    ["further columns, which are ignored", `note,${HEADER}`, `"a,b",${ROW}`],
    ["an empty column at its end", `${HEADER},`, `${ROW},x`],
    ["a byte that is no UTF-8", `${HEADER},\xff`, `${ROW},x`],
  ])("has %s", (_, header, line) => {
    const bytes = Buffer.from(`${header}\n${line}`, "latin1");
    expect(read(bytes)).toMatchObject({ lines: [[2, "taken"]], refusal: undefined });
  });

  test("that lacks a name or has one twice refuses the drop", () => {
    for (const header of [
      "venue_id,invoice_id,datetime_created",
      "total",
      "x;total;y,z",
      `${HEADER},total`,
      `x,${HEADER.replace("total", "sum")}`,
    ]) {
      expect(read(`${header}\n${ROW}`)).toMatchObject({ lines: [], refusal: "bad_header" });
    }
  });

  test("is the first line with a name, up to the first that a delimiter fits and that is not blank", () => {
    const bad = "wrong_column_count";
    expect(read(`title\n\n${HEADER}\n${ROW}`).lines).toEqual([
      [1, bad],
      [4, "taken"],
    ]);
    expect(read(`,,,\n , ,,\n${HEADER}\n${ROW}`).lines).toEqual([[4, "taken"]]);
    expect(read(`${ROW}\n${HEADER}\n`).lines).toEqual([
      [1, "taken"],
      [2, "bad_uuid"],
    ]);
    expect(read("venue,invoice,datetime,sum").lines).toEqual([[1, "bad_uuid"]]);
    expect(read(`sep=,\ntitle\n${HEADER}\n${ROW}`).lines).toEqual([
      [2, bad],
      [4, "taken"],
    ]);
  });

  test("is not reached over by a record", () => {
    expect(read(`"open\n${HEADER}\n"v",${UUID},2018-06-01,1.00`).lines).toEqual([
      [1, "broken_quotes"],
      [3, "taken"],
    ]);
  });

  test("counts for nothing when it comes again, byte for byte", () => {
    expect(read(`${HEADER}\r\n${ROW}\n${HEADER}\n\ufeff${HEADER}\r\n${ROW}`).lines).toEqual([
      [2, "taken"],
      [5, "taken"],
    ]);
    expect(read(`${HEADER}\n${HEADER.toUpperCase()}\n${HEADER} \n\ufeff\ufeff${HEADER}`).lines).toEqual([
      [2, "bad_uuid"],
      [3, "bad_uuid"],
      [4, "bad_uuid"],
    ]);
  });
});

describe("a record of several lines", () => {
  const open = `${ROW},"`;
  const of = (...lines: readonly string[]) => read([WIDE, ...lines].join("\n")).lines;
  test("has the number of its first line, and ends where its quotes are closed", () => {
    expect(of(`${open}a`, "", `b"`, `${open}\r`, `c,""d"`, `${ROW},`)).toEqual([
      [2, "taken"],
      [5, "taken"],
      [7, "taken"],
    ]);
  });

  test("may have a header within", () => {
    expect(of(`${open}a`, WIDE, `b"`, `${ROW},`)).toEqual([
      [2, "taken"],
      [5, "taken"],
    ]);
  });

  test("is not taken with the break in a named column", () => {
    expect(of(`"v`, `w",${UUID},2018-06-01,1.00,`, `${ROW},`)).toEqual([
      [2, "bad_encoding"],
      [4, "taken"],
    ]);
  });

  test.each([
    ["is not closed", [`${open}a`, `${ROW},`]],
    ["has text behind a closing quote", [`${open}a`, `${ROW},`, `b"c`]],
    ["has a quote in a later field without quotes", [`${open}a`, `${ROW},`, `b",c"`]],
  ])("that %s costs its first line alone", (_, lines) => {
    expect(of(...lines).slice(0, 2)).toEqual([
      [2, "broken_quotes"],
      [3, "taken"],
    ]);
  });

  test("whose quotes are broken and whose first line is not UTF-8 is the latter", () => {
    expect(read(Buffer.from(`${WIDE}\n${open}\xff\n${ROW},`, "latin1")).lines).toEqual([
      [2, "bad_encoding"],
      [3, "taken"],
    ]);
  });

  test("spans 100 lines at most", () => {
    expect(of(`${open}a`, ...Array(98).fill("x"), `b"`, `${ROW},`)).toEqual([
      [2, "taken"],
      [102, "taken"],
    ]);
    const broken = of(`${open}a`, ...Array(99).fill("x"), `b"`, `${ROW},`);
    expect(broken.length).toBe(102);
    expect([broken[0], broken[1], broken[101]]).toEqual([
      [2, "broken_quotes"],
      [3, "wrong_column_count"],
      [103, "taken"],
    ]);
  });

  test("has 64 KiB at most, without its end", () => {
    const record = (size: number) => `${open}\r\n${"x".repeat(size - open.length - 3)}"\r\n${ROW},`;
    expect(read(`${WIDE}\n${record(65_536)}`).lines).toEqual([
      [2, "taken"],
      [4, "taken"],
    ]);
    expect(read(`${WIDE}\n${record(65_537)}`).lines).toEqual([
      [2, "broken_quotes"],
      [3, "broken_quotes"],
      [4, "taken"],
    ]);
    // A line alone may have more.
    expect(read(`${WIDE}\n${open}${"x".repeat(70_000)}"`).lines).toEqual([[2, "taken"]]);
  });
});

describe("a file", () => {
  const tellFile = (file: Buffer, isNamedGz = false) => {
    const { isWhole, ...drop } = readFile(file, isNamedGz, WORLD);
    return { ...tell(drop), isWhole };
  };
  test("is unpacked whatever its name", () => {
    const packed = Buffer.concat([gzipSync(`${ROW}\n`), gzipSync(ROW)]);
    const both = [
      [1, "taken"],
      [2, "taken"],
    ];
    for (const isNamedGz of [false, true]) {
      expect(tellFile(packed, isNamedGz)).toMatchObject({ lines: both, isWhole: true });
      expect(tellFile(packed.subarray(0, -1), isNamedGz).isWhole).toBe(false);
      expect(tellFile(Buffer.from(ROW), isNamedGz)).toMatchObject({ lines: [[1, "taken"]], isWhole: true });
    }
    expect(tellFile(Buffer.alloc(0)).isWhole).toBe(true);
    expect(tellFile(Buffer.alloc(0), true).isWhole).toBe(false);
  });

  test("is decoded and judged after it is unpacked", () => {
    const wide = Buffer.from(`\ufeffé,${UUID},2018-06-01,1.00\n`, "utf16le");
    expect(tellFile(wide).lines).toEqual([[1, "taken"]]);
    expect(tellFile(gzipSync(wide)).lines).toEqual([[1, "taken"]]);
    expect(tellFile(wide.subarray(0, -1)).lines).toEqual([[1, "bad_encoding"]]);
    for (const text of [gzipSync(ROW), "PK\x03\x04", "\ufeff<html>", "%PDF-1", `${ROW}\r`])
      expect(tellFile(gzipSync(text))).toMatchObject({ refusal: "bad_container", lines: [] });
  });
});
