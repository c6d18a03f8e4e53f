import { expect, test } from "vitest";
import { readRejectLimit } from "./reject_limit.ts";

test.each([
  ["0", { share: 0, lines: 0 }],
  ["0.01", { share: 0.01, lines: 0 }],
  [".5", { share: 0.5, lines: 0 }],
  ["1.", { share: 1, lines: 0 }],
  ["0.01+3", { share: 0.01, lines: 3 }],
  ["1.01", undefined],
  ["-0.1", undefined],
  ["1 %", undefined],
  ["1e-2", undefined],
  ["0.01+", undefined],
  ["+3", undefined],
  ["", undefined],
])("the limit %j is %j", (text, limit) => {
  expect(readRejectLimit(text)).toEqual(limit);
});
