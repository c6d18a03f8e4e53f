/** The model against the sentences of the drop format about one record (docs/design.md, "The drop format"). */
import { describe, expect, test } from "vitest";
import { decideRecord, decode, splitCells, type World } from "./line.ts";
import { readTime, readUuid } from "./values.ts";

const UUID = "a2b4c6d8-1111-4111-8111-00000000000f";
const HEX = UUID.replaceAll("-", "");
const WORLD: World = {
  timeZone: "Europe/Berlin",
  dayStarts: "00:00",
  earliest: "2000-01-01",
  syncedOn: "2018-10-28",
  syncSlack: 0,
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
  return decideRecord(Buffer.from([venue, uuid, time, total].join(",")), LAYOUT, world);
}

function reasonOf(cells: Cells, world = WORLD): string {
  const decision = decide(cells, world);
  return decision?.kind === "rejected" ? decision.reason : (decision?.kind ?? "nothing");
}

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
    if (decision?.kind === "taken") expect(decision.invoice.venue).toBe(venue);
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
  ["01.06.2018", NOON - 43_200, 0, undefined],
  ["2018-06-01T12:00", NOON, 0, undefined],
  ["2018-06-01 12:00:00", NOON, 0, undefined],
  ["01.06.2018 12:00:00", NOON, 0, undefined],
  ["01.06.2018T12:00Z", NOON, 0, 0],
  ["2018-06-01T12:00:00.5", NOON, 500_000, undefined],
  ["2018-06-01T12:00:00.123456789", NOON, 123_456, undefined],
  ["2018-06-01T12:00:00.999999999Z", NOON, 999_999, 0],
  ["2018-06-01T12:00Z", NOON, 0, 0],
  ["2018-06-01T12:00z", NOON, 0, 0],
  ["2018-06-01T12:00 Z", NOON, 0, 0],
  ["2018-06-01T12:00UTC", NOON, 0, 0],
  ["2018-06-01T12:00:00.0 GMT", NOON, 0, 0],
  ["2018-06-01T12:00+02", NOON, 0, 7200],
  ["2018-06-01T12:00 +02", NOON, 0, 7200],
  ["2018-06-01T12:00:00-0330", NOON, 0, -12_600],
  ["2018-06-01T12:00:00+15:59", NOON, 0, 57_540],
  ["2016-02-29T00:00:00", Date.parse("2016-02-29") / 1000, 0, undefined],
])("the time %s", (text, wall, micros, offset) => {
  expect(readTime(text)).toEqual({ wall, micros, offset, isDate: text.length === 10 });
});

test.each([
  ["2018-06-01Z"],
  ["2018-06-01T"],
  ["2018-06-01T12"],
  ["2018-06-01T12:00.5"],
  ["2018-06-01T12:00:00."],
  ["2018-06-01T12:00:00.1234567890"],
  ["2018-06-01  12:00"],
  ["2018-06-01\t12:00"],
  ["2018-06-01t12:00"],
  ["2018-06-01T12:00 "],
  ["2018-06-01T12:00  Z"],
  ["2018-06-01T12:00\tZ"],
  ["2018-06-01T12:00utc"],
  ["2018-06-01T12:00 Gmt"],
  ["2018-06-01T12:00ZZ"],
  ["2018-06-01T12:00UTC+2"],
  ["2018-06-01T12:00 CET"],
  ["2018-06-01T12:00+16"],
  ["2018-06-01T12:00+02:60"],
  ["2018-06-01T12:00+02:"],
  ["2018-06-01T12:00+2"],
  ["2018-06-01T24:00"],
  ["2018-06-01T12:00:60"],
  ["2018-02-29"],
  ["2018-6-1"],
  ["1.6.2018"],
  ["01.06.18"],
  ["32.01.2018"],
  ["2018.06.01"],
  ["01-06-2018"],
  ["01.06-2018"],
  ["2018_06_01"],
  ["01/06/2018"],
  ["01.06.2018Z"],
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

describe("created_on where a day starts at 04:00", () => {
  const world: World = { ...WORLD, dayStarts: "04:00" };
  test.each([
    ["is the day before until then", "2018-06-02T03:59:59.999999", "2018-06-01", "2018-06-02T01:59:59.999Z"],
    ["is the day from then on", "2018-06-02T04:00:00", "2018-06-02", "2018-06-02T02:00:00.000Z"],
    [
      "goes by the wall clock of winter, too",
      "2018-01-02T02:59:59Z",
      "2018-01-01",
      "2018-01-02T02:59:59.000Z",
    ],
    ["is a date that stands alone", "02.06.2018", "2018-06-02", "2018-06-02T02:00:00.000Z"],
    [
      "is the day before in the hours after a gap",
      "2018-03-25T02:30",
      "2018-03-24",
      "2018-03-25T01:30:00.000Z",
    ],
    ["may be the sync date on the next one", "2018-10-29T03:59", "2018-10-28", "2018-10-29T02:59:00.000Z"],
  ])("%s", (_, time, createdOn, instant) => {
    const decision = decide({ time }, world);
    if (decision?.kind !== "taken") throw new Error(JSON.stringify(decision));
    expect(decision.invoice.createdOn).toBe(createdOn);
    expect(new Date(Number(decision.invoice.instant / 1000n)).toISOString()).toBe(instant);
  });

  test("decides what is too early", () => {
    expect(reasonOf({ time: "2000-01-01T03:59:59" }, world)).toBe("created_before_earliest");
    expect(reasonOf({ time: "2000-01-01" }, world)).toBe("taken");
    expect(reasonOf({ time: "2018-10-29T04:00" }, world)).toBe("created_after_sync");
  });
});

test("so many days after the sync date are taken as the slack says", () => {
  const days = ["2018-10-28", "2018-10-29", "2018-10-30"];
  const reasons = (syncSlack: number) => days.map((time) => reasonOf({ time }, { ...WORLD, syncSlack }));
  expect(reasons(0)).toEqual(["taken", "created_after_sync", "created_after_sync"]);
  expect(reasons(1)).toEqual(["taken", "taken", "created_after_sync"]);
  expect(reasons(2)).toEqual(["taken", "taken", "taken"]);
});

test("blanks and tabs around the last three fields are ignored, other white space is not", () => {
  expect(reasonOf({ uuid: ` ${UUID}\t`, time: "\t 2018-06-01 ", total: " 1.00 " })).toBe("taken");
  expect(reasonOf({ uuid: `"\t${UUID} "` })).toBe("taken");
  expect(reasonOf({ uuid: `\u00a0${UUID}` })).toBe("bad_uuid");
  expect(reasonOf({ total: "1.00\u00a0" })).toBe("bad_total");
});

test.each([
  [",,,", "nothing"],
  [' ,\t,"", " "', "broken_quotes"],
  [' ,\t,""," "', "nothing"],
  [",,,,", "nothing"],
  [',,,,""', "nothing"],
  [",,,, ", "wrong_column_count"],
  [",,", "wrong_column_count"],
  [",,,,,", "wrong_column_count"],
  ["\u00a0,,,", "bad_uuid"],
  [",,,0", "missing_venue"],
  [`v,${UUID},2018-06-01,1.00,`, "taken"],
  [`v,${UUID},2018-06-01,1.00,""`, "taken"],
  [`v,${UUID},2018-06-01,1.00, `, "wrong_column_count"],
  [`v,${UUID},2018-06-01,1.00,,`, "wrong_column_count"],
  [`v,${UUID},2018-06-01,`, "bad_total"],
])("the record %j: %s", (text, reason) => {
  const decision = decideRecord(Buffer.from(text), LAYOUT, WORLD);
  expect(decision?.kind === "rejected" ? decision.reason : (decision?.kind ?? "nothing")).toBe(reason);
});

test("a line break stands in ignored columns only", () => {
  const layout = { delimiter: ",", cells: 5, positions: POSITIONS } as const;
  const decideText = (text: string) => {
    const decision = decideRecord(Buffer.from(text), layout, WORLD);
    return decision?.kind === "rejected" ? decision.reason : (decision?.kind ?? "nothing");
  };
  const good = `v,${UUID},2018-06-01,1.00`;
  expect(decideText(`${good},"a\nb"`)).toBe("taken");
  expect(decideText(`${good},"a\r\nb\n"`)).toBe("taken");
  expect(decideText(`,,,,"a\nb"`)).toBe("nothing");
  expect(decideText(`${good},"a\rb"`)).toBe("bad_encoding");
  expect(decideText(`${good},"a\r\r\nb"`)).toBe("bad_encoding");
  expect(decideText(`${good},"a\0\nb"`)).toBe("bad_encoding");
  expect(decideText(`${good},,"a\nb"`)).toBe("bad_encoding");
  expect(decideText(`v,"${UUID}\n",2018-06-01,1.00,`)).toBe("bad_encoding");
  expect(decideText(`v,"\n"`)).toBe("bad_encoding");
  expect(decideText(`${good},"a\nb",x`)).toBe("wrong_column_count");
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
  expect(reasonOf({ time: "1999-01-01", total: '"1,234"' })).toBe("ambiguous_total");
  expect(reasonOf({ time: "1999-01-01", total: "1.005" })).toBe("sub_cent_total");
  const closed: World = { ...WORLD, closed: [["1990-01-01", "2030-01-01"]] };
  expect(reasonOf({ time: "1999-01-01" }, closed)).toBe("created_before_earliest");
  expect(reasonOf({ time: "2019-01-01" }, closed)).toBe("created_after_sync");
  expect(reasonOf({}, { ...closed, closedPeriods: closed.closed })).toBe("partition_closed");
  expect(reasonOf({}, { ...WORLD, closedPeriods: closed.closed })).toBe("period_closed");
});
