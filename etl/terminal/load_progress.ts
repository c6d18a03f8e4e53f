/** How far a load is, and what it is doing, for people. */
import type { LoadProgress, LoadStep } from "../load/steps.ts";
import { formatBytes, formatCount, formatDuration } from "./format.ts";
import type { Description } from "./progress.ts";

/** How far a load is, by the time that its steps usually take. The database does not report how far it is. */
export function loadShare({ step, bytes, totalBytes }: LoadProgress): number {
  switch (step) {
    case "hash":
    case "claim":
      return 0;
    case "insert":
      return totalBytes === 0 ? 0 : (bytes / totalBytes) * 0.9;
    case "stage":
      return totalBytes === 0 ? 0 : (bytes / totalBytes) * 0.4;
    case "prepare":
      return 0.4;
    case "merge":
      return 0.5;
    case "commit":
    case "committed":
      return 1;
  }
}

/** An estimate from less than this is worth nothing. */
const LEAST_MS = 1000;

/**
 * Describes what a load is doing. While the file is read: the time that the rest of it takes at the rate so far. Of what comes after
 * that nobody knows how long it takes: its name, and the time that it has taken.
 */
export function startDescription(title: string): (progress: LoadProgress) => Description {
  let step: LoadStep | undefined;
  let since = 0;
  let isRead = false;
  return (progress) => {
    const read =
      progress.step === "insert" && progress.totalBytes > 0 && progress.bytes >= progress.totalBytes;
    if (progress.step !== step || read !== isRead) since = performance.now();
    step = progress.step;
    isRead = read;
    const began = since;
    return () => {
      const elapsedMs = performance.now() - began;
      const [what, ...more] = describeStep(progress, isRead, elapsedMs);
      return [`${title}: ${what}`, ...more];
    };
  };
}

function describeStep(progress: LoadProgress, isRead: boolean, elapsedMs: number): readonly string[] {
  const { step, bytes, totalBytes, rows } = progress;
  const lines = `${formatCount(rows)} lines`;
  const soFar = elapsedMs < LEAST_MS ? [] : [`${formatSeconds(elapsedMs)} so far`];
  switch (step) {
    case "hash":
      return ["checking", formatBytes(bytes), ...soFar];
    case "claim":
      return ["waiting for its turn", ...soFar];
    case "insert":
    case "stage":
      if (isRead) return ["sorting and inserting", ...soFar, lines];
      return [
        "reading",
        ...describeReading(progress, elapsedMs),
        `${formatBytes(bytes)} of ${formatBytes(totalBytes)}`,
        lines,
      ];
    case "prepare":
      return ["sorting", ...soFar, lines];
    case "merge":
      return ["merging", ...soFar, lines];
    case "commit":
    case "committed":
      return ["committing", ...soFar, lines];
  }
}

function describeReading({ bytes, totalBytes, rows }: LoadProgress, elapsedMs: number): readonly string[] {
  if (elapsedMs < LEAST_MS || bytes === 0) return [];
  const leftMs = (elapsedMs / bytes) * Math.max(totalBytes - bytes, 0);
  const rate = Math.round((rows / elapsedMs) * 1000);
  return [`${formatSeconds(leftMs)} left to read`, `${formatCount(rate)} lines/s`];
}

/** Whole seconds: tenths would flicker. */
function formatSeconds(ms: number): string {
  return ms < 60_000 ? `${Math.round(ms / 1000)} s` : formatDuration(ms);
}
