/** Drops from seeds: batches of mutated lines under a sound header, and files that are odd as a whole. */
import { isUtf8 } from "node:buffer";
import { constants, deflateRawSync, gzipSync } from "node:zlib";
import type { Column, World } from "../../../etl/testing/models/line.ts";
import { WORLDS } from "../../../etl/testing/models/worlds.ts";
import { createRandom, type Random } from "../../generator/choices.ts";
import { mutate } from "./bytes.ts";
import { type Cells, createCells } from "./cells.ts";

/** A drop as the reader gets it. */
export interface MadeDrop {
  readonly world: World;
  /** The file's bytes. */
  readonly bytes: Buffer;
  readonly gzip: boolean;
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
  const delimiter = random.pick([",", ",", ";", "\t"] as const);
  const names: string[] = shuffle(random, random.once(8) ? [...COLUMNS, "note"] : COLUMNS);
  const ended = random.pick(["\n", "\n", "\r\n"]);
  // Where all of a batch is UTF-8, other scripts go the fast way, too.
  const clean = random.once(2);
  const makeLine = lineMaker(random, { world, delimiter, names });
  const pieces: Buffer[] = [Buffer.from(names.join(delimiter) + ended)];
  let other = pieces[0] ?? Buffer.alloc(0);
  for (let made = 0; made < BATCH_LINES; made++) {
    const line = makeLine();
    const mutated = random.once(4) ? mutate(random, line, other) : line;
    pieces.push(
      clean && !isUtf8(mutated) ? line : mutated,
      random.once(50) ? TERMINATORS.odd(random) : Buffer.from(ended),
    );
    other = line;
  }
  const bytes = Buffer.concat(pieces);
  return { world, bytes, gzip: false, cuts: random.once(3) ? someCuts(random, bytes.length, 20) : [] };
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
    const style = random.below(8);
    const odd = random.below(names.length);
    const values = names.map((name, index) => {
      if (!isColumn(name)) return random.pick(["", "n", '"a,b;c\t"', "é", '"""', "x"]);
      // All plain, one odd, each odd or not, all odd.
      const isOdd = style < 3 ? false : style < 6 ? index === odd : style < 7 ? random.once(2) : true;
      return writeCell(random, cells, name, isOdd);
    });
    if (random.once(60)) values.push(random.pick(["", "x", " "]));
    if (random.once(60)) values.splice(random.below(values.length), 1);
    return Buffer.from(values.join(delimiter));
  };
}

function writeCell(random: Random, cells: Cells, column: Column, isOdd: boolean): string {
  if (isOdd) return cells.odd(column);
  const value = cells.plain(column);
  return random.once(30) ? `"${value}"` : value;
}

function isColumn(name: string): name is Column {
  return (COLUMNS as readonly string[]).includes(name);
}

function shuffle<T>(random: Random, items: readonly T[]): T[] {
  const left = [...items];
  const shuffled: T[] = [];
  while (left.length > 0) shuffled.push(...left.splice(random.below(left.length), 1));
  return shuffled;
}

function someCuts(random: Random, length: number, most: number): number[] {
  const cuts = Array.from({ length: random.below(most + 1) }, () => random.below(length + 1));
  return cuts.sort((a, b) => a - b);
}

/** A whole file: header, delimiter, ends, marks, packing and chunks of any kind. */
export function makeFile(seed: number): MadeDrop {
  const random = createRandom(seed, ROLE.file);
  const world = random.pick(WORLDS);
  const text = makeText(random, world);
  const gzip = random.once(3);
  const bytes = gzip ? pack(random, text) : text;
  return { world, bytes, gzip, cuts: chunkCuts(random, bytes.length) };
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
  if (hasHeader) {
    let header: Buffer = Buffer.from(names.map((name) => dressName(random, name)).join(delimiter));
    if (random.once(12)) header = mutate(random, header, makeLine());
    pieces.push(header, Buffer.from(random.pick(ends)));
  }
  for (let left = random.once(10) ? 0 : random.below(random.once(10) ? 800 : 60); left > 0; left--) {
    const line = makeLine();
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

/** Around the longest line that is read. */
function longLine(random: Random, delimiter: string): Buffer {
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

/**
 * As gzip: one member or several, written in several ways; cut, followed by something, or with bits turned
 * over.
 */
function pack(random: Random, text: Buffer): Buffer {
  const cuts = random.once(2) ? [] : someCuts(random, text.length, 4);
  const parts = [0, ...cuts].map((from, index) => text.subarray(from, cuts[index] ?? text.length));
  const whole = Buffer.concat(parts.map((part) => member(random, part)));
  switch (random.below(12)) {
    case 0:
      return whole.subarray(0, random.below(whole.length + 1));
    case 1:
      return whole.subarray(0, Math.max(0, whole.length - random.between(1, 12)));
    case 2:
      return Buffer.concat([
        whole,
        random.pick([
          Buffer.alloc(1),
          Buffer.alloc(700),
          Buffer.from("x"),
          Buffer.from([0x1f]),
          Buffer.from([0x1f, 0x8b]),
          whole.subarray(0, 15),
        ]),
      ]);
    case 3: {
      const damaged = Buffer.from(whole);
      const at = random.below(damaged.length);
      damaged[at] = (damaged[at] ?? 0) ^ (1 << random.below(8));
      return damaged;
    }
    case 4:
      return random.once(3) ? mutate(random, whole, whole) : whole;
    case 5:
      return random.once(5) ? text : whole;
    default:
      return whole;
  }
}

function member(random: Random, part: Buffer): Buffer {
  const level = random.pick([0, 1, 6, 9]);
  const strategy = random.pick([
    constants.Z_DEFAULT_STRATEGY,
    constants.Z_FIXED,
    constants.Z_HUFFMAN_ONLY,
    constants.Z_RLE,
  ]);
  if (!random.once(4)) return gzipSync(part, { level, strategy });
  // A header with all that it may have.
  const flags = random.below(16) & 0x1d;
  const pieces = [Buffer.from([0x1f, 0x8b, 8, flags, 1, 2, 3, 4, 0, 255])];
  if (flags & 4) pieces.push(Buffer.from([3, 0, 1, 2, 3]));
  if (flags & 8) pieces.push(Buffer.from("name.csv\0"));
  if (flags & 16) pieces.push(Buffer.from("a comment\0"));
  const plain = gzipSync(part, { level, strategy });
  return Buffer.concat([
    ...pieces,
    deflateRawSync(part, { level, strategy }),
    plain.subarray(plain.length - 8),
  ]);
}

/** In one piece, byte by byte, in equal pieces, or anywhere. */
function chunkCuts(random: Random, length: number): number[] {
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
