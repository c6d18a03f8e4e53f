/** Totals in euros. The canonical form has no plus, no zeros in front, and two decimals: `-12.50`. */

const PLAIN_TOTAL = /^(?:0|-?[1-9]\d{0,11})\.\d\d$/;
const TOTAL_WITH_POINT = /^([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,4}))?$/;
const TOTAL_WITH_POINT_OR_COMMA = /^([+-]?)(\d*)(?:[.,](\d*))?(?:[eE]([+-]?\d{1,4}))?$/;

/**
 * A total in whole cents: `-?digits.dd`, no minus before zero. Exact, by its digits alone, in linear time.
 *
 * `bad_total`: no number, or its size is 10^12 or more, as it stands or as the whole cent that it means.
 * `sub_cent_total`: more than 0.000001 away from a whole cent.
 */
export function readTotal(text: string, decimalComma: boolean): string {
  if (PLAIN_TOTAL.test(text)) return text;
  const match = (decimalComma ? TOTAL_WITH_POINT_OR_COMMA : TOTAL_WITH_POINT).exec(text);
  if (match === null) return "bad_total";
  const whole = match[2] ?? "";
  const fraction = match[3] ?? "";
  if (whole === "" && fraction === "") return "bad_total";
  const digits = stripZeros(whole + fraction);
  // How many of the digits stand before the point once the number is counted in cents; may be negative.
  const inCents = digits.length - fraction.length + Number(match[4] ?? 0) + 2;
  const cents = digits === "" ? "" : wholeCents(digits, inCents);
  if (cents === "bad_total" || cents === "sub_cent_total") return cents;
  return writeTotal(match[1] === "-", cents);
}

/** The greatest total, in cents: 999999999999.99. */
const MAX_CENTS = "99999999999999";

/** The cents nearest to `0.digits × 10^inCents`. `digits` begins with none that is zero. */
function wholeCents(digits: string, inCents: number): string {
  if (inCents > MAX_CENTS.length) return "bad_total";
  const whole = digits.slice(0, Math.max(inCents, 0)).padEnd(inCents, "0");
  const rest = fractionOf(digits, inCents);
  // 0.000001 of a euro is 0.0001 of a cent.
  if (rest.head === "0000" || (rest.head === "0001" && rest.exact)) return whole;
  if (rest.head !== "9999") return "sub_cent_total";
  return whole === MAX_CENTS ? "bad_total" : String(BigInt(whole) + 1n);
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
