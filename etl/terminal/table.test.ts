import { expect, test } from "vitest";
import { formatTable, wrap } from "./table.ts";

const COLUMNS = [
  { title: "file" },
  { title: "read", align: "right" as const },
  { title: "unchanged", align: "right" as const, leftOut: 1 },
  { title: "finished at", leftOut: 2 },
];
const ROWS = [["invoices_of_all_venues_2026-01-05.csv", "1,000", "0", "2026-01-05 18:00:00+00:00"]];

test("a table aligns its columns, wide characters too, has no blanks at line ends, and escapes", () => {
  const columns = [{ title: "venue" }, { title: "total", align: "right" as const }, { title: "no\u001bte" }];
  const rows = [
    ["東京", "1.00", ""],
    ["b\u001b", "1,000.00", "x"],
  ];
  expect(formatTable(columns, rows)).toBe(
    ["venue       total  no\\u{1b}te", "東京         1.00", "b\\u{1b}  1,000.00  x"].join("\n"),
  );
});

test("a table that is too wide loses its least important columns and says which; no line is too long", () => {
  expect(formatTable(COLUMNS, ROWS)).toContain("2026-01-05 18:00:00+00:00");
  expect(formatTable(COLUMNS, ROWS, 82)).toBe(formatTable(COLUMNS, ROWS));
  const narrow = formatTable(COLUMNS, ROWS, 81);
  expect(narrow).toContain("finished at");
  expect(narrow).toMatch(/\n\(left out: unchanged; a wider terminal or --json shows all\)$/);
  for (let width = 30; width < 90; width += 1) {
    const lines = formatTable(COLUMNS, ROWS, width).split("\n");
    expect(Math.max(...lines.map((line) => line.length)), String(width)).toBeLessThanOrEqual(width);
  }
});

test("a table with nothing to leave out is wrapped, and nothing of it is lost", () => {
  const table = formatTable(
    [{ title: "raw" }, { title: "line", align: "right" }],
    [["x".repeat(100), "7"]],
    40,
  );
  const lines = table.split("\n");
  expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(40);
  expect(table.match(/x/g)).toHaveLength(100);
});

test("text is wrapped between words", () => {
  expect(wrap("one two three four", 9)).toBe("one two\nthree\nfour");
});
