/** Lines of text as bytes of an encoding, now and then with something that it does not have. */
import { type Encoding, TABLES } from "../models/charset.ts";
import type { Choices } from "./choices.ts";

/** `encoding`: what the source says; now and then the bytes are of another. */
export function encode(random: Choices, lines: readonly string[], encoding: Encoding | undefined): Buffer[] {
  const real = random.once(40)
    ? random.pick<Encoding>(["utf-8", "windows-1252", "utf-16", "utf-16be"])
    : encoding;
  const isBigEndian = real === "utf-16be" || (real === "utf-16" && random.once(2));
  const isWide = real === "utf-16" || real === "utf-16le" || isBigEndian;
  const toBytes = (text: string): Buffer => {
    if (isWide) return isBigEndian ? Buffer.from(text, "utf16le").swap16() : Buffer.from(text, "utf16le");
    if (real === "windows-1252" || real === "iso-8859-15") return fromTable(text, TABLES[real]);
    return Buffer.from(text);
  };
  const hasMark = real === "utf-16" ? !random.once(15) : random.once(6) && real !== "windows-1252";
  const marked =
    hasMark && real !== "iso-8859-15" ? lines.map((line, at) => (at === 0 ? `\ufeff${line}` : line)) : lines;
  const bytes = marked.map(toBytes);
  const spoiled = random.once(20) ? random.below(bytes.length) : -1;
  return bytes.map((line, at) => (at === spoiled ? spoil(random, line, isWide) : line));
}

function fromTable(text: string, table: readonly (string | undefined)[]): Buffer {
  return Buffer.from(Array.from(text, (char) => Math.max(table.indexOf(char), 0) || 0x3f));
}

function spoil(random: Choices, line: Buffer, isWide: boolean): Buffer {
  const place = random.below(line.length + 1);
  const at = isWide ? place - (place % 2) : place;
  const odd = isWide ? [0x3d, 0xd8] : [random.pick([0x81, 0x8d, 0x8f, 0x90, 0x9d, 0x80, 0xff, 0xc3])];
  return Buffer.concat([line.subarray(0, at), Buffer.from(odd), line.subarray(at)]);
}
