import { expect, test } from "vitest";
import { printable } from "./escape.ts";

test("what could steer a terminal is escaped, all else is left as it is", () => {
  expect(printable("a\u001b[31mb\n\u202ec\u0085\u2028d\u007f")).toBe(
    "a\\u{1b}[31mb\\u{a}\\u{202e}c\\u{85}\\u{2028}d\\u{7f}",
  );
  expect(printable("Café „Zur Post“ 東京 €")).toBe("Café „Zur Post“ 東京 €");
});
