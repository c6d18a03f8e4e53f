import { DateTime } from "luxon";
import { describe, expect, test } from "vitest";
import { createTimeReader } from "../drop/value/time_reader.ts";
import { checkTimeFormat } from "./time_format.ts";

const GOOD = [
  "dd.MM.yyyy HH:mm:ss",
  "d.M.yyyy H:mm",
  "dd/MM/yyyy",
  "MM/dd/yy hh:mm a",
  "M/d/yyyy h:mm:ss a",
  "yyyyMMddHHmmss",
  "yyyy-MM-dd'T'HH:mm:ss.SSSZZ",
  "yyyy-MM-dd HH:mm:ss ZZZ",
  "yyyy-MM-dd HH:mm z",
  "dd MMM yyyy HH:mm",
  "d MMMM yyyy, HH.mm 'Uhr'",
  "cccc, d. LLLL yyyy HH",
  "yyyy-ooo HH:mm",
  "kkkk-'W'WW-c HH:mm",
];

test.each(GOOD)("the format %s is good, and read to the hour", (format) => {
  expect(checkTimeFormat(format)).toBeUndefined();
  const read = createTimeReader({ format, dayStarts: "00:00" });
  const hour = /h/i.test(format) ? "T17" : "T00";
  const text = DateTime.utc(2019, 12, 31, 17, 5, 6, 789).toFormat(format, { locale: "en-US" });
  expect(read(text)?.text.slice(0, 13)).toBe(`2019-12-31${hour}`);
});

describe("a format is refused that", () => {
  test.each([
    ["has no year", "dd.MM. HH:mm", "has no year"],
    ["has no month", "yyyy dd HH:mm", "has no month"],
    ["has no day", "MM/yyyy HH:mm", "has no day"],
    ["has minutes for months", "dd.mm.yyyy HH:mm", "has no month"],
    ["has no half of the day", "dd.MM.yyyy hh:mm", "half of the day"],
    ["has minutes, but no hour", "dd.MM.yyyy mm", "has no hour"],
    ["is empty", "", "cannot read"],
    ["is that of another language", "%d.%m.%Y", "has Y, which is no token"],
    ["is that of other libraries", "DD.MM.YYYY", "has DD, which is no token"],
    ["has a letter without quotes", "yyyy-MM-ddTHH:mm", "has T, which is no token"],
    ["cannot tell day from month", "dMyyyy", "cannot tell its numbers apart"],
    ["cannot tell hour from minute", "yyyy-MM-dd Hm", "cannot tell its numbers apart"],
    ["has the name of a zone, which cannot be read", "yyyy-MM-dd HH:mm ZZZZZ", "has ZZZZZ"],
    ["has seconds since 1970", "X", "has X, which is no token"],
    ["has the day twice", "yyyy-MM-dd ooo", "cannot read"],
    ["has a quote that is not closed", "yyyy-MM-dd 'at", "has t, which is no token"],
    ["is long", "yyyy".repeat(26), "is longer than 100"],
  ])("%s", (_, format, said) => {
    expect(checkTimeFormat(format)).toEqual(expect.stringContaining(said));
  });
});
