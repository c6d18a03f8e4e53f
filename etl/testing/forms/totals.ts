/** Totals as a form has them: marks of decimals and of thousands, cents, parts of a sum; some of them wrong. */
import type { Form } from "../models/form.ts";
import { type Choices, digits, replaceAt } from "./choices.ts";

interface Totals {
  /** How many columns are added. */
  readonly count: number;
  /** One cell. */
  readonly make: () => string;
  readonly form: Omit<Form["total"], "columns">;
}

const NOTATIONS = [
  {},
  {},
  { decimal: "," },
  { decimal: "." },
  { decimal: ",", thousands: "." },
  { decimal: ".", thousands: "," },
  { decimal: ",", thousands: "'" },
  { decimal: ".", thousands: "'" },
  { decimal: ".", thousands: "’" },
  { thousands: "'" },
  { decimal: ",", thousands: " " },
  { decimal: ",", thousands: "\u00a0" },
  { thousands: "\u202f" },
] as const;

/** `isPlain`: as in the drop format. */
export function makeTotals(random: Choices, isPlain: boolean): Totals {
  const notation: Omit<Form["total"], "columns"> = random.pick(isPlain ? [{}] : NOTATIONS);
  const { decimal = ".", thousands = decimal === "," ? "." : "," } = notation;
  const cents = !isPlain && random.once(4) ? true : undefined;
  const plain = () => {
    const fraction = cents ? "" : decimal + digits(random, 2);
    const number = random.once(20) ? digits(random, 13) : `${random.below(10 ** random.between(1, 7))}`;
    return (random.once(3) ? group(number, thousands) : number) + fraction;
  };
  const make = () => {
    if (random.once(20)) return "";
    if (random.once(6)) return dress(random, plain());
    if (random.once(8)) return spoil(random, plain(), thousands);
    return random.once(10) ? random.pick(ODD_TOTALS) : plain();
  };
  return { count: isPlain ? 1 : random.pick([1, 1, 1, 2, 3]), make, form: { ...notation, cents } };
}

function group(number: string, mark: string): string {
  return number.replace(/\B(?=(?:\d{3})+$)/g, mark);
}

/** With a sign, a currency, blanks or an apostrophe. */
function dress(random: Choices, number: string): string {
  const signed = random.pick([
    `-${number}`,
    `${number}-`,
    `(${number})`,
    `\u2212${number}`,
    `+${number}`,
    number,
  ]);
  const priced = random.pick([signed, signed, `${signed} €`, `€${signed}`, `EUR ${signed}`, `${signed}EUR`]);
  return random.pick([priced, priced, `'${priced}`, ` ${priced} `, `${priced}\u00a0`]);
}

function spoil(random: Choices, number: string, mark: string): string {
  const at = random.below(number.length + 1);
  const odd = random.pick([mark, mark, ".", ",", "'", " ", "\u00a0", "e1", "-", "x", "0", "00"]);
  if (random.once(3)) return replaceAt(number, at, "");
  return number.slice(0, at) + odd + number.slice(at);
}

const ODD_TOTALS = [
  ...[
    "0",
    "-0",
    "007",
    ".5",
    ",5",
    "5.",
    "5,",
    "5.-",
    "5,-",
    "1,234",
    "1.234",
    "1,234.50",
    "1.234,50",
    "1.234.567",
  ],
  ...[
    "12.500",
    "12,500",
    "1'234.50",
    "'1'234",
    "1 234",
    "12.340001",
    "12,3400001",
    "12.345",
    "0.005",
    "1234.5",
  ],
  ...[
    "1234.0000001",
    "999999999999.99",
    "99999999999999",
    "999999999999",
    "1000000000000",
    "1e3",
    "1.5e1",
    "1250e-2",
  ],
  ...[
    "125e-2",
    "1e-2",
    "NaN",
    "x",
    "-",
    "€",
    "()",
    "1,23,456",
    "1 234 567,89",
    "12 34",
    "1,2345.6",
    "5.000,5",
  ],
];
