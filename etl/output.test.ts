import { PassThrough } from "node:stream";
import { expect, test } from "vitest";
import { write } from "./output.ts";

test("a write waits for a slow reader, and after an abort nothing more is written", async () => {
  const stream = new PassThrough({ highWaterMark: 4 });
  const stdout = stream as unknown as NodeJS.WriteStream;
  const abort = new AbortController();
  const streams = { stdout, stderr: stdout, signal: abort.signal };
  let done = false;
  const first = write(streams, "abcdefgh").then(() => {
    done = true;
  });
  await new Promise((resolve) => setImmediate(resolve));
  expect(done).toBe(false);
  expect(String(stream.read())).toBe("abcdefgh");
  await first;
  abort.abort(new Error("enough"));
  await expect(write(streams, "ij")).rejects.toThrow("enough");
  expect(stream.read()).toBeNull();
});
