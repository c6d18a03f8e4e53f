/** The model against the sentences of the drop format (docs/design.md, "The drop format"), one by one. */
import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { readDrop } from "./format.ts";
import { unpack } from "./gzip.ts";
import { decideLine, decode, splitCells, type World } from "./line.ts";
import { readTime, readTotal, readUuid } from "./values.ts";

const UUID = "a2b4c6d8-1111-4111-8111-00000000000f";
const HEX = UUID.replaceAll("-", "");
const WORLD: World = {
  timeZone: "Europe/Berlin",
  earliest: "2000-01-01",
  syncedOn: "2018-10-28",
  closed: [["2018-02-01", "2018-03-01"]],
  decimalComma: false,
};
const POSITIONS = { venue_id: 0, invoice_id: 1, datetime_created: 2, total: 3 };
const LAYOUT = { delimiter: ",", cells: 4, positions: POSITIONS } as const;

interface Cells {
  readonly venue?: string;
  readonly uuid?: string;
  readonly time?: string;
  readonly total?: string;
}

function decide({ venue = "v", uuid = UUID, time = "2018-06-01", total = "1.00" }: Cells, world = WORLD) {
  return decideLine(Buffer.from([venue, uuid, time, total].join(",")), LAYOUT, world);
}

function reasonOf(cells: Cells, world = WORLD): string {
  const decision = decide(cells, world);
  return decision.kind === "taken" ? "taken" : decision.reason;
}

/** What a drop comes to: line numbers with reasons. */
function read(text: string | Buffer) {
  const { lines, refusal, layout } = readDrop(Buffer.from(text), WORLD);
  const said = lines.map(({ number, decision }) => [
    number,
    decision.kind === "taken" ? "taken" : decision.reason,
  ]);
  return { lines: said, refusal: refusal?.code, delimiter: layout.delimiter };
}

const ROW = `v,${UUID},2018-06-01,1.00`;
const HEADER = "venue_id,invoice_id,datetime_created,total";

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
    for (const text of ["", "\n\r\n", "\ufeff", HEADER])
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
    expect(read(`${ROW}\n${long}x\n${ROW}`)).toMatchObject({
      lines: [[1, "taken"]],
      refusal: "line_too_long",
    });
  });
});

describe("the dialect", () => {
  test.each([
    ["comma", ROW, ","],
    ["semicolon", ROW.replaceAll(",", ";"), ";"],
    ["tab", ROW.replaceAll(",", "\t"), "\t"],
    ["the first that makes four cells", `a;b;c,${UUID},2018-06-01,1;00`, ","],
    ["the first that makes all four names", `x;${HEADER.replaceAll(",", ";")}`, ";"],
    ["comma where none fits", "a|b|c|d", ","],
  ])("%s", (_, text, delimiter) => {
    expect(read(text).delimiter).toBe(delimiter);
  });

  test.each([
    ["names in any order", "total,venue_id,datetime_created,invoice_id", `1.00,v,2018-06-01,${UUID}`],
    ["names with blanks around them, in any case", " Venue_ID,\tinvoice_id ,DATETIME_CREATED,total", ROW],
    ["names in quotes", '"venue_id","invoice_id","datetime_created"," total "', ROW],
    ["further columns, which are ignored", `note,${HEADER}`, `"a,b",${ROW}`],
  ])("a header with %s", (_, header, line) => {
    expect(read(`${header}\n${line}`)).toMatchObject({ lines: [[2, "taken"]], refusal: undefined });
  });

  test("a header that lacks a name or has one twice refuses the drop", () => {
    for (const header of [
      "venue_id,invoice_id,datetime_created",
      "total",
      `${HEADER},total`,
      `x,${HEADER.replace("total", "sum")}`,
    ]) {
      expect(read(`${header}\n${ROW}`)).toMatchObject({ lines: [], refusal: "bad_header" });
    }
  });

  test("a first line without any of the names is a record", () => {
    expect(read("venue,invoice,datetime,sum").lines).toEqual([[1, "bad_uuid"]]);
  });
});

test.each([
  ['"a"', ["a"]],
  ['"a,b",c', ["a,b", "c"]],
  ['"a""b"', ['a"b']],
  ['""', [""]],
  ['""""', ['"']],
  ["", [""]],
  [",", ["", ""]],
  ['a"b', undefined],
  ['"a', undefined],
  ['"a"b', undefined],
  ['"a" ,b', undefined],
  [' "a"', undefined],
])("the cells of %s are %j", (text, cells) => {
  expect(splitCells(text, ",")).toEqual(cells);
});

test.each([
  ["41", "A"],
  ["c3a9", "é"],
  ["f09f9880", "😀"],
  ["f48fbfbf", "\u{10ffff}"],
  ["ed9fbf", "\ud7ff"],
  ["c080", undefined],
  ["e08080", undefined],
  ["f0808080", undefined],
  ["eda080", undefined],
  ["f4908080", undefined],
  ["ff", undefined],
  ["80", undefined],
  ["c3", undefined],
  ["e282", undefined],
  ["c341", undefined],
])("the bytes %s are %j", (hex, text) => {
  expect(decode(Buffer.from(hex, "hex"))).toBe(text);
});

describe("a venue", () => {
  test.each([
    ["kept exactly as it is", " v\t", "taken"],
    ["of 200 characters", "x".repeat(200), "taken"],
    ["of 200 characters of four bytes", "😀".repeat(200), "taken"],
    ["of 201 characters", "é".repeat(201), "venue_too_long"],
    ["of none", "", "missing_venue"],
    ["of blanks and tabs", " \t ", "missing_venue"],
    ["of 201 blanks", " ".repeat(201), "missing_venue"],
    ["of other white space", "\u00a0", "taken"],
    ["with a null character", "a\0", "bad_encoding"],
    ["with U+001F", "a\u001f", "bad_encoding"],
    ["with U+007F", "a\u007f", "bad_encoding"],
    ["with U+0080", "a\u0080", "taken"],
  ])("%s", (_, venue, reason) => {
    expect(reasonOf({ venue })).toBe(reason);
    const decision = decide({ venue });
    if (decision.kind === "taken") expect(decision.invoice.venue).toBe(venue);
  });
});

const FOURS = HEX.replace(/(.{4})(?=.)/g, "$1-");

test.each([
  [UUID, true],
  [UUID.toUpperCase(), true],
  [HEX, true],
  [`{${UUID}}`, true],
  [`{${HEX}}`, true],
  [FOURS, true],
  [`{${FOURS}}`, true],
  [`${HEX.slice(0, 4)}-${HEX.slice(4)}`, true],
  [`{${UUID}`, false],
  [`${UUID}}`, false],
  [`${HEX.slice(0, 2)}-${HEX.slice(2)}`, false],
  [`${HEX}-`, false],
  [`-${HEX}`, false],
  [UUID.replace("-", "--"), false],
  [HEX.slice(1), false],
  [`${HEX}0`, false],
  [UUID.replace("a", "g"), false],
  ["", false],
])("%s is a UUID: %s", (text, isUuid) => {
  expect(readUuid(text)).toBe(isUuid ? UUID : undefined);
});

const NOON = Date.parse("2018-06-01T12:00:00Z") / 1000;

test.each([
  ["2018-06-01", NOON - 43_200, 0, undefined],
  ["2018-06-01T12:00", NOON, 0, undefined],
  ["2018-06-01 12:00:00", NOON, 0, undefined],
  ["2018-06-01T12:00:00.5", NOON, 500_000, undefined],
  ["2018-06-01T12:00:00.123456789", NOON, 123_456, undefined],
  ["2018-06-01T12:00:00.999999999Z", NOON, 999_999, 0],
  ["2018-06-01T12:00Z", NOON, 0, 0],
  ["2018-06-01T12:00+02", NOON, 0, 7200],
  ["2018-06-01T12:00:00-0330", NOON, 0, -12_600],
  ["2018-06-01T12:00:00+15:59", NOON, 0, 57_540],
  ["2016-02-29T00:00:00", Date.parse("2016-02-29") / 1000, 0, undefined],
])("the time %s", (text, wall, micros, offset) => {
  expect(readTime(text)).toEqual({ wall, micros, offset });
});

test.each([
  ["2018-06-01Z"],
  ["2018-06-01T"],
  ["2018-06-01T12"],
  ["2018-06-01T12:00.5"],
  ["2018-06-01T12:00:00."],
  ["2018-06-01T12:00:00.1234567890"],
  ["2018-06-01  12:00"],
  ["2018-06-01t12:00"],
  ["2018-06-01T12:00z"],
  ["2018-06-01T12:00 Z"],
  ["2018-06-01T12:00+16"],
  ["2018-06-01T12:00+02:60"],
  ["2018-06-01T12:00+2"],
  ["2018-06-01T24:00"],
  ["2018-06-01T12:00:60"],
  ["2018-02-29"],
  ["2018-6-1"],
  ["0000-01-01"],
  ["now"],
  [""],
])("no time: %j", (text) => {
  expect(readTime(text)).toBeUndefined();
});

describe("created_on", () => {
  test.each([
    ["the local date of an instant", "2018-06-01T22:30:00Z", "2018-06-02", "2018-06-01T22:30:00Z"],
    ["wall-clock time without an offset", "2018-06-01T00:10:00", "2018-06-01", "2018-05-31T22:10:00Z"],
    ["in a gap by the smaller offset", "2018-03-25T02:30:00", "2018-03-25", "2018-03-25T01:30:00Z"],
    ["in an overlap by the smaller offset", "2018-10-28T02:30:00", "2018-10-28", "2018-10-28T01:30:00Z"],
    ["the first date", "2000-01-01", "2000-01-01", "1999-12-31T23:00:00Z"],
    ["the sync date", "2018-10-28T22:59:59Z", "2018-10-28", "2018-10-28T22:59:59Z"],
  ])("is %s", (_, time, createdOn, instant) => {
    const micros = BigInt(Date.parse(instant)) * 1000n;
    expect(decide({ time })).toMatchObject({ kind: "taken", invoice: { createdOn, instant: micros } });
  });

  test.each([
    ["1999-12-31T22:59:59Z", "created_before_earliest"],
    ["2018-10-28T23:00:00Z", "created_after_sync"],
    ["2018-02-01", "partition_closed"],
    ["2018-02-28T22:59:59Z", "partition_closed"],
    ["2018-02-28T23:00:00Z", "taken"],
  ])("of %s: %s", (time, reason) => {
    expect(reasonOf({ time })).toBe(reason);
  });
});

test.each<[string, bigint | string]>([
  ["1", 100n],
  ["+1.5", 150n],
  ["-1.50", -150n],
  [".5", 50n],
  ["5.", 500n],
  ["-0", 0n],
  ["1e2", 10_000n],
  ["1.5E-1", 15n],
  ["0e9999", 0n],
  ["1e-9999", 0n],
  ["999999999999.99", 99_999_999_999_999n],
  ["19.990000000000002", 1999n],
  ["12.340001", 1234n],
  ["12.339999", 1234n],
  ["12.3400011", "sub_cent_total"],
  ["12.345", "sub_cent_total"],
  ["999999999999.996", "sub_cent_total"],
  ["999999999999.9999999", "bad_total"],
  ["1e12", "bad_total"],
  ["1e9999", "bad_total"],
  ["1e10000", "bad_total"],
  ["1,50", "bad_total"],
  ["", "bad_total"],
  [".", "bad_total"],
  ["NaN", "bad_total"],
  ["Infinity", "bad_total"],
  ["0x10", "bad_total"],
  ["1_000", "bad_total"],
  ["1 000", "bad_total"],
  ["--1", "bad_total"],
])("the total %j is %s", (text, cents) => {
  expect(readTotal(text, false)).toBe(cents);
});

test("with a decimal comma points are taken, too, but not both", () => {
  expect(
    ["1,50", "1.50", ",5", "5,", "1,5e1", "1.000,00", "1,5,0"].map((text) => readTotal(text, true)),
  ).toEqual([150n, 150n, 50n, 500n, 1500n, "bad_total", "bad_total"]);
});

test("blanks and tabs around the last three fields are ignored, other white space is not", () => {
  expect(reasonOf({ uuid: ` ${UUID}\t`, time: "\t 2018-06-01 ", total: " 1.00 " })).toBe("taken");
  expect(reasonOf({ uuid: `"\t${UUID} "` })).toBe("taken");
  expect(reasonOf({ uuid: `\u00a0${UUID}` })).toBe("bad_uuid");
  expect(reasonOf({ total: "1.00\u00a0" })).toBe("bad_total");
});

test("a line is rejected for the first reason that applies", () => {
  const late = { venue: "", uuid: "x", time: "x", total: "x" };
  expect(reasonOf({ ...late, venue: '"\u0001' })).toBe("bad_encoding");
  expect(reasonOf({ ...late, venue: '"' })).toBe("broken_quotes");
  expect(reasonOf({ ...late, venue: "," })).toBe("wrong_column_count");
  expect(reasonOf(late)).toBe("missing_venue");
  expect(reasonOf({ ...late, venue: "x".repeat(201) })).toBe("venue_too_long");
  expect(reasonOf({ ...late, venue: "v" })).toBe("bad_uuid");
  expect(reasonOf({ time: "x", total: "x" })).toBe("bad_timestamp");
  expect(reasonOf({ time: "1999-01-01", total: "x" })).toBe("bad_total");
  expect(reasonOf({ time: "1999-01-01", total: "1.005" })).toBe("sub_cent_total");
  const closed: World = { ...WORLD, closed: [["1990-01-01", "2030-01-01"]] };
  expect(reasonOf({ time: "1999-01-01" }, closed)).toBe("created_before_earliest");
  expect(reasonOf({ time: "2019-01-01" }, closed)).toBe("created_after_sync");
  expect(reasonOf({}, closed)).toBe("partition_closed");
});

describe("a gzip file", () => {
  const text = Buffer.from(`${ROW}\n${HEX}\n`.repeat(8));
  const whole = gzipSync(text);
  test("is whole with one member or several", () => {
    expect(unpack(whole)).toEqual({ bytes: text, isWhole: true });
    expect(unpack(Buffer.concat([whole, gzipSync(""), whole]))).toEqual({
      bytes: Buffer.concat([text, text]),
      isWhole: true,
    });
    for (const level of [0, 1, 9]) expect(unpack(gzipSync(text, { level })).bytes).toEqual(text);
  });

  test("is damaged when it is cut anywhere, followed by anything, or none at all", () => {
    for (let length = 0; length < whole.length; length++) {
      const { bytes, isWhole } = unpack(whole.subarray(0, length));
      expect([length, isWhole, text.subarray(0, bytes.length).equals(bytes)]).toEqual([length, false, true]);
    }
    for (const more of ["\0", "x", "\x1f"])
      expect(unpack(Buffer.concat([whole, Buffer.from(more)])).isWhole).toBe(false);
    expect(unpack(text)).toEqual({ bytes: Buffer.alloc(0), isWhole: false });
  });
});
