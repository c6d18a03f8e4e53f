/** What a verb is for. Every verb declares it; the program refuses to be built with one that does not. */
import type { Command } from "commander";

/**
 * Decides what happens when nobody takes the output any more (`| head -1`, a full disk):
 * - `works`: the work goes on to its end without output, and the exit code says how it went;
 * - `reads`: the output is all there is, so the command ends.
 */
export type VerbKind = "works" | "reads";

const kinds = new WeakMap<Command, VerbKind>();

export function declareKind(verb: Command, kind: VerbKind): Command {
  kinds.set(verb, kind);
  return verb;
}

export function kindOf(verb: Command): VerbKind {
  const kind = kinds.get(verb);
  if (kind === undefined) throw new Error(`the verb ${verb.name()} does not declare its kind`);
  return kind;
}
