/** Numbers as the report prints them. */

const UNITS = [
  { size: 1e9, name: "G" },
  { size: 1e6, name: "M" },
  { size: 1e3, name: "k" },
] as const;

/** 123.456 → `123`, 12.345 → `12.3`, 1.2345 → `1.23`, without trailing zeros. */
export function formatNumber(value: number): string {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1000) return groupThousands(String(Math.round(value)));
  const digits = size >= 100 ? 0 : size >= 10 ? 1 : size >= 0.1 ? 2 : 4;
  const text = value.toFixed(digits);
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}

/** `1 k`, `2.5 M`, `100`. */
export function formatCount(value: number): string {
  const unit = UNITS.find(({ size }) => Math.abs(value) >= size);
  return unit === undefined ? formatNumber(value) : `${formatNumber(value / unit.size)} ${unit.name}`;
}

/** `3.2 ms`, `1.5 s`, `12.3 min`. */
export function formatMs(ms: number): string {
  if (ms < 1000) return `${formatNumber(ms)} ms`;
  return ms < 300_000 ? `${formatNumber(ms / 1000)} s` : `${formatNumber(ms / 60_000)} min`;
}

/** Powers of 1,000: `12 kB`, `3.4 MB`. */
export function formatBytes(bytes: number): string {
  return Math.abs(bytes) < 1000 ? `${formatNumber(bytes)} B` : `${formatCount(bytes)}B`;
}

/** `1.2x`. */
export function formatRatio(ratio: number): string {
  return `${formatNumber(ratio)}x`;
}

/** A share from 0 to 1: `0.5 %`. */
export function formatShare(share: number): string {
  return `${formatNumber(share * 100)} %`;
}

/** Cents in decimal digits, of any length: `1,234.56 €`. */
export function formatEuros(cents: string): string {
  const digits = cents.replace(/^-/, "").padStart(3, "0");
  const sign = cents.startsWith("-") ? "-" : "";
  return `${sign}${groupThousands(digits.slice(0, -2))}.${digits.slice(-2)} €`;
}

function groupThousands(digits: string): string {
  return digits.replace(/\B(?=(\d{3})+$)/g, ",");
}
