/**
 * Makes a drop that shows a difference small: fewer lines, then fewer bytes, as long as it still shows one.
 */

import { isGzip } from "../../../etl/testing/models/container.ts";
import { unpack } from "../../../etl/testing/models/gzip.ts";
import type { MadeDrop } from "./mutants.ts";

/** Drops tried at most. */
const TRIES = 3000;

/** `differs`: whether a drop shows a difference. */
export async function shrinkDrop(
  drop: MadeDrop,
  differs: (drop: MadeDrop) => Promise<boolean>,
): Promise<MadeDrop> {
  let best = drop;
  let left = TRIES;
  const accept = async (tried: MadeDrop): Promise<boolean> => {
    if (left-- <= 0 || !(await differs(tried))) return false;
    best = tried;
    return true;
  };
  await accept({ ...drop, isNamedGz: false });
  if (isGzip(drop.bytes, false)) await accept({ ...best, bytes: unpack(drop.bytes).bytes });
  await accept({ ...best, cuts: [] });
  await leaveOut(linesOf(best.bytes), (pieces) => accept({ ...best, bytes: Buffer.concat(pieces) }));
  await leaveOut([...best.bytes], (bytes) => accept({ ...best, bytes: Buffer.from(bytes) }));
  return best;
}

function linesOf(bytes: Buffer): Buffer[] {
  const lines: Buffer[] = [];
  for (let from = 0; from < bytes.length; ) {
    const end = bytes.indexOf(0x0a, from);
    const to = end < 0 ? bytes.length : end + 1;
    lines.push(bytes.subarray(from, to));
    from = to;
  }
  return lines;
}

/**
 * Leaves out ever smaller runs of the pieces while `accept` takes what is left (Zeller, "delta debugging").
 */
async function leaveOut<T>(pieces: readonly T[], accept: (pieces: T[]) => Promise<boolean>): Promise<void> {
  let kept = [...pieces];
  for (let size = Math.ceil(kept.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let from = 0; from < kept.length; ) {
      const fewer = [...kept.slice(0, from), ...kept.slice(from + size)];
      if (await accept(fewer)) kept = fewer;
      else from += size;
    }
  }
}
