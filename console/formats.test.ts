import { expect, test } from "vitest";
import { chooseLocale, createFormats, monthName } from "./formats.ts";

test.each([
  [undefined, "en"],
  ["", "en"],
  ["*", "en"],
  ["de-DE,de;q=0.9,en;q=0.8", "de-DE"],
  ["en;q=0.5, fr-CH", "fr-CH"],
  ["xx-invalid-tag-that-is-much-too-long, de", "de"],
  ["de-u-nu-arab-ca-hebrew", "de"],
  ["de;q=0, en", "en"],
  ["<script>, de;q=x", "en"],
])("of %j the locale is %s", (header, locale) => {
  expect(chooseLocale(header)).toBe(locale);
});

test("money is exact, whatever its length", () => {
  const { euros, change } = createFormats("de-DE");
  expect(euros("1234567890123456789012.34")).toBe("1.234.567.890.123.456.789.012,34");
  expect(euros("-0.01")).toBe("-0,01");
  expect([change("12.50"), change("-12.50"), change("0.00")]).toEqual(["+12,50", "-12,50", "0,00"]);
});

test("numbers are in the locale of the reader, all else is English", () => {
  const [german, english] = [createFormats("de"), createFormats("en-GB")];
  expect([german.count(1234567), english.count(1234567)]).toEqual(["1.234.567", "1,234,567"]);
  expect([german.bytes(999), german.bytes(1_550_000), english.bytes(2e15)]).toEqual([
    "999 B",
    "1,6 MB",
    "2,000.0 TB",
  ]);
  expect([german.duration(12), english.duration(1500), german.duration(90_500)]).toEqual([
    "12 ms",
    "1.5 s",
    "1:30 min",
  ]);
  expect([german.share(0.5), english.growth(-0.123)].map((text) => text.replace(/\s/g, " "))).toEqual([
    "50,0 %",
    "-12.3%",
  ]);
  expect(monthName("2026-10-01")).toBe("October 2026");
});

test("a time says how long ago it was", () => {
  const { ago, instant } = createFormats("de");
  const now = Date.parse("2026-10-05T18:00:00Z");
  expect(String(ago("2026-10-05T19:59:30+02:00", now))).toContain(">30 seconds ago</time>");
  expect(String(ago("2026-10-05T17:59:00Z", now))).toContain(">1 minute ago<");
  expect(String(ago("2026-10-04T17:00:00Z", now))).toContain(">1 day ago<");
  expect(String(ago(null, now))).toBe("never");
  expect(String(instant("2026-10-05T18:00:00.5+02:00"))).toBe(
    '<time datetime="2026-10-05T18:00:00.5+02:00">2026-10-05 18:00</time>',
  );
});
