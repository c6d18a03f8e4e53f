/**
 * Files whose form a source gives, with that form: columns, times, totals and encodings of all kinds, most
 * cells right and some beyond a rule. Made by random choices; nothing is known here of how they are read.
 */
import type { Encoding } from "../models/charset.ts";
import type { Form } from "../models/form.ts";
import type { Delimiter, World } from "../models/line.ts";
import { WORLDS } from "../models/worlds.ts";
import { encode } from "./bytes.ts";
import type { Choices } from "./choices.ts";
import { type Columns, makeColumns } from "./columns.ts";

export interface FormFile {
  readonly world: World;
  readonly form: Form;
  /** Its lines, each with its end; a byte order mark stands in the first. */
  readonly lines: readonly Buffer[];
}

const ENCODINGS: readonly (Encoding | undefined)[] = [
  ...[undefined, undefined, undefined, "utf-8", "utf-16"],
  ...["windows-1252", "windows-1252", "iso-8859-15", "utf-16le", "utf-16be"],
] as const as readonly (Encoding | undefined)[];

export function makeFormFile(random: Choices): FormFile {
  const world = random.pick(WORLDS);
  const encoding = random.pick(ENCODINGS);
  const written = random.pick<Delimiter>([",", ";", ";", "\t", "|"]);
  const hasHeader = !random.once(4);
  const columns = makeColumns(random, world, hasHeader);
  const titles = makeTitles(random, written);
  const form: Form = {
    ...columns.form,
    encoding,
    delimiter: random.once(3) ? undefined : written,
    skip: titles.length + (random.once(30) ? random.pick([1, -titles.length]) : 0),
    header: hasHeader,
    sumRows: random.once(8),
  };
  const texts = [...titles];
  if (random.once(12))
    texts.splice(random.once(2) ? 0 : texts.length, 0, `sep=${random.once(5) ? "|" : written}`);
  const header = columns.names.map((name) => dress(random, name, written)).join(written);
  if (random.once(8)) texts.push("");
  if (hasHeader) texts.push(header);
  for (let left = random.between(0, 60); left > 0; left--)
    texts.push(makeLine(random, { delimiter: written, header, columns }));
  const end = random.pick(["\n", "\r\n"]);
  return {
    world,
    form,
    lines: encode(
      random,
      texts.map((text) => text + end),
      encoding,
    ),
  };
}

/** What stands above the header. */
function makeTitles(random: Choices, delimiter: string): string[] {
  if (!random.once(3)) return [];
  return Array.from({ length: random.between(1, 4) }, () =>
    random.pick([
      "Umsatz",
      "",
      "  ",
      `Filiale${delimiter}Mitte`,
      "a,b;c|d",
      'Bericht "Juli"',
      '"',
      "Größe: 5 €",
    ]),
  );
}

function makeLine(
  random: Choices,
  made: {
    readonly delimiter: string;
    readonly header: string;
    readonly columns: Columns;
  },
): string {
  const { delimiter, header, columns } = made;
  const odd = random.once(25) ? random.below(10) : undefined;
  if (odd === 0) return "";
  if (odd === 1) return random.once(6) ? `${header} ` : header;
  if (odd === 2) return columns.names.map(() => random.pick(["", "", " ", '""'])).join(delimiter);
  if (odd === 3) return random.pick(["Summe", `Summe${delimiter}1`, "Ende", " ", `${delimiter}`]);
  const cells = columns.makeCells().map((cell) => quote(random, cell, delimiter));
  if (odd === 4) cells.splice(random.below(cells.length), 1);
  if (odd === 5) cells.push(random.pick(["", "", "x", " ", '""']));
  if (odd === 6) cells.push("", "");
  if (odd === 7)
    cells[random.below(cells.length)] = random.pick(['"', 'a"b', '"a"b', '"a\nb"', '"\r\n"', "\u0001"]);
  if (odd === 8) return cells.join(random.pick([",", ";", "\t", "|"]));
  return cells.join(delimiter);
}

function quote(random: Choices, cell: string, delimiter: string): string {
  const isNeeded = /["\n]/.test(cell) || cell.includes(delimiter);
  if (isNeeded ? random.once(40) : !random.once(25)) return cell;
  return `"${cell.replaceAll('"', '""')}"`;
}

function dress(random: Choices, name: string, delimiter: string): string {
  const dressed = random.once(12) ? ` ${name}\t` : name;
  return random.once(8) || /["\n]/.test(name) || name.includes(delimiter) ? `"${dressed}"` : dressed;
}
