/** For tests: what `rollbook serve --inbox FOLDER` gives the console. */
import { readInvoiceLines } from "../../etl/archive/lines.ts";
import type { Source } from "../../etl/sources/source.ts";
import type { ReadInvoiceLines } from "../archive.ts";

export function linesBelow(folder: string, sources: readonly Source[] = []): ReadInvoiceLines {
  return (asked) => readInvoiceLines({ ...asked, folder, sources });
}
