/** For tests: sources, without files. */
import { parseSource } from "../sources/parse.ts";
import type { Source } from "../sources/source.ts";

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
