import { describe, expect, test } from "vitest";
import { readDropName } from "./name.ts";

describe("a name holds one sync date when it", () => {
  test.each([
    ["has hyphens", "sync_2018-07-09.csv", "2018-07-09"],
    ["is a run of 8 digits", "20180709.csv", "2018-07-09"],
    ["has underscores", "sync_2018_07_09.csv", "2018-07-09"],
    ["is written the German way", "kasse_09.07.2018.csv", "2018-07-09"],
    ["is a run of 12 digits", "pos_201807092359.csv", "2018-07-09"],
    ["is a run of 14 digits", "pos_20180709235959.csv", "2018-07-09"],
    ["is a run of 14 digits that end in no time of day", "20180709240000.csv", "2018-07-09"],
    ["is there in four forms", "2018-07-09_09.07.2018_2018_07_09_20180709.csv", "2018-07-09"],
    ["is the later of two", "two_2018-07-09_2018-07-10.csv", "2018-07-10"],
    ["is the later of two, whichever comes first", "20180710-09.07.2018.csv", "2018-07-10"],
    ["uses up its digits", "till_20.07.2018_07_19.csv", "2018-07-20"],
    ["follows digits that only look like one", "31.02.2018_07_20.csv", "2018-07-20"],
    ["stands between letters", "a2018-07-09b.csv", "2018-07-09"],
    ["is there twice", "2018-07-09_20180709.csv", "2018-07-09"],
    ["stands beside digits that are no date", "v12_20180709_20189999_123.csv", "2018-07-09"],
    ["stands beside a date of another century", "18990101_2018-07-09_21000101.csv", "2018-07-09"],
    ["stands beside other groups with hyphens", "11-2018-07-09-12.csv", "2018-07-09"],
    ["is a leap day", "2020-02-29.csv", "2020-02-29"],
    ["is the first that counts", "1900-01-01.csv", "1900-01-01"],
    ["is the last that counts", "20991231.csv", "2099-12-31"],
  ])("%s: %s", (_, fileName, syncedOn) => {
    expect(readDropName({ fileName })).toEqual({ kind: "named", syncedOn });
  });
});

describe("a name holds no sync date when", () => {
  test.each([
    ["there are no digits", "invoices.csv"],
    ["three dates differ", "three_2018-07-08_2018-07-09_2018-07-10.csv"],
    ["three dates differ in form too", "20180708_2018-07-09_10.07.2018.csv"],
    ["its parts are divided in two ways", "half_2018-07_20.csv"],
    ["its parts are divided by points, year first", "2018.07.20.csv"],
    ["the day has one digit", "1.07.2018.csv"],
    ["the calendar has no such date", "2018-02-29.csv"],
    ["the year is before 1900", "18991231.csv"],
    ["the year is after 2099", "2100-01-01.csv"],
    ["a digit stands before it", "12018-07-09.csv"],
    ["a digit stands after it", "2018-07-091.csv"],
    ["the run has 9 digits", "201807091.csv"],
    ["the run has 10 digits", "2018070912.csv"],
    ["the run has 13 digits", "2018070912305.csv"],
    ["only the folder has one", "2018-07-09/invoices.csv"],
    ["its digits are not ASCII", "２０１８-07-09.csv"],
  ])("%s: %s", (_, fileName) => {
    expect(readDropName({ fileName })).toMatchObject({ kind: "refused", code: "no_sync_date" });
  });
});

test("a refusal names the file and the remedy", () => {
  expect(readDropName({ fileName: "in/three_2018-07-09_20180710_11.07.2018.csv" })).toEqual({
    kind: "refused",
    code: "no_sync_date",
    message:
      "three_2018-07-09_20180710_11.07.2018.csv: its name holds 3 dates, 2018-07-09, 2018-07-10, 2018-07-11: " +
      "name the sync date once, or the two dates of a range, as YYYY-MM-DD, YYYY_MM_DD, DD.MM.YYYY or YYYYMMDD, or give it with --synced-on",
  });
});

test("a given sync date overrides the name", () => {
  for (const fileName of ["none.csv", "2018-07-09.csv", "2018-07-08_2018-07-09_2018-07-10.csv"]) {
    expect(readDropName({ fileName, syncedOn: "2020-01-02" })).toEqual({
      kind: "named",
      syncedOn: "2020-01-02",
    });
  }
});

test.each(["2018-07-09.csv", "2018-07-09.CSV", "2018-07-09.csv.gz", "2018-07-09.Csv.GZ"])(
  "%s is a drop",
  (fileName) => {
    expect(readDropName({ fileName })).toMatchObject({ kind: "named" });
  },
);

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

test("a file that a source reads may have any ending, and needs a sync date all the same", () => {
  const anyEnding = true;
  expect(readDropName({ fileName: "2018-07-09.txt", anyEnding })).toEqual({
    kind: "named",
    syncedOn: "2018-07-09",
  });
  expect(readDropName({ fileName: "sales.txt", anyEnding })).toMatchObject({
    code: "no_sync_date",
    message: expect.stringMatching(/ or say in the source where it is \(synced_on\)$/),
  });
});
