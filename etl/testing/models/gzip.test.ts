import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { unpack } from "./gzip.ts";

describe("a gzip file", () => {
  const text = Buffer.from("v,a2b4c6d8-1111-4111-8111-00000000000f,2018-06-01,1.00\n".repeat(16));
  const whole = gzipSync(text);
  test("is whole with one member or several", () => {
    expect(unpack(whole)).toEqual({ bytes: text, isWhole: true });
    expect(unpack(Buffer.concat([whole, gzipSync(""), whole]))).toEqual({
      bytes: Buffer.concat([text, text]),
      isWhole: true,
    });
    for (const level of [0, 1, 9]) expect(unpack(gzipSync(text, { level })).bytes).toEqual(text);
  });

  test("is damaged when it is cut anywhere, followed by anything, or none at all", () => {
    for (let length = 0; length < whole.length; length++) {
      const { bytes, isWhole } = unpack(whole.subarray(0, length));
      expect([length, isWhole, text.subarray(0, bytes.length).equals(bytes)]).toEqual([length, false, true]);
    }
    for (const more of ["\0", "x", "\x1f"])
      expect(unpack(Buffer.concat([whole, Buffer.from(more)])).isWhole).toBe(false);
    expect(unpack(text)).toEqual({ bytes: Buffer.alloc(0), isWhole: false });
  });
});
