/** Part of the format model: what the texts of `total` say, and how euros are written. */

export type Refusal = "bad_total" | "ambiguous_total" | "sub_cent_total";

/**
 * Returns whole cents, or the reason why the text is refused. A total must be below 10^12 as it stands, and
 * as the whole cent that it means. One that is at most 0.000001 away from a whole cent is that cent.
 * `thousands`: what stands between groups, where a source says it. `cents`: whether it is cents.
 */
export function readTotal(
  text: string,
  decimalComma: boolean,
  { thousands, cents: isCents = false }: Sourced = {},
): bigint | Refusal {
  const written = readSurroundings(text, thousands);
  if (written === undefined) return "bad_total";
  const { mantissa, exponent } = written;
  const number =
    thousands === undefined
      ? readMantissa(mantissa, exponent, decimalComma)
      : readKnown(mantissa, exponent, decimalComma ? "," : ".", thousands);
  if (number === undefined) return "bad_total";

  // The size of the total is above / below, exactly.
  const power = Number(exponent ?? 0) - number.fraction.length - (isCents ? 2 : 0);
  const above = BigInt(number.whole + number.fraction) * (power > 0 ? 10n ** BigInt(power) : 1n);
  const below = power < 0 ? 10n ** BigInt(-power) : 1n;
  if (above >= 1_000_000_000_000n * below) return "bad_total";
  // A price without cents, or a minus?
  const isPrice = written.isMinusBehind && written.exponent === undefined && /[.,]$/.test(written.mantissa);
  if (number.isAmbiguous || isPrice) return "ambiguous_total";

  const down = (above * 100n) / below;
  const rest = above * 100n - down * below;
  // In parts of a cent, 0.000001 of a euro is one of 10,000.
  let cents: bigint;
  if (rest * 10_000n <= below) cents = down;
  else if ((below - rest) * 10_000n <= below) cents = down + 1n;
  else return "sub_cent_total";
  if (cents >= 100_000_000_000_000n) return "bad_total";
  return written.isNegative ? -cents : cents;
}

/** What a source says of totals besides the decimal mark. */
export interface Sourced {
  readonly thousands?: string | undefined;
  readonly cents?: boolean | undefined;
}

interface Written {
  /** Digits, points and commas. */
  readonly mantissa: string;
  /** With its sign; undefined where there is none. */
  readonly exponent: string | undefined;
  readonly isNegative: boolean;
  readonly isMinusBehind: boolean;
}

/**
 * The number among sign, currency and blanks: each at most once, in any order, the apostrophe before all.
 * undefined: it is not written so.
 */
function readSurroundings(text: string, thousands: string | undefined): Written | undefined {
  const nextToken = tokenReader(thousands);
  let rest = text.startsWith("'") ? text.slice(1) : text;
  let number: readonly [mantissa: string, exponent: string | undefined] | undefined;
  let signs = 0;
  let currencies = 0;
  let open = false;
  let isNegative = false;
  let isMinusBehind = false;
  while (rest !== "") {
    const [token = "", mantissa, exponent] = nextToken.exec(rest) ?? [];
    rest = rest.slice(token.length);
    if (mantissa !== undefined) {
      if (number !== undefined) return undefined;
      number = [mantissa, exponent];
    } else if (token === "€" || token === "EUR") currencies++;
    else if (token === "-" || token === "\u2212") {
      signs++;
      isNegative = true;
      isMinusBehind = number !== undefined;
    } else if (token === "+" && number === undefined) signs++;
    else if (token === "(" && number === undefined) {
      signs++;
      isNegative = true;
      open = true;
    } else if (token === ")" && number !== undefined && open) open = false;
    else if (token !== " " && token !== "\t") return undefined;
  }
  if (number === undefined || open || signs > 1 || currencies > 1) return undefined;
  return { mantissa: number[0], exponent: number[1], isNegative, isMinusBehind };
}

/** Between two digits the mark of thousands is part of the number, whatever it is elsewhere. */
function tokenReader(thousands: string | undefined): RegExp {
  const within = thousands === undefined || /[.,]/.test(thousands) ? "" : `|(?<=[0-9])${thousands}(?=[0-9])`;
  return new RegExp(`^(?:((?:[0-9.,]${within})+)(?:[eE]([+-]?[0-9]{1,4})(?![0-9]))?|EUR|[\\s\\S])`);
}

interface Mantissa {
  readonly whole: string;
  readonly fraction: string;
  readonly isAmbiguous: boolean;
}

/** With a decimal comma, comma and point change places; a lone point is a decimal mark all the same. */
function readMantissa(
  text: string,
  exponent: string | undefined,
  decimalComma: boolean,
): Mantissa | undefined {
  const [decimal, thousands] = decimalComma ? [",", "."] : [".", ","];
  if (decimalComma && /^[0-9]*\.[0-9]*$/.test(text)) {
    return readPlain(text, ".", text.split(".")[1]?.length === 3);
  }
  if (!text.includes(thousands)) return readPlain(text, decimal, false);
  // Grouped numbers take no exponent and no bare decimal mark.
  const [whole = "", fraction, ...more] = text.split(decimal);
  if (exponent !== undefined || fraction === "" || more.length > 0) return undefined;
  if (fraction !== undefined && !/^[0-9]+$/.test(fraction)) return undefined;
  const [first = "", ...groups] = whole.split(thousands);
  if (!/^[0-9]{1,3}$/.test(first) || groups.length === 0) return undefined;
  if (groups.some((group) => !/^[0-9]{3}$/.test(group))) return undefined;
  return {
    whole: first + groups.join(""),
    fraction: fraction ?? "",
    isAmbiguous: groups.length === 1 && fraction === undefined,
  };
}

/** Where the mark of thousands is known, nothing is ambiguous, and no other mark is taken. */
function readKnown(
  text: string,
  exponent: string | undefined,
  decimal: string,
  thousands: string,
): Mantissa | undefined {
  if (!text.includes(thousands)) return readPlain(text, decimal, false);
  const [whole = "", fraction, ...more] = text.split(decimal);
  if (exponent !== undefined || more.length > 0) return undefined;
  if (fraction !== undefined && !/^[0-9]+$/.test(fraction)) return undefined;
  const [first = "", ...groups] = whole.split(thousands);
  if (!/^[0-9]{1,3}$/.test(first) || groups.length === 0) return undefined;
  if (groups.some((group) => !/^[0-9]{3}$/.test(group))) return undefined;
  return { whole: first + groups.join(""), fraction: fraction ?? "", isAmbiguous: false };
}

/** `digits[.digits]`, `.5` and `5.` too. */
function readPlain(text: string, mark: string, isAmbiguous: boolean): Mantissa | undefined {
  const [whole = "", fraction = "", ...more] = text.split(mark);
  if (more.length > 0 || !/^[0-9]+$/.test(whole + fraction)) return undefined;
  return { whole, fraction, isAmbiguous };
}

/** Cents as PostgreSQL writes euros. */
export function euros(cents: bigint | number): string {
  const digits = String(cents < 0 ? -cents : cents).padStart(3, "0");
  return `${cents < 0 ? "-" : ""}${digits.slice(0, -2)}.${digits.slice(-2)}`;
}
