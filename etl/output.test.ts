import { PassThrough } from "node:stream";
import { expect, onTestFinished, test, vi } from "vitest";
import {
  countOf,
  formatBytes,
  formatCount,
  formatDuration,
  formatEuros,
  formatInstant,
  formatTable,
  openProgress,
  printable,
  shorten,
  write,
} from "./output.ts";
import { isoInstant } from "./reports/zone.ts";

test("numbers, euros, bytes and durations are as people read them", () => {
  expect(formatCount(1234567)).toBe("1,234,567");
  expect(countOf(1, "line")).toBe("1 line");
  expect(countOf(0, "line")).toBe("0 lines");
  expect(formatEuros("1234567.80")).toBe("1,234,567.80");
  expect(formatEuros("-999.00")).toBe("-999.00");
  expect(formatEuros("-1000.05")).toBe("-1,000.05");
  expect(formatEuros("99999999999999999999.99")).toBe("99,999,999,999,999,999,999.99");
  expect(formatEuros("0")).toBe("0.00");
  expect(formatBytes(0)).toBe("0.0 kB");
  expect(formatBytes(12_345_678)).toBe("12.3 MB");
  expect(formatBytes(1_234_567_890)).toBe("1.23 GB");
  expect([0, 999, 1500, 59_999, 61_000].map(formatDuration)).toEqual([
    "0 ms",
    "999 ms",
    "1.5 s",
    "59.9 s",
    "1:01 min",
  ]);
});

test("instants are ISO 8601 for programs, and to the second for people", () => {
  expect(isoInstant("2026-10-05 18:00:00.123456+02")).toBe("2026-10-05T18:00:00.123456+02:00");
  expect(isoInstant("2026-10-05 18:00:00+05:30")).toBe("2026-10-05T18:00:00+05:30");
  expect(isoInstant("2026-10-05 18:00:00-03")).toBe("2026-10-05T18:00:00-03:00");
  expect(formatInstant("2026-10-05T18:00:00.123456+02:00")).toBe("2026-10-05 18:00:00+02:00");
});

test("what could steer a terminal is escaped, all else is left as it is", () => {
  expect(printable("a\u001b[31mb\n\u202ec\u0085\u2028d\u007f")).toBe(
    "a\\u{1b}[31mb\\u{a}\\u{202e}c\\u{85}\\u{2028}d\\u{7f}",
  );
  expect(printable("Café „Zur Post“ 東京 €")).toBe("Café „Zur Post“ 東京 €");
});

test("a long text loses its middle", () => {
  expect(shorten("short")).toBe("short");
  expect(shorten("a".repeat(50) + "b".repeat(50), 20)).toBe(`${"a".repeat(11)}...${"b".repeat(6)}`);
  expect([...shorten("😀".repeat(100), 20)]).toHaveLength(20);
});

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

test("a log gets a line of progress every fifteen seconds, whatever is opened, updated and closed meanwhile", () => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "performance"] });
  onTestFinished(() => {
    vi.useRealTimers();
  });
  const stderr = new PassThrough() as unknown as NodeJS.WriteStream;
  const said = () => (stderr.read() as Buffer | null)?.toString() ?? "";
  const streams = { stdout: stderr, stderr };
  for (let drop = 1; drop <= 14; drop += 1) {
    const bar = openProgress(streams);
    for (let part = 0; part < 10; part += 1) {
      vi.advanceTimersByTime(100);
      bar.update(part / 10, `${drop} of 20`);
    }
    bar.stop();
  }
  expect(said()).toBe("");
  const bar = openProgress(streams);
  bar.update(0.414, "15 of 20: merging 1,200,000 lines");
  vi.advanceTimersByTime(1000);
  expect(said()).toBe("41% 15 of 20: merging 1,200,000 lines\n");
  bar.update(0.5, "15 of 20: committing");
  vi.advanceTimersByTime(14_000);
  expect(said()).toBe("");
  vi.advanceTimersByTime(31_000);
  expect(said()).toBe("50% 15 of 20: committing\n".repeat(3));
  bar.stop();
  vi.advanceTimersByTime(60_000);
  expect(said()).toBe("");
});

test("a progress that was told nothing says nothing", () => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "performance"] });
  onTestFinished(() => {
    vi.useRealTimers();
  });
  const stderr = new PassThrough() as unknown as NodeJS.WriteStream;
  const bar = openProgress({ stdout: stderr, stderr });
  vi.advanceTimersByTime(60_000);
  bar.stop();
  expect(stderr.read()).toBeNull();
});

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
