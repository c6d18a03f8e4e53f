/** For tests: a process that breaks when it needs more memory than it may have. */

/** In megabytes. */
export interface MemoryLimit {
  /** All memory that the process may write to, buffers as well as the heap. */
  readonly total: number;
  /** Of that the heap: strings and objects. */
  readonly heap: number;
}

/**
 * The command of a Node program that cannot have more memory, whenever its collector runs: before an
 * allocation fails, Node collects what is not in use any more. The limit for all memory is hard on Linux;
 * other systems may know the one for the heap alone.
 *
 * @param command the program of Node, its flags, and the script
 */
export function limitMemory(
  [node, ...rest]: readonly [string, ...string[]],
  { total, heap }: MemoryLimit,
): readonly [string, ...string[]] {
  const limited = 'ulimit -d "$0" && exec "$@"';
  return ["/bin/sh", "-c", limited, String(total * 1024), node, `--max-old-space-size=${heap}`, ...rest];
}
