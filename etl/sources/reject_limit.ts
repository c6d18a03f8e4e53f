/** How many lines may be rejected, as people write it. */

/** Reads a share of 0 to 1, and behind a `+` the lines that are allowed in any case: `0.01+3`. Undefined for any other text. */
export function readRejectLimit(
  text: string,
): { readonly share: number; readonly lines: number } | undefined {
  const match = /^(\d*\.?\d+|\d+\.)(?:\+(\d{1,9}))?$/.exec(text);
  const limit = { share: Number(match?.[1] ?? Number.NaN), lines: Number(match?.[2] ?? 0) };
  return limit.share >= 0 && limit.share <= 1 ? limit : undefined;
}
