/** Signals that end a command: the first lets it end in order, a second one does not wait for that. */
import { setTimeout as sleep } from "node:timers/promises";

/** Exit codes of a process that a signal ended, as shells give them. */
export const SIGNAL_EXIT = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;
/** A second signal counts only after this time: npm passes on a Ctrl-C that the terminal gave to all. */
const INSIST_AFTER_MS = 500;
/** Longer than the system needs to hand a signal on. */
const SIGNAL_ARRIVES_WITHIN_MS = 50;

/** Ends the command in progress; the process then ends with this exit code. */
export class Interruption extends Error {
  readonly exitCode: number;

  constructor(message: string, exitCode: number) {
    super(message);
    this.name = "Interruption";
    this.exitCode = exitCode;
  }
}

export interface Interrupts {
  /** Aborts with the first interruption as its reason. */
  readonly signal: AbortSignal;
  /** Interrupts for another reason than a signal. */
  readonly interrupt: (interruption: Interruption) => void;
  /** Runs what has the terminal meanwhile: a Ctrl-C, which the terminal gives to both, is then for that alone. */
  readonly lendTerminal: <T>(work: () => Promise<T>) => Promise<T>;
}

/**
 * Listens for the signals that end a command.
 *
 * @param options.onFirst called before the abort: should the process run out of work it ends without anybody's doing
 * @param options.onSecond somebody does not want to wait: ends the process
 */
export function catchInterrupts(options: {
  readonly onFirst: (interruption: Interruption) => void;
  readonly onSecond: (interruption: Interruption) => void;
}): Interrupts {
  const abort = new AbortController();
  let interruptedAt = 0;
  let isLent = false;
  const interrupt = (interruption: Interruption) => {
    if (abort.signal.aborted) {
      if (performance.now() - interruptedAt > INSIST_AFTER_MS) options.onSecond(interruption);
      return;
    }
    interruptedAt = performance.now();
    options.onFirst(interruption);
    abort.abort(interruption);
  };
  for (const [signal, exitCode] of Object.entries(SIGNAL_EXIT)) {
    process.on(signal, () => {
      if (isLent && signal === "SIGINT") return;
      interrupt(new Interruption(`ended by ${signal}`, exitCode));
    });
  }
  const lendTerminal = async <T>(work: () => Promise<T>): Promise<T> => {
    isLent = true;
    try {
      return await work();
    } finally {
      // A signal that came before the end may still be on its way: on a busy machine the end is seen first.
      await sleep(SIGNAL_ARRIVES_WITHIN_MS);
      isLent = false;
    }
  };
  return { signal: abort.signal, interrupt, lendTerminal };
}
