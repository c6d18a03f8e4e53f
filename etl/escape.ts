/** Text from strangers, made harmless where it is shown: on a terminal, in a log, in JSON. */

/**
 * What could steer a terminal, forge a line of a log, or stand there unseen: control characters, line and paragraph separators, what turns the
 * direction of writing, what has no width. Not the selectors that choose between two looks of a character, as in emoji.
 */
const UNSEEN =
  /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]|(?!\p{Variation_Selector})\p{Default_Ignorable_Code_Point}/gu;

/** The same but for what JSON escapes by itself. */
const UNSEEN_IN_JSON =
  /[\u007f-\u009f\p{Cf}\p{Zl}\p{Zp}]|(?!\p{Variation_Selector})\p{Default_Ignorable_Code_Point}/gu;

/** Text as one line that is safe on a terminal. */
export function printable(text: string): string {
  return text.replace(UNSEEN, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`);
}

/** The same for a text whose line ends are its own. */
export function printableLines(text: string): string {
  return text.split("\n").map(printable).join("\n");
}

/**
 * JSON of a value. What {@link printable} escapes is escaped here too, in JSON's way: a terminal that shows it is not steered by it, programs that
 * take more than LF for the end of a line still find one line, and who parses it has the very text.
 */
export function toJson(value: unknown, indent?: number): string {
  return JSON.stringify(value, undefined, indent).replace(UNSEEN_IN_JSON, (character) =>
    character
      .split("")
      .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)
      .join(""),
  );
}
