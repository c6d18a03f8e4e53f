/** A glob for the files of which one is known. */

/** A date, a time, or a number that the next file will have otherwise. */
const CHANGING = /\d{4,}(?:[-_.T]?\d+)*|\d{1,2}[-_.]\d{1,2}[-_.]\d{2,4}(?:[-_.T]?\d+)*/g;

/**
 * The path with a `*` for its numbers.
 *
 * @param path of the file below its inbox, with `/`, or its name
 */
export function globFor(path: string): string {
  // What means something in a glob has no other way to stand for itself.
  const escaped = (text: string) => text.replace(/[\\*?[\]{}]/g, "?");
  const folders = path.split("/");
  const name = folders.pop() ?? "";
  const [extension = ""] = /(?:\.[A-Za-z]{2,4}){0,2}$/.exec(name) ?? [];
  const stem = name.slice(0, name.length - extension.length);
  const pieces = stem.split(CHANGING).map(escaped);
  return [...folders.map(escaped), `${pieces.join("*")}${extension}`].join("/");
}
