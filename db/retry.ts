/** Tries work again that the database rolled back for a reason that passes by itself. */
import pRetry from "p-retry";
import { isRetryable } from "./errors.ts";

/**
 * So many tries after the first. The waits before them grow from a tenth of a second to some three seconds.
 */
const RETRIES = 4;

/**
 * Runs `work` until it succeeds. After a deadlock, a serialization failure or a lost connection it is run
 * again as a whole, a few times; any other error is thrown at once.
 *
 * @param options.signal when it aborts, nothing is tried again
 * @param options.onRetry called before each new attempt, with the number of the one that failed, from 1 on
 */
export function withRetries<T>(
  options: {
    readonly signal?: AbortSignal | undefined;
    readonly onRetry?: ((attempt: number, error: unknown) => void) | undefined;
  },
  work: () => Promise<T>,
): Promise<T> {
  const { signal, onRetry } = options;
  return pRetry(work, {
    retries: RETRIES,
    minTimeout: 100,
    factor: 3,
    randomize: true,
    ...(signal && { signal }),
    shouldRetry: ({ error }) => isRetryable(error) && signal?.aborted !== true,
    onFailedAttempt: ({ attemptNumber, error, retriesLeft }) => {
      if (retriesLeft > 0 && isRetryable(error)) onRetry?.(attemptNumber, error);
    },
  });
}
