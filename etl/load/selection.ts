/** Which lines of a drop are read again, and where they stand in staging. */

export interface Selection {
  /** Whether a rejected line is to be rejected again. */
  readonly has: (line: number) => boolean;
  /** Takes the number of a line that is staged next, and says whether it is read again. */
  readonly stage: (line: number) => boolean;
  /** Places in staging, from 1, of the lines that are read again: ascending. */
  readonly positions: readonly number[];
  /** Those of lines that stay out, because somebody decided so. */
  readonly dismissed: readonly number[];
}

/** The numbers are those of lines, from 1, ascending. A drop has some five million rejects at most. */
export function createSelection(retried: readonly number[], dismissed: readonly number[]): Selection {
  const positions: number[] = [];
  const out: number[] = [];
  const [isRetried, isDismissed] = [createCheck(retried), createCheck(dismissed)];
  let staged = 0;
  return {
    has: createCheck(retried),
    stage: (line) => {
      staged++;
      const again = isRetried(line);
      if (again) positions.push(staged);
      else if (isDismissed(line)) out.push(staged);
      return again;
    },
    positions,
    dismissed: out,
  };
}

/** A check whether numbers are in a list; both ascend. */
function createCheck(numbers: readonly number[]): (number: number) => boolean {
  let at = 0;
  return (number) => {
    while (at < numbers.length && (numbers[at] ?? 0) < number) at++;
    return numbers[at] === number;
  };
}
