/** Guesses which column holds the totals, and how numbers are written in it. */
import { type Notation, readTotal } from "../../drop/value/total.ts";
import { isUsual, type SampleColumn } from "./layout.ts";
import { scoreName } from "./names.ts";

export interface TotalGuess {
  readonly column: SampleColumn;
  readonly notation: Notation;
  /** Whether they may as well be cents: whole numbers. */
  readonly whole: boolean;
  readonly score: number;
}

/** As they are tried: what separates thousands is named where it is seen. */
const NOTATIONS: readonly Notation[] = [
  { decimal: "." },
  { decimal: "," },
  ...[",", "'", "\u2019", " ", "\u00a0", "\u202f"].map((thousands) => ({ decimal: ".", thousands }) as const),
  ...[".", "'", "\u2019", " ", "\u00a0", "\u202f"].map((thousands) => ({ decimal: ",", thousands }) as const),
];

/** The guesses, the best first; those whose names say that they are something else are left out. */
export function guessTotals(columns: readonly SampleColumn[]): readonly TotalGuess[] {
  return columns.flatMap((column) => guessOf(column)).toSorted((one, other) => other.score - one.score);
}

function guessOf(column: SampleColumn): readonly TotalGuess[] {
  const { distinct, name } = column;
  const score = scoreName(name, "total");
  const notation = findNotation(distinct);
  if (notation === undefined || score < 0) return [];
  const whole = isUsual(distinct, (value) => /^[-+]?\d+$/.test(value));
  const isCents = whole && /\b(cent|cents|ct|minor)\b/i.test(name.replaceAll("_", " "));
  // Without a name, numbers with decimals are more likely than numbers without.
  const likely = whole ? 0 : name === "" ? 2 : 0.5;
  return [
    { column, notation: isCents ? { ...notation, cents: true } : notation, whole, score: score + likely },
  ];
}

/** How all of the values are written. */
function findNotation(values: readonly string[]): Notation | undefined {
  const grouped = NOTATIONS.filter(({ decimal, thousands }) => {
    if (thousands === undefined) return false;
    const mark = decimal === "." ? "\\." : ",";
    const between = thousands === "." ? "\\." : thousands;
    const group = new RegExp(`\\d${between}\\d{3}(?:${mark}|\\D*$)`);
    return values.some((value) => group.test(value));
  });
  const plain = NOTATIONS.filter(({ thousands }) => thousands === undefined);
  return [...grouped, ...plain].find((notation) => {
    const reads = (value: string) => readTotal(value, notation).kind === "total";
    return isUsual(values, reads);
  });
}
