import { PassThrough } from "node:stream";
import { expect, onTestFinished, test, vi } from "vitest";
import { openProgress } from "./progress.ts";

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
