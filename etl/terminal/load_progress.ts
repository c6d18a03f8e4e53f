/** How far a load is, and what it is doing, for people. */
import type { LoadProgress } from "../load/steps.ts";
import { formatBytes, formatCount } from "./format.ts";

/** How far a load is, by the time that its steps usually take. The database's share of the work tells nothing on its way. */
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

/** Says what a load is doing: bytes and rate while the file is read, then the lines that the database works on. */
export function startDescription(): (progress: LoadProgress) => string {
  let began: number | undefined;
  return ({ step, bytes, totalBytes, rows }) => {
    const lines = `${formatCount(rows)} lines`;
    switch (step) {
      case "hash":
        return `checking, ${formatBytes(bytes)}`;
      case "claim":
        return "waiting for its turn";
      case "insert":
      case "stage": {
        began ??= performance.now();
        const seconds = (performance.now() - began) / 1000;
        const rate = seconds > 0.1 ? `, ${formatCount(Math.round(rows / seconds))} lines/s` : "";
        return `reading, ${lines}, ${formatBytes(bytes)} of ${formatBytes(totalBytes)}${rate}`;
      }
      case "prepare":
        return `preparing ${lines}`;
      case "merge":
        return `merging ${lines}`;
      case "commit":
      case "committed":
        return `committing ${lines}`;
    }
  };
}
