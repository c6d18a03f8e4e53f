/** Writes parts of a source's YAML: text from strangers stays text, and safe on a terminal. */
import { printable, toJson } from "../../escape.ts";

/** Needs no quotes, and is the same text then. */
const PLAIN = /^[\p{L}\p{N}*](?:[\p{L}\p{N} _./*-]|:(?=[\p{L}\p{N}]))*(?<! )$/u;
/** Blanks that are not seen to be no plain ones. */
const UNSEEN_BLANK = /[\u00a0\u202f]/g;

export function writeScalar(value: string | number): string {
  if (typeof value === "number" || (PLAIN.test(value) && !value.startsWith("*"))) return String(value);
  return toJson(value).replace(
    UNSEEN_BLANK,
    (blank) => `\\u${blank.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** One value, or a list of several in one line. */
export function writeList(values: readonly (string | number)[]): string {
  const [first = "", ...others] = values.map(writeScalar);
  return others.length === 0 ? first : `[${[first, ...others].join(", ")}]`;
}

/** A comment, in one line. */
export function writeComment(text: string, indent = ""): string {
  return `${indent}# ${printable(text)}`;
}
