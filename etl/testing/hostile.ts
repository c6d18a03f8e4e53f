/**
 * For tests: venue ids and file names that attack a terminal, a shell or a log, and a search for their traces
 * in an output.
 */
import { readFileSync } from "node:fs";

export interface HostileText {
  readonly what: string;
  readonly text: string;
  /** What becomes of a line with it as a quoted venue id: `loaded`, or why it is rejected. */
  readonly venue: string;
  /** Whether a file can have it in its name. */
  readonly file: boolean;
}

// The tests of the DAGs read it, too.
const TABLE: readonly HostileText[] = JSON.parse(
  readFileSync(new URL("./hostile_names.json", import.meta.url), "utf8"),
);

export const HOSTILE_TEXTS: readonly HostileText[] = [
  ...TABLE,
  { what: "the longest venue id", text: "\u{1f355}".repeat(200), venue: "loaded", file: false },
  { what: "a venue id too long", text: "\u00e9".repeat(201), venue: "venue_too_long", file: false },
];

/** The file that a hostile name would make if a shell ran it. */
export const CANARY = "canary";

/**
 * File names of drops with each text in front, and the longest possible ones. Where a file system takes two
 * names for one, only one is used.
 */
export function hostileFileNames(ending = " 2026-10-05.csv"): readonly string[] {
  const texts = TABLE.filter(({ file }) => file).map(({ text }) => text);
  const room = 255 - Buffer.byteLength(ending);
  const longest = ["n".repeat(room), "\u00e9".repeat(Math.floor(room / 2)), "\u0007".repeat(room)];
  const names = [...texts, ...longest].map((text) => `${text}${ending}`);
  if (process.platform !== "darwin") return names;
  const folded = new Set<string>();
  return names.filter((name) => {
    const key = name.normalize("NFD").toLowerCase();
    return !folded.has(key) && folded.add(key);
  });
}

/**
 * Characters that control a terminal, forge lines, change the direction of writing, or are invisible. They
 * are listed by number, because the product lists them by class.
 */
const UNSAFE: readonly (readonly [number, number])[] = [
  [0x00, 0x09],
  [0x0b, 0x1f],
  [0x7f, 0x9f],
  [0xad, 0xad],
  [0x34f, 0x34f],
  [0x61c, 0x61c],
  [0x115f, 0x1160],
  [0x200b, 0x200f],
  [0x2028, 0x202e],
  [0x2060, 0x206f],
  [0x3164, 0x3164],
  [0xd800, 0xdfff],
  [0xfeff, 0xfeff],
  [0xffa0, 0xffa0],
  [0xfff9, 0xfffb],
  [0xe0000, 0xe00ff],
];

/**
 * Finds every unsafe character of an output, with the text before it, and every line that a name has forged.
 */
export function unsafeIn(output: string): readonly string[] {
  const found: string[] = [];
  let seen = "";
  for (const character of output) {
    const code = character.codePointAt(0) ?? 0;
    if (UNSAFE.some(([from, to]) => code >= from && code <= to)) {
      found.push(`U+${code.toString(16).toUpperCase()} after ${JSON.stringify(seen.slice(-40))}`);
    }
    seen += character;
  }
  return [...found, ...output.split("\n").filter((line) => /^(rollbook: )?(\[now\]|forged)/.test(line))];
}
