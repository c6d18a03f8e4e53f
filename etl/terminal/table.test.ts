import { expect, test } from "vitest";
import { formatTable } from "./table.ts";

test("a table aligns its columns, wide characters too, has no blanks at line ends, and escapes", () => {
  const columns = [{ title: "venue" }, { title: "total", align: "right" as const }, { title: "note" }];
  const rows = [
    ["東京", "1.00", ""],
    ["b\u001b", "1,000.00", "x"],
  ];
  expect(formatTable(columns, rows)).toBe(
    ["venue       total  note", "東京         1.00", "b\\u{1b}  1,000.00  x"].join("\n"),
  );
});
