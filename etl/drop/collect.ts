/** Collects the rows of a batch of lines, in their order, as bytes for COPY. */
const CR = 0x0d;

export interface CollectedRows {
  /** Takes the canonical line from `from` to `next`, which is after its terminator. */
  readonly pass: (from: number, next: number) => void;
  /** Takes a row that was written anew. */
  readonly write: (row: string) => void;
  readonly finish: () => { readonly copy: Buffer; readonly count: number };
}

/**
 * Canonical lines are collected as runs of the batch's own bytes. When all of a batch is one run, nothing is
 * copied.
 */
export function collectRows(batch: Buffer): CollectedRows {
  let count = 0;
  // The run of the batch's bytes, and after it the written rows, that are not in `out` yet.
  let runFrom = 0;
  let runTo = 0;
  let written = "";
  let out: Buffer | undefined;
  let used = 0;

  const room = (bytes: number): Buffer => {
    if (out === undefined) out = Buffer.allocUnsafeSlow(Math.max(batch.length + 1024, bytes));
    else if (used + bytes > out.length) out = Buffer.concat([out.subarray(0, used)], 2 * (used + bytes));
    return out;
  };
  const flush = (): void => {
    if (runTo > runFrom) {
      used += batch.copy(room(runTo - runFrom), used, runFrom, runTo);
      runFrom = runTo;
    }
    if (written !== "") {
      const bytes = Buffer.byteLength(written);
      used += room(bytes).write(written, used);
      written = "";
    }
  };
  const extend = (from: number, to: number): void => {
    if (from !== runTo) {
      flush();
      runFrom = from;
    }
    runTo = to;
  };

  return {
    pass(from, next) {
      count++;
      if (batch[next - 2] === CR) {
        // The LF begins the next run: so each line of a CRLF file is copied in one piece.
        extend(from, next - 2);
        extend(next - 1, next);
      } else {
        extend(from, next);
      }
    },
    write(row) {
      count++;
      written += row;
    },
    finish() {
      if (out === undefined && written === "") return { copy: batch.subarray(runFrom, runTo), count };
      flush();
      return { copy: out?.subarray(0, used) ?? Buffer.alloc(0), count };
    },
  };
}
