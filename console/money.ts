/** Sums of money, exact: texts with two decimals, in between whole cents. */

/** `-12.50` as -1250n. */
export function toCents(euros: string): bigint {
  return BigInt(euros.replace(".", ""));
}

export function fromCents(cents: bigint): string {
  const digits = String(cents < 0n ? -cents : cents).padStart(3, "0");
  return `${cents < 0n ? "-" : ""}${digits.slice(0, -2)}.${digits.slice(-2)}`;
}

export function sumEuros(totals: readonly string[]): string {
  return fromCents(totals.reduce((sum, total) => sum + toCents(total), 0n));
}

export function subtractEuros(from: string, total: string): string {
  return fromCents(toCents(from) - toCents(total));
}

/** How much more than before, as a share of it; null where there was nothing. */
export function growthOf(now: string, before: string): number | null {
  const [a, b] = [Number(now), Number(before)];
  return b > 0 ? a / b - 1 : null;
}
