/** Waits for the end of a command that runs until somebody ends it. */
import { setTimeout as pause } from "node:timers/promises";

const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** An interrupt is the way in which such a command ends, so it is no error. */
export async function untilInterrupted(signal: AbortSignal): Promise<void> {
  while (!signal.aborted) await pause(LONGEST_TIMER_MS, undefined, { signal }).catch(() => {});
}
