/** COPY from this process into a table. */
import { from as copyFrom } from "pg-copy-streams";
import type { Transaction } from "../../db/client.ts";

export interface Copy {
  /** Resolves when the socket has taken the bytes, so that the reader does not run ahead of the server. */
  readonly write: (bytes: Buffer | string) => Promise<void>;
  /** Resolves when the server has all rows. */
  readonly close: () => Promise<void>;
  /**
   * Ends the COPY without its rows, unless it is over; resolves when the connection is free again, or gone.
   */
  readonly abandon: () => Promise<void>;
}

/**
 * Begins a COPY. pg-copy-streams (7.0) emits an error of the server, but does not keep it, does not call back
 * the write that is open then, and may crash over buffered writes after it. So the error is kept here, and
 * there is one write at a time.
 */
export function openCopy(tx: Transaction, statement: string): Copy {
  const stream = tx.client.query(copyFrom(statement));
  let failure: Error | undefined;
  let fail: ((error: Error) => void) | undefined;
  stream.on("error", (error) => {
    failure ??= error;
    fail?.(failure);
  });
  const settle = (start: (done: () => void) => void) =>
    new Promise<void>((resolve, reject) => {
      if (failure !== undefined) {
        reject(failure);
        return;
      }
      fail = reject;
      start(resolve);
    });
  return {
    write: (bytes) => settle((done) => stream.write(bytes, () => done())),
    close: () => settle((done) => stream.once("finish", done).end()),
    abandon: () =>
      new Promise((resolve) => {
        if (failure !== undefined || stream.writableFinished) resolve();
        else stream.once("close", resolve).destroy();
      }),
  };
}

/** Copies all of the pieces; on an error, none. */
export async function copyAll(
  tx: Transaction,
  statement: string,
  pieces: Iterable<Buffer | string>,
): Promise<void> {
  const copy = openCopy(tx, statement);
  try {
    for (const piece of pieces) if (piece.length > 0) await copy.write(piece);
    await copy.close();
  } catch (error) {
    // An open COPY would keep the rollback waiting for ever.
    await copy.abandon();
    throw error;
  }
}
