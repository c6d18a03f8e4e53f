/** Totals in euros. The canonical form has no plus, no zeros in front, and two decimals: `-12.50`. */

/** How numbers are written. */
export interface Notation {
  /** With a comma, a point is taken as the decimal mark, too, unless three digits follow it. */
  readonly decimal: "." | ",";
  /** What stands between groups of three digits, where that is known; default: the other of comma and point. */
  readonly thousands?: string | undefined;
  /** Whether they are cents; default false. */
  readonly cents?: boolean | undefined;
}

/** The notation of the drop format. */
export const POINT_NOTATION: Notation = { decimal: "." };
/** The same with `--decimal-comma`. */
export const COMMA_NOTATION: Notation = { decimal: "," };

/** Why a total is not taken; of several reasons that apply, the first in this order. */
export const BAD_TOTALS = ["bad_total", "ambiguous_total", "sub_cent_total"] as const;
export type BadTotal = (typeof BAD_TOTALS)[number];

export type TotalResult =
  | { readonly kind: "total"; readonly text: string }
  | { readonly kind: "bad"; readonly reason: BadTotal };

const PLAIN_TOTAL = /^(?:0|-?[1-9]\d{0,11})\.\d\d$/;

/**
 * Reads a total: a number, with a sign, a currency and blanks around it. Exact, by its digits alone, in linear
 * time.
 *
 * `bad_total`: no number, or its size is 10^12 or more, as it stands or as the whole cent that it means.
 * `ambiguous_total`: a number that can be read in two ways, such as `1,234`.
 * `sub_cent_total`: more than 0.000001 away from a whole cent.
 */
export function readTotal(text: string, notation: Notation): TotalResult {
  const { thousands, cents: isCents } = notation;
  if (thousands === undefined && isCents !== true && PLAIN_TOTAL.test(text)) return { kind: "total", text };
  const bare = takeOffSigns(text);
  const number =
    bare && (thousands === undefined ? readNumber : readGrouped)(bare.number, { ...notation, thousands });
  if (number === undefined) return BAD;
  const cents = wholeCents(isCents === true ? { ...number, exponent: number.exponent - 2 } : number);
  if (cents === "bad_total") return BAD;
  // `5.-` is a price without cents, or a negative one.
  const dashed = bare?.minusBehind === true && number.markLast;
  if (number.ambiguous || dashed) return { kind: "bad", reason: "ambiguous_total" };
  if (cents === "sub_cent_total") return { kind: "bad", reason: cents };
  return { kind: "total", text: writeTotal(bare?.negative === true, cents) };
}

const BAD: TotalResult = { kind: "bad", reason: "bad_total" };

interface Bare {
  readonly number: string;
  readonly negative: boolean;
  readonly minusBehind: boolean;
}

const BEFORE = ["€", "EUR", "-", "\u2212", "+", "("];
const BEHIND = ["€", "EUR", "-", "\u2212", ")"];
const isBlank = (text: string, at: number) => text[at] === " " || text[at] === "\t";

/**
 * The number without what may stand around it: an apostrophe before all; one sign, currency and blanks, in any
 * order. Undefined where something stands there twice.
 */
function takeOffSigns(text: string): Bare | undefined {
  let from = text.startsWith("'") ? 1 : 0;
  let to = text.length;
  let sign: "plus" | "minus" | "minus behind" | "open brackets" | "brackets" | undefined;
  let currency = false;
  for (let before = -1; before !== from; ) {
    before = from;
    while (isBlank(text, from)) from++;
    const found = BEFORE.find((mark) => text.startsWith(mark, from));
    if (found === undefined) break;
    from += found.length;
    if (found === "€" || found === "EUR") {
      if (currency) return undefined;
      currency = true;
    } else {
      if (sign !== undefined) return undefined;
      sign = found === "+" ? "plus" : found === "(" ? "open brackets" : "minus";
    }
  }
  for (let before = -1; before !== to; ) {
    before = to;
    while (to > from && isBlank(text, to - 1)) to--;
    const rest = text.slice(from, to);
    const found = BEHIND.find((mark) => rest.endsWith(mark));
    if (found === undefined) break;
    to -= found.length;
    if (found === "€" || found === "EUR") {
      if (currency) return undefined;
      currency = true;
    } else if (found === ")") {
      if (sign !== "open brackets") return undefined;
      sign = "brackets";
    } else {
      if (sign !== undefined) return undefined;
      sign = "minus behind";
    }
  }
  if (sign === "open brackets") return undefined;
  const negative = sign !== undefined && sign !== "plus";
  return { number: text.slice(from, to), negative, minusBehind: sign === "minus behind" };
}

interface Numeral {
  /** The digits before and behind the decimal mark. */
  readonly whole: string;
  readonly fraction: string;
  readonly exponent: number;
  /** True when it ends in its decimal mark: `5.`. */
  readonly markLast: boolean;
  readonly ambiguous: boolean;
}

const WITH_POINT = /^(\d*)(?:(\.)(\d*))?(?:[eE]([+-]?\d{1,4}))?$/;
const WITH_POINT_OR_COMMA = /^(\d*)(?:([.,])(\d*))?(?:[eE]([+-]?\d{1,4}))?$/;
const GROUPED_BY_COMMA = /^(\d{1,3}(?:,\d{3})+)(?:\.(\d+))?$/;
const GROUPED_BY_POINT = /^(\d{1,3}(?:\.\d{3})+)(?:,(\d+))?$/;

/** Undefined for what is no number. */
function readNumber(text: string, { decimal }: Notation): Numeral | undefined {
  const decimalComma = decimal === ",";
  const match = (decimalComma ? WITH_POINT_OR_COMMA : WITH_POINT).exec(text);
  if (match !== null) {
    const [, whole = "", mark, fraction = "", exponent = "0"] = match;
    if (whole === "" && fraction === "") return undefined;
    return {
      whole,
      fraction,
      exponent: Number(exponent),
      markLast: mark !== undefined && fraction === "" && match[4] === undefined,
      // With a decimal comma, `12.500` is twelve thousand five hundred to one program, 12.50 to another.
      ambiguous: decimalComma && mark === "." && fraction.length === 3,
    };
  }
  const grouped = (decimalComma ? GROUPED_BY_POINT : GROUPED_BY_COMMA).exec(text);
  if (grouped === null) return undefined;
  const [, groups = "", fraction = ""] = grouped;
  const whole = groups.replaceAll(decimalComma ? "." : ",", "");
  // One group and nothing behind it: `1,234` has a thousands separator or a decimal comma.
  const ambiguous = fraction === "" && groups.length <= 7;
  return { whole, fraction, exponent: 0, markLast: false, ambiguous };
}

/** A number of which the separator of thousands is known, so nothing in it can be read in two ways. */
function readGrouped(text: string, { decimal, thousands = "" }: Notation): Numeral | undefined {
  const mark = text.indexOf(decimal);
  const groups = mark < 0 ? text : text.slice(0, mark);
  const [first = "", ...others] = groups.split(thousands);
  const isGrouped =
    others.length === 0 || (/^\d{1,3}$/.test(first) && others.every((group) => /^\d{3}$/.test(group)));
  // With a decimal comma a point would be one of thousands that no source spoke of, or a decimal mark.
  if (!isGrouped || first.includes(".")) return undefined;
  const plain = `${first}${others.join("")}${mark < 0 ? "" : `.${text.slice(mark + 1)}`}`;
  const match = WITH_POINT.exec(plain);
  if (match === null) return undefined;
  const [, whole = "", point, fraction = "", exponent = "0"] = match;
  if (whole === "" && fraction === "") return undefined;
  // As without a known separator: no exponent, and no bare mark, behind groups.
  if (others.length > 0 && (match[4] !== undefined || (point !== undefined && fraction === "")))
    return undefined;
  const markLast = point !== undefined && fraction === "" && match[4] === undefined;
  return { whole, fraction, exponent: Number(exponent), markLast, ambiguous: false };
}

/** The greatest total, in cents: 999999999999.99. */
const MAX_CENTS = "99999999999999";

/** The nearest cents, as digits. */
function wholeCents({ whole, fraction, exponent }: Numeral): string {
  const digits = stripZeros(whole + fraction);
  if (digits === "") return "";
  // How many of the digits stand before the point once the number is counted in cents; may be negative.
  const inCents = digits.length - fraction.length + exponent + 2;
  if (inCents > MAX_CENTS.length) return "bad_total";
  const floor = digits.slice(0, Math.max(inCents, 0)).padEnd(inCents, "0");
  const rest = fractionOf(digits, inCents);
  // 0.000001 of a euro is 0.0001 of a cent.
  if (rest.head === "0000" || (rest.head === "0001" && rest.exact)) return floor;
  if (rest.head !== "9999") return "sub_cent_total";
  return floor === MAX_CENTS ? "bad_total" : String(BigInt(floor) + 1n);
}

/** What stands after the point: its first four digits, and whether they are all of it but zeros. */
function fractionOf(digits: string, inCents: number): { readonly head: string; readonly exact: boolean } {
  const lead = Math.min(Math.max(-inCents, 0), 4);
  const from = Math.max(inCents, 0);
  const head = ("0".repeat(lead) + digits.slice(from, from + 4 - lead)).padEnd(4, "0");
  return { head, exact: stripZeros(digits.slice(from + 4 - lead)) === "" };
}

/** The digits without the zeros in front; empty for zero. */
function stripZeros(digits: string): string {
  let from = 0;
  while (digits.charCodeAt(from) === 0x30) from++;
  return from === 0 ? digits : digits.slice(from);
}

/** The cents of a total in its canonical form. */
export function centsOf(text: string): bigint {
  return BigInt(text.replace(".", ""));
}

/** Cents as euros: `-12.50`. */
export function writeEuros(cents: bigint): string {
  return cents < 0n ? writeTotal(true, String(-cents)) : writeTotal(false, String(cents));
}

/** The sum of totals in their canonical form; undefined when it is 10^12 or more in size. */
export function sumTotals(texts: readonly string[]): string | undefined {
  const sum = texts.reduce((cents, text) => cents + centsOf(text), 0n);
  const size = String(sum < 0n ? -sum : sum);
  return size.length > MAX_CENTS.length ? undefined : writeEuros(sum);
}

function writeTotal(negative: boolean, cents: string): string {
  if (stripZeros(cents) === "") return "0.00";
  const padded = cents.padStart(3, "0");
  return `${negative ? "-" : ""}${padded.slice(0, -2)}.${padded.slice(-2)}`;
}

const POINT = 0x2e;
const ZERO = 0x30;
const MAX_WHOLE_DIGITS = 12;

/** The offset after one to twelve digits, a point and two digits; -1 for anything else. */
export function scanTotal(batch: Buffer, at: number): number {
  let point = at;
  while (isDigit(batch[point])) point++;
  const whole = point - at;
  if (whole === 0 || whole > MAX_WHOLE_DIGITS || batch[point] !== POINT) return -1;
  return isDigit(batch[point + 1]) && isDigit(batch[point + 2]) ? point + 3 : -1;
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && (byte - ZERO) >>> 0 <= 9;
}
