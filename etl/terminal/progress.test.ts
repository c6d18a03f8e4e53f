import { PassThrough } from "node:stream";
import { expect, onTestFinished, test, vi } from "vitest";
import { startDescription } from "./load_progress.ts";
import { fitParts, openProgress } from "./progress.ts";

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

test("of a description as much is shown as there is room for, the most important first", () => {
  const parts = ["a.csv: reading", "12 s left to read", "120,000 lines/s", "45.2 MB of 230.1 MB"];
  expect(fitParts(parts, 100)).toBe(
    "a.csv: reading, 12 s left to read, 120,000 lines/s, 45.2 MB of 230.1 MB",
  );
  expect(fitParts(parts, 60)).toBe("a.csv: reading, 12 s left to read, 120,000 lines/s");
  expect(fitParts(parts, 33)).toBe("a.csv: reading, 12 s left to read");
  expect(fitParts(parts, 32)).toBe("a.csv: reading");
  expect(fitParts(parts, 10)).toBe("a.csv: ...");
});

test("while a file is read the time that is left is shown, afterwards what is done and for how long", () => {
  vi.useFakeTimers({ toFake: ["performance"] });
  onTestFinished(() => {
    vi.useRealTimers();
  });
  const describe = startDescription("a.csv");
  const reading = { step: "insert", totalBytes: 100e6 } as const;
  expect(describe({ ...reading, bytes: 0, rows: 0 })()[0]).toBe("a.csv: reading");
  vi.advanceTimersByTime(4000);
  expect(describe({ ...reading, bytes: 25e6, rows: 400_000 })()).toEqual([
    "a.csv: reading",
    "12 s left to read",
    "100,000 lines/s",
    "25.0 MB of 100.0 MB",
    "400,000 lines",
  ]);
  const done = describe({ ...reading, bytes: 100e6, rows: 1_600_000 });
  vi.advanceTimersByTime(90_000);
  expect(done()).toEqual(["a.csv: sorting and inserting", "1:30 min so far", "1,600,000 lines"]);
  expect(describe({ step: "merge", bytes: 0, totalBytes: 100e6, rows: 1_600_000 })()).toEqual([
    "a.csv: merging",
    "1,600,000 lines",
  ]);
});

test("a bar fits the terminal", () => {
  const written: string[] = [];
  const stderr = Object.assign(new PassThrough(), {
    isTTY: true,
    columns: 80,
    cursorTo() {},
    clearLine() {},
  });
  stderr.on("data", (text) => written.push(String(text)));
  const streams = { stdout: stderr, stderr } as unknown as Parameters<typeof openProgress>[0];
  const bar = openProgress(streams);
  bar.update(0.5, () => [
    "a title of some length: reading",
    "12 s left to read",
    "120,000 lines/s",
    "x".repeat(60),
  ]);
  bar.stop();
  const line = written.find((text) => text.includes("12 s left")) ?? "";
  expect(line).toMatch(/50% a title of some length: reading, 12 s left to read$/);
});
