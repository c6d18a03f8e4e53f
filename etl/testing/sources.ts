/** For tests: sources, without files. */
import type { Form } from "../drop/form.ts";
import { parseSource } from "../sources/parse.ts";
import type { Source } from "../sources/source.ts";

/** The form of the drop format, without a header. */
export const DROP_FORM: Form = {
  skip: 0,
  header: false,
  venueId: { column: 1 },
  invoiceId: { column: 2 },
  created: { columns: [3] },
  total: { columns: [4] },
  conditions: [],
  sumRows: false,
};

/** The same with a fifth column that says whether an invoice is void. */
export const VOID_FORM: Form = {
  ...DROP_FORM,
  conditions: [{ column: 5, values: ["void"], effect: "void" }],
};

/** A source of this text. */
export function parseText(text: string, name = "till"): Source {
  const parsed = parseSource({ name, file: `sources/${name}.yaml`, bytes: Buffer.from(text) });
  if (parsed.kind === "refused") throw new Error(parsed.faults.join("\n"));
  return parsed.source;
}

/** The source with these globs, whatever they are, and all else as it is by default. */
export function makeSource(options: { readonly files: readonly string[] }): Source {
  return { ...parseText("files: a"), files: options.files };
}
