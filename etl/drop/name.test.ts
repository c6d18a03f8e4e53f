import { describe, expect, test } from "vitest";
import { readDropName } from "./name.ts";

describe("a name holds one sync date when it", () => {
  test.each([
    ["has hyphens", "sync_2018-07-09.csv", "2018-07-09"],
    ["is a run of 8 digits", "20180709.csv", "2018-07-09"],
    ["is a run of 14 digits", "pos_20180709235959.csv", "2018-07-09"],
    ["stands between letters", "a2018-07-09b.csv", "2018-07-09"],
    ["is there twice", "2018-07-09_20180709.csv", "2018-07-09"],
    ["stands beside digits that are no date", "v12_20180709_20189999_123.csv", "2018-07-09"],
    ["stands beside a date of another century", "18990101_2018-07-09_21000101.csv", "2018-07-09"],
    ["stands beside other groups with hyphens", "11-2018-07-09-12.csv", "2018-07-09"],
    ["is a leap day", "2020-02-29.csv", "2020-02-29"],
    ["is the first that counts", "1900-01-01.csv", "1900-01-01"],
    ["is the last that counts", "20991231.csv", "2099-12-31"],
  ])("%s: %s", (_, fileName, syncedOn) => {
    expect(readDropName({ fileName })).toEqual({ kind: "named", gzip: false, syncedOn });
  });
});

describe("a name holds no sync date when", () => {
  test.each([
    ["there are no digits", "invoices.csv"],
    ["two dates differ", "two_2018-07-09_2018-07-10.csv"],
    ["two dates differ in form too", "20180709_2018-07-10.csv"],
    ["the calendar has no such date", "2018-02-29.csv"],
    ["the year is before 1900", "18991231.csv"],
    ["the year is after 2099", "2100-01-01.csv"],
    ["a digit stands before it", "12018-07-09.csv"],
    ["a digit stands after it", "2018-07-091.csv"],
    ["the run has 9 digits", "201807091.csv"],
    ["the run has 12 digits", "201807091230.csv"],
    ["the run of 14 ends in no time of day", "20180709240000.csv"],
    ["only the folder has one", "2018-07-09/invoices.csv"],
    ["its digits are not ASCII", "２０１８-07-09.csv"],
  ])("%s: %s", (_, fileName) => {
    expect(readDropName({ fileName })).toMatchObject({ kind: "refused", code: "no_sync_date" });
  });
});

test("a refusal names the file and the remedy", () => {
  expect(readDropName({ fileName: "in/two_2018-07-09_20180710.csv" })).toEqual({
    kind: "refused",
    code: "no_sync_date",
    message:
      "two_2018-07-09_20180710.csv: its name holds 2 dates, 2018-07-09 and 2018-07-10: " +
      "name the sync date once, as YYYY-MM-DD or YYYYMMDD, or give it with --synced-on",
  });
});

test("a given sync date overrides the name", () => {
  for (const fileName of ["none.csv", "2018-07-09.csv", "2018-07-09_2018-07-10.csv"]) {
    const named = readDropName({ fileName, syncedOn: "2020-01-02" });
    expect(named).toEqual({ kind: "named", gzip: false, syncedOn: "2020-01-02" });
  }
});

test.each([
  ["2018-07-09.csv", false],
  ["2018-07-09.CSV", false],
  ["2018-07-09.csv.gz", true],
  ["2018-07-09.Csv.GZ", true],
])("%s is a drop", (fileName, gzip) => {
  expect(readDropName({ fileName })).toMatchObject({ kind: "named", gzip });
});

test.each([
  "2018-07-09.txt",
  "2018-07-09.gz",
  "2018-07-09.csv.zip",
  "2018-07-09csv",
  "2018-07-09.csv.gz.part",
])("%s is not a drop, whatever the sync date", (fileName) => {
  expect(readDropName({ fileName, syncedOn: "2018-07-09" })).toMatchObject({
    kind: "refused",
    code: "not_csv",
  });
});
