/** Files whose form a source gives, from seeds: mutated cells, lines, bytes, encodings and containers. */
import { makeFormFile } from "../../../etl/testing/forms/file.ts";
import { createRandom } from "../../generator/choices.ts";
import { mutate } from "./bytes.ts";
import { contain, pack } from "./containers.ts";
import { chunkCuts, longLine, type MadeDrop } from "./mutants.ts";

const ROLE = 3;

export function makeFormed(seed: number): MadeDrop {
  const random = createRandom(seed, ROLE);
  const { world, form, lines } = makeFormFile(random);
  const isMutated = random.once(2);
  const pieces = lines.map((line) =>
    isMutated && random.once(10) ? mutate(random, line, random.pick(lines)) : line,
  );
  if (random.once(80))
    pieces.splice(random.below(pieces.length + 1), 0, longLine(random, form.delimiter ?? ","));
  const text = Buffer.concat(pieces);
  const contained = random.once(12) ? contain(random, text) : text;
  const bytes = random.once(6) ? pack(random, contained) : contained;
  return { world, form, bytes, isNamedGz: random.once(6), cuts: chunkCuts(random, bytes.length) };
}
