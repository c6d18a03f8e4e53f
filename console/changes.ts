/** Tells open pages that something has happened in the warehouse. One look every few seconds serves all, and only while somebody listens. */
import { REST } from "./limits.ts";

/** Takes a revision of the warehouse. */
export type Listener = (revision: string) => void;

export interface Changes {
  /** The revision as of a moment ago; undefined where it cannot be read. */
  readonly latest: () => Promise<string | undefined>;
  /** Tells the revision as soon as it is known, and then each new one. Returns what ends it. */
  readonly listen: (listener: Listener) => () => void;
}

/**
 * @param options.read reads the revision of the warehouse
 * @param options.everyMs for how long it rests at least
 * @param options.signal ends it
 */
export function watchChanges(options: {
  readonly read: (signal: AbortSignal) => Promise<string>;
  readonly everyMs: number;
  readonly signal: AbortSignal;
}): Changes {
  const { read, everyMs, signal } = options;
  /** With what each was told last. */
  const listeners = new Map<Listener, string | undefined>();
  let revision: string | undefined;
  let againAt = 0;
  let timer: NodeJS.Timeout | undefined;
  let looking: Promise<string> | undefined;

  const tell = (now: string) => {
    for (const [listener, told] of listeners) {
      if (told === now) continue;
      listeners.set(listener, now);
      listener(now);
    }
  };
  const lookOnce = async () => {
    const began = performance.now();
    try {
      revision = await read(signal);
      tell(revision);
      return revision;
    } finally {
      const ended = performance.now();
      againAt = ended + Math.max(everyMs, REST * (ended - began));
      looking = undefined;
    }
  };
  const look = () => {
    looking ??= lookOnce();
    return looking;
  };
  const lookAgain = async () => {
    // Where the server is away or a right is missing, the pages say so.
    if (listeners.size > 0 && performance.now() >= againAt) await look().catch(() => {});
    timer = undefined;
    goOn();
  };
  const goOn = () => {
    if (timer !== undefined || listeners.size === 0 || signal.aborted) return;
    timer = setTimeout(lookAgain, Math.max(0, againAt - performance.now())).unref();
  };
  return {
    latest: async () => {
      if (performance.now() < againAt) return revision;
      return look().catch(() => undefined);
    },
    listen: (listener) => {
      listeners.set(listener, undefined);
      if (revision !== undefined && performance.now() < againAt) tell(revision);
      goOn();
      return () => listeners.delete(listener);
    },
  };
}
