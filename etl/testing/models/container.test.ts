import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { findContainer, isGzip, toUtf8 } from "./container.ts";

test.each([
  ["an archive", "PK\x03\x04...", "zip"],
  ["an empty archive", "PK\x05\x06", "zip"],
  ["an archive in parts", "PK\x07\x08PK\x03\x04", "zip"],
  ["a text that begins with PK", "PK,x", undefined],
  ["a PDF", "%PDF-1.7\n", "PDF"],
  ["a venue called %PDF", "%PDF,x", undefined],
  ["an HTML page", "<!doctype html><p>", "HTML"],
  ["one in capitals", "<HTML lang=de>", "HTML"],
  ["one after blanks", " \t\r\n\n<!DocType Html>", "HTML"],
  ["a text with <htm", "<htm,x", undefined],
  ["a page after something", "x<html>", undefined],
  ["CR alone", "a\rb\r", "CR"],
  ["one CR", "a\r", "CR"],
  ["CRLF", "a\r\n", undefined],
  ["no line end", "a", undefined],
  ["an LF in time", `a\r${"x".repeat(65_533)}\n`, undefined],
  ["an LF too late", `a\r${"x".repeat(65_534)}\n`, "CR"],
  ["a CR too late", `${"x".repeat(65_536)}\r`, undefined],
  ["nothing", "", undefined],
])("%s is told by its first bytes", (_, text, container) => {
  expect(findContainer(Buffer.from(text), false)).toBe(container);
});

test("gzip is told by its first bytes, and an empty file by its name", () => {
  expect(isGzip(gzipSync(""), false)).toBe(true);
  expect(isGzip(Buffer.from([0x1f, 0x8b]), false)).toBe(true);
  expect(isGzip(Buffer.from([0x1f]), true)).toBe(false);
  expect(isGzip(Buffer.alloc(0), true)).toBe(true);
  expect(isGzip(Buffer.alloc(0), false)).toBe(false);
  expect(findContainer(gzipSync("x"), true)).toBe("gzip");
});

test.each([
  ["UTF-8", "61c3a9", "61c3a9"],
  ["UTF-8 with a mark", "efbbbf61", "61"],
  ["UTF-8 with two marks", "efbbbfefbbbf61", "efbbbf61"],
  ["UTF-16, low byte first", "fffe6100e90020ac", "61c3a9eab0a0"],
  ["UTF-16, high byte first", "feff006100e920ac", "61c3a9e282ac"],
  ["UTF-16 with two marks", "fffefffe6100", "efbbbf61"],
  ["a pair of surrogates", "feffd83dde00", "f09f9880"],
  ["a high surrogate alone", "feffd83d0061", "ff61"],
  ["a high surrogate at the end", "feffd83d", "ff"],
  ["a low surrogate alone", "feffde000061", "ff61"],
  ["two high surrogates and a low one", "feffd83dd83dde00", "fff09f9880"],
  ["an odd byte at the end", "feff006161", "61ff"],
  ["half a pair at the end", "feffd83dde", "ffff"],
  ["UTF-16 without anything", "fffe", ""],
])("%s becomes UTF-8", (_, hex, utf8) => {
  expect(toUtf8(Buffer.from(hex, "hex")).toString("hex")).toBe(utf8);
});
