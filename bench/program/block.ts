/** Figures as they stand in a page of the docs, between two markers, so that a later run replaces them. */
import { readFile, writeFile } from "node:fs/promises";
import { RollbookError } from "../../db/errors.ts";

/** The place of a record's figures in a page. */
export interface Block<Figures> {
  readonly name: string;
  /** The command that writes it. */
  readonly command: string;
  /** The figures as Markdown. */
  readonly format: (figures: Figures) => string;
}

/** Puts figures into a page that has the block's markers. */
export async function writeBlock<Figures>(
  path: string,
  block: Block<Figures>,
  figures: Figures,
): Promise<void> {
  const [before, after] = split(await readFile(path, "utf8"), path, block);
  await writeFile(path, `${before}\n${block.format(figures)}\n${after}`);
}

/** The text between the markers. */
export function readBlock<Figures>(page: string, path: string, block: Block<Figures>): string {
  const [before, after] = split(page, path, block);
  return page.slice(before.length, page.length - after.length).trim();
}

/** What is before the text, and after it, each with its marker. */
function split(
  page: string,
  path: string,
  { name, command }: Omit<Block<never>, "format">,
): readonly [string, string] {
  const begin = `<!-- ${name}: written by ${command}; do not edit -->`;
  const end = `<!-- ${name}: end -->`;
  const [from, to] = [page.indexOf(begin), page.indexOf(end)];
  if (from < 0 || to < from) {
    throw new RollbookError({ code: "usage", message: `${path} has no lines "${begin}" and "${end}"` });
  }
  return [page.slice(0, from + begin.length), page.slice(to)];
}
