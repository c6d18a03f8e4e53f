/**
 * Ends what a runner leaves. A process of its own that waits until its stdin ends, which it also does when the runner is killed, and then
 * kills all processes with the runner's mark. Run by spawn_guardian.ts: `guardian.ts MARK`.
 */
import { setTimeout as pause } from "node:timers/promises";
import { findMarked, killMarked, sendSignal } from "./processes.ts";

/** Commands at work get this long to roll back. */
const ROLLBACK_MS = 1_000;

const [, , mark] = process.argv;
if (mark === undefined) throw new Error("usage: guardian.ts MARK");

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => {});
// What it is to read never comes; only the end does.
await new Promise<void>((done) => {
  process.stdin.on("end", done).on("error", () => done());
  process.stdin.resume();
});
const left = findMarked(mark);
if (left.length > 0) {
  for (const pid of left) sendSignal(pid, "SIGTERM");
  await pause(ROLLBACK_MS);
  await killMarked(mark);
}
