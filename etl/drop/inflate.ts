/** Inflates gzip files. */
import { createGunzip, type Gunzip } from "node:zlib";
import { errorState } from "../../db/errors.ts";
import { READ_BYTES } from "./file.ts";
import { INFLATION_LIMIT, type RefusedEvent, refuseInflation, refuseTruncated } from "./refuse.ts";

/** Decompressed bytes; the last item may be a refusal instead. */
export type Unpacked = AsyncIterable<Buffer | RefusedEvent>;

/**
 * Inflates a gzip stream, which may have several members. If the stream is cut or damaged, all that could be
 * inflated is yielded, and then the refusal. If it inflates too far, what came before the limit is yielded,
 * and then the refusal.
 *
 * It inflates one chunk at a time. A pipeline throws away what it holds when the stream breaks, and how much
 * that is depends on timing.
 */
export async function* inflate(
  raw: AsyncIterable<Buffer>,
  limit = INFLATION_LIMIT,
): AsyncGenerator<Buffer | RefusedEvent, void, undefined> {
  const gunzip = createGunzip({ chunkSize: READ_BYTES });
  // An error without a listener would end the process. It is read from `errored`.
  gunzip.on("error", () => {});
  let fed = 0;
  let out = 0;
  try {
    for await (const chunk of raw) {
      fed += chunk.length;
      for await (const piece of drain(gunzip, (done) => gunzip.write(chunk, done))) {
        out += piece.length;
        if (out > Math.max(limit.bytes, limit.times * fed)) {
          yield refuseInflation(limit);
          return;
        }
        yield piece;
      }
      if (gunzip.errored !== null || gunzip.readableEnded) break;
    }
    if (gunzip.errored === null && !gunzip.readableEnded) yield* drain(gunzip, () => gunzip.end());
    if (gunzip.errored !== null && !isDamage(gunzip.errored)) throw gunzip.errored;
    // Node ignores bytes after the last member if they begin with zero. Then it has not taken all bytes.
    if (gunzip.errored !== null || gunzip.bytesWritten !== fed) yield refuseTruncated(gunzip.errored);
  } finally {
    gunzip.destroy();
  }
}

/** Starts a step of the inflater and yields its output until it calls `done`, ends or breaks. */
async function* drain(
  gunzip: Gunzip,
  start: (done: () => void) => void,
): AsyncGenerator<Buffer, void, undefined> {
  let settled = false;
  let wake = () => {};
  const onReadable = () => wake();
  const settle = () => {
    settled = true;
    wake();
  };
  gunzip.on("readable", onReadable).on("end", settle).on("error", settle);
  start(settle);
  for (let last = false; !last; ) {
    last = settled;
    for (let out: Buffer | null = gunzip.read(); out !== null; out = gunzip.read()) yield out;
    if (!settled) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  }
  gunzip.off("readable", onReadable).off("end", settle).off("error", settle);
}

/** True when the bytes are wrong, false when the machine failed. Source: zlib.h, return codes of inflate. */
function isDamage(error: Error): boolean {
  const state = errorState(error);
  return state === "Z_DATA_ERROR" || state === "Z_BUF_ERROR" || state === "Z_NEED_DICT";
}
