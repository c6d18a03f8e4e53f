/** Answers that take long in a large warehouse, kept for a while, so that no page waits for them. */
import { REST } from "./limits.ts";

export interface Remembered<T> {
  readonly value: T;
  /** ISO 8601, in UTC: when it was asked for. */
  readonly at: string;
}

export interface Memory {
  /**
   * The newest answer that is there soon; undefined as long as there is none. One is being worked out at most, and goes on when the page is
   * away already.
   */
  readonly recall: <T>(key: string, ask: () => Promise<T>) => Promise<Remembered<T> | undefined>;
}

interface Entry {
  last: Remembered<unknown> | undefined;
  againAt: number;
  running: Promise<void> | undefined;
}

/**
 * @param options.waitMs how long a page waits for an answer that is not there yet
 * @param options.now the clock, in milliseconds
 */
export function createMemory(options: { readonly waitMs: number; readonly now?: () => number }): Memory {
  const { waitMs, now = () => performance.now() } = options;
  const entries = new Map<string, Entry>();
  return {
    recall: async <T>(key: string, ask: () => Promise<T>) => {
      const entry = entries.get(key) ?? { last: undefined, againAt: 0, running: undefined };
      entries.set(key, entry);
      if (now() >= entry.againAt) entry.running ??= work(entry, ask, now);
      if (entry.running !== undefined) await Promise.race([entry.running, pause(waitMs)]);
      return entry.last as Remembered<T> | undefined;
    },
  };
}

function work(entry: Entry, ask: () => Promise<unknown>, now: () => number): Promise<void> {
  const began = now();
  const at = new Date().toISOString();
  const running = ask()
    .then((value) => {
      entry.last = { value, at };
    })
    .finally(() => {
      const ended = now();
      entry.againAt = ended + REST * (ended - began);
      entry.running = undefined;
    });
  // If it fails after the page has gone, the next page asks again; and it says so if it fails before.
  running.catch(() => {});
  return running;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms).unref());
}
