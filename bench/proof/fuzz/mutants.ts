/** Drops from seeds: batches of mutated lines under a sound header, and files that are odd as a whole. */
import { isUtf8 } from "node:buffer";
import type { Form } from "../../../etl/testing/models/form.ts";
import type { Column, World } from "../../../etl/testing/models/line.ts";
import { WORLDS } from "../../../etl/testing/models/worlds.ts";
import { createRandom, list, type Random, shuffle } from "../../generator/choices.ts";
import { mutate } from "./bytes.ts";
import { createCells } from "./cells.ts";
import { contain, pack, someCuts } from "./containers.ts";

/** A drop as the reader gets it. */
export interface MadeDrop {
  readonly world: World;
  /** The file's bytes. */
  readonly bytes: Buffer;
  /** Whether its name ends in `.gz`. */
  readonly isNamedGz: boolean;
  /** How a source says that it is written; undefined: it is a drop of the drop format. */
  readonly form?: Form | undefined;
  /** Where the chunks of the file's bytes are cut, ascending. */
  readonly cuts: readonly number[];
}

/**
 * Lines made for a batch: many, so that round trips to PostgreSQL do not count; always as many, so that a
 * seed alone makes it again.
 */
const BATCH_LINES = 16_000;

const COLUMNS: readonly Column[] = ["venue_id", "invoice_id", "datetime_created", "total"];
const ROLE = { lines: 1, file: 2 } as const;

/** A batch of lines, after a header. */
export function makeLines(seed: number): MadeDrop {
  const random = createRandom(seed, ROLE.lines);
  const world = random.pick(WORLDS);
  const delimiter = random.pick([",", ",", ";", "\t", "|"] as const);
  const names: string[] = shuffle(random, random.once(3) ? [...COLUMNS, "note"] : COLUMNS);
  const ended = random.pick(["\n", "\n", "\r\n"]);
  // Where all of a batch is UTF-8, other scripts go the fast way, too.
  const clean = random.once(2);
  const makeLine = lineMaker(random, { world, delimiter, names });
  const header: Buffer = Buffer.from(names.join(delimiter));
  const pieces: Buffer[] = random.once(6) ? [Buffer.from(`sep=${delimiter}\n`)] : [];
  pieces.push(header, Buffer.from(ended));
  let other = header;
  for (let made = 0; made < BATCH_LINES; made++) {
    const line = random.once(400) ? headerAgain(random, header) : makeLine();
    const mutated = random.once(4) ? mutate(random, line, other) : line;
    pieces.push(
      clean && !isUtf8(mutated) ? line : mutated,
      random.once(50) ? TERMINATORS.odd(random) : Buffer.from(ended),
    );
    other = line;
  }
  const bytes = Buffer.concat(pieces);
  const cuts = random.once(3) ? someCuts(random, bytes.length, 20) : [];
  return { world, bytes, isNamedGz: false, cuts };
}

/** As it is after files were joined, or nearly so. */
function headerAgain(random: Random, header: Buffer): Buffer {
  const mark = random.pick(["", "", "", "\ufeff", "\ufeff", "\ufeff\ufeff", " "]);
  return Buffer.concat([Buffer.from(mark), header, Buffer.from(random.once(12) ? " " : "")]);
}

const TERMINATORS = {
  odd: (random: Random) => Buffer.from(random.pick(["\n", "\r\n", "\r\r\n", "\n\n", "\r\n\r\n", "\n\r\n"])),
};

function lineMaker(
  random: Random,
  {
    world,
    delimiter,
    names,
  }: { readonly world: World; readonly delimiter: string; readonly names: readonly string[] },
): () => Buffer {
  const cells = createCells(random, world);
  return () => {
    if (random.once(80)) return Buffer.from(blankRecord(random, names, delimiter));
    const style = random.below(8);
    const odd = random.below(names.length);
    const values = names.map((name, index) => {
      if (!isColumn(name)) return random.pick(NOTES);
      // All plain, one odd, each odd or not, all odd.
      const isOdd = style < 3 ? false : style < 6 ? index === odd : style < 7 ? random.once(2) : true;
      return isOdd ? writeOdd(random, cells.odd(name), delimiter) : writePlain(random, cells.plain(name));
    });
    if (random.once(40)) values.push(random.pick(["", "", "", '""', "x", " ", '"\n"']));
    if (random.once(60)) values.splice(random.below(values.length), 1);
    const line = values.join(delimiter);
    return Buffer.from(line.includes("\n") && random.once(40) ? stretch(random, line) : line);
  };
}

/** What stands in columns that are ignored. */
const SOUND_NOTES = list(`·n·"a,b;c\t|"·é·x·"a\nb"·"a\r\nb"·"\n"·"\n\n"·"a ""b""\n"·"\n"""`);
const NOTES = [
  ...[...SOUND_NOTES, ...SOUND_NOTES],
  ...list(`"""·"a\n·b"·"a\rb"·"a\r\r\nb"·"a\0\nb"·"a\nb"c·"a\n"," "\n"`),
];

/** All cells of the four columns blank, or nearly so. */
function blankRecord(random: Random, names: readonly string[], delimiter: string): string {
  const values = names.map((name) => {
    if (!isColumn(name)) return random.pick(NOTES);
    return random.once(60)
      ? random.pick(["0", "\u00a0", '"\n"'])
      : random.pick(["", "", " ", "\t", '""', '" "']);
  });
  if (random.once(4)) values.push(random.once(8) ? " " : "");
  return values.join(delimiter);
}

/** Makes a record of several lines about as long as one may be, in lines or in bytes. */
function stretch(random: Random, line: string): string {
  const at = line.indexOf("\n");
  const more = random.once(3)
    ? "x".repeat(Math.max(0, 65_536 + random.pick([-1, 0, 0, 1, 2]) - Buffer.byteLength(line)))
    : "\n".repeat(100 + random.pick([-1, 0, 0, 1, 5]) - line.split("\n").length);
  return line.slice(0, at) + more + line.slice(at);
}

/** Mostly in quotes where it holds the delimiter, so that amounts with thousands reach their rule. */
function writeOdd(random: Random, value: string, delimiter: string): string {
  return value.includes(delimiter) && !value.includes('"') && !random.once(8) ? `"${value}"` : value;
}

function writePlain(random: Random, value: string): string {
  if (random.once(300)) return random.pick([`"${value}\n"`, `"\r\n${value}"`, `"${value}\r"`]);
  return random.once(30) ? `"${value}"` : value;
}

function isColumn(name: string): name is Column {
  return (COLUMNS as readonly string[]).includes(name);
}

/** A whole file: container, header, delimiter, ends, marks, packing and chunks of any kind. */
export function makeFile(seed: number): MadeDrop {
  const random = createRandom(seed, ROLE.file);
  const world = random.pick(WORLDS);
  const contained = contain(random, makeText(random, world));
  const bytes = random.once(3) ? pack(random, contained) : contained;
  const isNamedGz = random.once(3);
  return { world, bytes, isNamedGz, cuts: chunkCuts(random, bytes.length) };
}

function makeText(random: Random, world: World): Buffer {
  const delimiter = random.pick([",", ",", ";", "\t", "|"]);
  const hasHeader = !random.once(3);
  const names = hasHeader ? headerNames(random) : [...COLUMNS];
  const makeLine = lineMaker(random, {
    world,
    delimiter,
    names: names.map((name) => name.toLowerCase().trim()),
  });
  const pieces: Buffer[] = [];
  if (random.once(3)) pieces.push(MARK);
  if (random.once(20)) pieces.push(MARK);
  const ends = random.pick([
    ["\n"],
    ["\r\n"],
    ["\n", "\r\n"],
    ["\n", "\r\n", "\r\r\n", "\n\n", "\n\r\n", "\r\n \n"],
  ]);
  while (random.once(4)) pieces.push(Buffer.from(random.pick(ends)));
  if (random.once(6)) {
    const named = random.once(5) ? random.pick([",", ";", "\t", "|", ":", ""]) : delimiter;
    const line = `${random.pick(["sep", "sep", "SEP", "Sep", '"sep', " sep"])}=${named}`;
    pieces.push(Buffer.from(line + (random.once(8) ? " " : "")), Buffer.from(random.pick(ends)));
  }
  if (random.once(4)) {
    const count = random.once(5) ? random.between(17, 21) : random.between(1, 3);
    for (let left = count; left > 0; left--)
      pieces.push(titleLine(random, delimiter), Buffer.from(random.pick(ends)));
  }
  let header: Buffer = Buffer.from(names.map((name) => dressName(random, name)).join(delimiter));
  if (random.once(12)) header = mutate(random, header, makeLine());
  if (hasHeader) pieces.push(header, Buffer.from(random.pick(ends)));
  for (let left = random.once(10) ? 0 : random.below(random.once(10) ? 800 : 60); left > 0; left--) {
    const line = hasHeader && random.once(30) ? headerAgain(random, header) : makeLine();
    pieces.push(random.once(6) ? mutate(random, line, line) : line, Buffer.from(random.pick(ends)));
  }
  if (random.once(60)) {
    pieces.push(longLine(random, delimiter), Buffer.from(random.pick(ends)));
    if (random.once(2)) pieces.push(makeLine(), Buffer.from(random.pick(ends)));
  }
  // No end after the last line, or a lone CR, or empty lines.
  if (random.once(3)) pieces.pop();
  else if (random.once(6))
    pieces.push(Buffer.from(random.pick(["\r", "\n", "\r\n\r\n", "\n\n\n", " ", '"'])));
  const text = Buffer.concat(pieces);
  return random.once(12) ? mutate(random, text, text) : text;
}

const MARK = Buffer.from("\ufeff");

/** What stands above a header: no delimiter fits it, or all is blank. */
function titleLine(random: Random, delimiter: string): Buffer {
  const blank = [random.pick(["", " ", '""']), "", "", ""].join(delimiter);
  const title = random.pick([
    ...[
      "Umsatz",
      "Umsatz, Juli",
      "a;b;c",
      "x|y",
      '"x',
      '"x\ny"',
      "  ",
      "a,b,c,d,e",
      blank,
      blank,
      `${blank}${delimiter}`,
    ],
    ...(random.once(10) ? ["total", `Total${delimiter}x`, "a;b;c;d", "a,b,c,d", "sep=;"] : []),
  ]);
  return random.once(20) ? Buffer.concat([Buffer.from(title), Buffer.of(0xff)]) : Buffer.from(title);
}

/** Around the longest line that is read. */
export function longLine(random: Random, delimiter: string): Buffer {
  const length = 1024 * 1024 + random.pick([-1, 0, 0, 0, 1, 1, 2, 3, 5, 6, 200_000]);
  const unit = random.pick(["x", '"', delimiter, " ", `"",`, "😀"]);
  return Buffer.from(unit.repeat(Math.ceil(length / Buffer.byteLength(unit)))).subarray(0, length);
}

function headerNames(random: Random): string[] {
  const names: string[] = shuffle(random, COLUMNS);
  for (let extra = random.once(3) ? random.between(1, 4) : 0; extra > 0; extra--) {
    names.splice(
      random.below(names.length + 1),
      0,
      random.pick(["note", "venue", "", "a b", "total_net", "datetime", "é", "id"]),
    );
  }
  if (random.once(12)) names.splice(random.below(names.length), 1);
  if (random.once(15)) names.push(random.pick(COLUMNS));
  return names;
}

function dressName(random: Random, name: string): string {
  switch (random.below(10)) {
    case 0:
      return name.toUpperCase();
    case 1:
      return `${random.pick([" ", "\t", "  ", "\u00a0"])}${name} `;
    case 2:
      return `"${name}"`;
    case 3:
      return `" ${name}\t"`;
    case 4:
      return name.replace(/^./, (letter) => letter.toUpperCase());
    default:
      return name;
  }
}

/** In one piece, byte by byte, in equal pieces, or anywhere. */
export function chunkCuts(random: Random, length: number): number[] {
  const every = (step: number) =>
    Array.from({ length: Math.floor(length / step) }, (_, index) => (index + 1) * step);
  switch (random.below(6)) {
    case 0:
      return [];
    case 1:
      return length > 4000 ? every(random.between(1000, 5000)) : every(1);
    case 2:
      return every(Math.max(random.between(2, 100), Math.ceil(length / 2000)));
    default:
      return someCuts(random, length, random.pick([1, 2, 8, 30]));
  }
}
