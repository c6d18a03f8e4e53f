/** Work that the server does while this process does something else, one piece at a time. */
export interface Background {
  /** The server has nothing to do. */
  readonly isIdle: () => boolean;
  /** Begins some work, for which {@link settle} waits. */
  readonly begin: (work: Promise<void>) => void;
  /** Waits for what the server is doing; throws its error. */
  readonly settle: () => Promise<void>;
  /** Waits, too, but ignores an error, because another one is being thrown. */
  readonly end: () => Promise<void>;
}

export function createBackground(): Background {
  let idle = true;
  let failure: unknown;
  let work: Promise<void> = Promise.resolve();
  return {
    isIdle: () => idle,
    begin: (begun) => {
      idle = false;
      work = begun
        .catch((error: unknown) => {
          failure = error;
        })
        .finally(() => {
          idle = true;
        });
    },
    settle: async () => {
      await work;
      const error = failure;
      failure = undefined;
      if (error !== undefined) throw error;
    },
    end: () => work,
  };
}
