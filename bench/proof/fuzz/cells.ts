/** Values of the four columns: most of them right, many at the edge of a rule, some beyond it. */
import type { Column, World } from "../../../etl/testing/models/line.ts";
import { digits, list, type Random, replaceAt, shuffle } from "../../generator/choices.ts";
import { edgesOf, oddTime, plainTime } from "./moments.ts";

/** Makes cells for the drops of one world. */
export interface Cells {
  /** In the canonical form, and nearly always taken. */
  readonly plain: (column: Column) => string;
  /** In any form, right or wrong. */
  readonly odd: (column: Column) => string;
}

export function createCells(random: Random, world: World): Cells {
  const moments = edgesOf(world);
  return {
    plain: (column) => {
      if (column === "venue_id") return random.pick(PLAIN_VENUES);
      if (column === "invoice_id") return plainUuid(random);
      if (column === "datetime_created") return plainTime(random, world, moments);
      return plainTotal(random);
    },
    odd: (column) => {
      let value: string;
      if (column === "venue_id") value = oddVenue(random);
      else if (column === "invoice_id") value = oddUuid(random);
      else if (column === "datetime_created") value = oddTime(random, world, moments);
      else value = oddTotal(random);
      return random.once(16) ? surround(random, value) : value;
    },
  };
}

/** Blanks of all kinds around a value, quotes around that. */
function surround(random: Random, value: string): string {
  const text = random.pick(AROUND) + value + random.pick(AROUND);
  const kind = random.below(8);
  if (kind < 4) return `"${text.replaceAll('"', '""')}"`;
  if (kind === 4) return `"${text}`;
  if (kind === 5) return `${text}"`;
  if (kind === 6) return `${random.pick(AROUND)}"${text}"${random.pick(AROUND)}`;
  return text;
}

const AROUND = ["", "", "", " ", "\t", " \t ", "\u00a0", "\u3000", "\ufeff", "\u2028", '""', "\\"];

const PLAIN_VENUES = list(`v·venue-0001·a b·v ·居酒屋·Café Übersee·NULL·x'y·0·-1·=1+1·😀`);
const ODD_VENUES =
  list(`· ·\t· v·\tv\t·\\N·\\.·\\·\\\\·a\\·\\t·a\tb·a,b·a;b·a"b·"·""·""""·"a"·"a,b;c\td"·"a""b"·"a""·"a"b·""a·
\u00a0·\u3000·\u2028·\ufeff·\ufeffv·\u0080·\u009f·\u007f·\u0001·\u001f·\u0000·a\u0000b·\r·a\rb·\u202e·
\ud7ff·\ue000·\uffff·\u{10ffff}·e\u0301·venue_id·total·'; drop table x; --·$(rm)·../x`);

function oddVenue(random: Random): string {
  const kind = random.below(4);
  if (kind === 0) {
    const unit = random.pick(["x", "é", "居", "😀", "\u{10ffff}", " ", "\t", "\\", '""', "e\u0301"]);
    // Around 200 characters, and around 200 bytes.
    const length = random.pick([66, 67, 99, 100, 101, 199, 200, 201, 202, 400, 401]);
    const text = unit.repeat(length);
    return random.once(2) ? `"${text}"` : text;
  }
  if (kind === 1) {
    let text = "";
    for (let left = random.below(7); left > 0; left--)
      text += random.pick(["a", " ", "\t", '"', "\\", ",", ";", "é", "😀", "\r"]);
    return text;
  }
  return random.pick(kind === 2 ? ODD_VENUES : PLAIN_VENUES);
}

const HEX = "0123456789abcdef";

function hexDigits(random: Random, length: number): string {
  let text = "";
  while (text.length < length) text += HEX[random.below(16)];
  return text;
}

function plainUuid(random: Random): string {
  const hex = random.once(50) ? random.pick(["0", "f", "a"]).repeat(32) : hexDigits(random, 32);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

function oddUuid(random: Random): string {
  const uuid = plainUuid(random);
  const hex = uuid.replaceAll("-", "");
  switch (random.below(14)) {
    case 0:
      return uuid.toUpperCase();
    case 1:
      return hex;
    case 2:
      return `{${random.pick([uuid, hex, groupsOf(hex, 4), uuid.toUpperCase()])}}`;
    case 3:
      return random.pick([
        `{${uuid}`,
        `${uuid}}`,
        `{{${uuid}}}`,
        `(${uuid})`,
        "{}",
        "{",
        `{${uuid}}}`,
        `{ ${uuid} }`,
      ]);
    case 4:
      return groupsOf(hex, random.pick([1, 2, 3, 4, 4, 4, 8, 12, 16]));
    case 5: {
      // Hyphens after any of the groups of four, once in a while after another digit or doubled.
      let text = "";
      for (let at = 0; at < 32; at++) {
        text += hex[at];
        if ((at % 4 === 3 && random.once(2)) || random.once(200)) text += random.once(40) ? "--" : "-";
      }
      return text.endsWith("-") && !random.once(8) ? text.slice(0, -1) : text;
    }
    case 6:
      return replaceAt(
        uuid,
        random.below(36),
        random.pick(["g", "G", "-", " ", "{", "}", "o", "é", "٣", ""]),
      );
    case 7:
      return uuid.slice(0, random.below(37));
    case 8:
      return uuid + random.pick([...HEX, "-", "}", " ", "\t", "\u00a0"]);
    case 9:
      return random.pick([
        "",
        " ",
        "0",
        `urn:uuid:${uuid}`,
        `0x${hex}`,
        "NULL",
        "\\N",
        `-${uuid}`,
        `${hex}-`,
      ]);
    case 10:
      return Array.from(uuid, (char) => (random.once(2) ? char.toUpperCase() : char)).join("");
    default:
      return uuid;
  }
}

function groupsOf(hex: string, size: number): string {
  return (hex.match(new RegExp(`.{1,${size}}`, "g")) ?? []).join("-");
}

function plainTotal(random: Random): string {
  const length = random.once(8) ? random.between(1, 13) : random.between(1, 4);
  return `${digits(random, length)}.${digits(random, 2)}`;
}

const ODD_TOTALS =
  list(`· ·+·-·.·-.·e5·.e5·+.5·5.·-5.·0·-0·-0.00·+0.00·00·007·0.1·1e0·1E+2·1e-2·1e-3·1e·1e+·1e+-1·1e5.0·1e00005·
1e0005·1e9999·0e9999·1e-9999·0e-9999·00000e00001·NaN·nan·Infinity·-inf·0x10·0o7·0b1·1_000·1 000·1'000·
1,000·1,000.00·1.000,00·1,5·1.5·1,5e2·,5·5,·,·1..5·1.5.5·1,5,5·1.5,5·--1·++1·+-1·- 1·1-·(1.00)·€1·1€·
1.00 EUR·１·٣·−1·1.00\u00a0·999999999999.99·999999999999.994·999999999999.995·999999999999.996·
999999999999.9999·999999999999.999999·999999999999.9999990·999999999999.99999900001·
999999999999.9899990·1000000000000·1000000000000.00·-1000000000000·9.9999999999999e11·1e12·1e11·
0.000001e18·99999999999999e-2·12.340001·12.3400010·12.34000100·12.340001000000001·12.3400011·12.339999·
12.3399990·12.3399989999·12.339998·0.000001·0.0000010000001·-0.000001·0.009999·0.0099989·0.005·
0.004999999·19.990000000000002·0.30000000000000004·1234.5600000000001·-0.0000001·1e-6·1e-7·1.1e-6·10e-7·
11e-7·0.1e-5·100000000000000000000e-18·0000000000000000000001.00·
1.000000000000000000000000000000000000000000000001·5.-·5. -·5,-·€5.−·5. €-·-5.-·(5.-)·.-·,-·5.e1-·1,234·
1.234·1,234.·1.234,·1,234,567·1.234.567·1,234.50·1.234,50·1,234.5e1·1,234e1·1.500e1·12.500·12,500·.500·,500·
1234.500·1000000000000.500·1.234e12·1,000,000,000,000·999,999,999,999.99·999.999.999.999,99·5+·()·(·(5·5)·
((5))·(5)-·-(5)·(+5)·€·EUR·'·''5·-'5·5'·E5UR·5€00·eur 5·5\u00a0€·$5·5–·5 .00·5. 00·5e 1·1 234.50·1'234.50`);

function oddTotal(random: Random): string {
  const sign = random.pick(["", "", "", "-", "+"]);
  switch (random.below(10)) {
    case 0:
    case 1:
      return random.pick(ODD_TOTALS);
    case 2: {
      // A whole cent and some noise.
      const noise = random.pick([
        "",
        "0",
        "0000",
        "0001",
        "00010",
        "00011",
        "9999",
        "99990",
        "9998",
        "99989",
        "00000000001",
        "999999999",
        "00009",
      ]);
      const point = random.once(4) ? "," : ".";
      return `${sign}${digits(random, random.between(1, 3))}${point}${digits(random, 2)}${noise}`;
    }
    case 3: {
      const size = random.once(3) ? random.between(-30, 30) : random.between(-4, 4);
      const exponent = `${random.pick(["e", "E"])}${size >= 0 && random.once(2) ? "+" : ""}${size}`;
      const fraction = random.once(2)
        ? `${random.pick([".", ".", ","])}${digits(random, random.below(6))}`
        : "";
      return `${sign}${digits(random, random.below(6))}${fraction}${exponent}`;
    }
    case 4: {
      // Around 10^12.
      const fraction = random.once(2)
        ? ""
        : `.${random.pick(["9", "99", "994", "995", "9999", "999999", "9999999", "98", "9899"])}`;
      const first = random.pick(["9", "0", "1"]);
      return `${sign}${first}${digits(random, random.between(10, 12)).replace(/./g, "9")}${fraction}`;
    }
    case 5:
    case 6:
      return dress(random, someNumber(random));
    case 7:
      return random.once(2) ? grouped(random) : dress(random, grouped(random));
    case 8:
      // Thousands, or thousandths?
      return `${sign}${digits(random, random.between(1, 3))}${random.pick([",", "."])}${digits(random, 3)}`;
    default:
      return sign + plainTotal(random);
  }
}

/** With digits behind a mark or without, by point or comma. */
function someNumber(random: Random): string {
  const mark = random.pick([".", ".", ","]);
  const number = digits(random, random.between(1, 4));
  const behind = random.pick([2, 2, 2, 3, 0, 1, 4]);
  const written = random.once(4) ? number : `${number}${mark}${digits(random, behind)}`;
  return random.once(12) ? `${written}${random.pick(["e1", "E-1", "e+2", "e0005"])}` : written;
}

/** With marks between thousands, most of them where they belong. */
function grouped(random: Random): string {
  const [thousands, decimal] = random.pick([
    [",", "."],
    [",", "."],
    [".", ","],
    [".", ","],
    [",", ","],
    ["'", "."],
  ]);
  const sizes = Array.from({ length: random.pick([1, 1, 1, 2, 2, 3, 4]) }, () =>
    random.once(25) ? random.pick([0, 2, 4]) : 3,
  );
  const first = digits(random, random.once(25) ? random.pick([0, 4]) : random.between(1, 3));
  const whole = [first, ...sizes.map((size) => digits(random, size))].join(thousands);
  const fraction = random.once(2) ? "" : `${decimal}${digits(random, random.pick([2, 2, 2, 1, 3, 0]))}`;
  return whole + fraction + (random.once(25) ? "e1" : "");
}

/** Sign, currency, apostrophe and blanks around a number, now and then one too many. */
function dress(random: Random, number: string): string {
  const [before, after]: [string[], string[]] = [[], []];
  const place = (token: string) => (random.once(2) ? before : after).push(token);
  if (random.once(2)) place(random.pick(["€", "EUR"]));
  const sign = random.pick(["", "-", "-", "\u2212", "()", "()", "+"]);
  if (sign === "()") {
    before.push("(");
    after.push(")");
  } else if (sign === "+") before.push(sign);
  else if (sign !== "") place(sign);
  if (random.once(10)) place(random.pick(TOO_MANY));
  const tokens = [...shuffle(random, before), number, ...shuffle(random, after)];
  const blank = () => random.pick(["", "", "", " ", "\t", "  "]);
  return (random.once(5) ? "'" : "") + tokens.map((token) => token + blank()).join("");
}

const TOO_MANY = ["-", "\u2212", "+", "(", ")", "€", "EUR", "eur", "$", "'", "\u00a0", "–", "."];
