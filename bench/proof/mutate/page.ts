/** Who noticed each mutation, as it stands in docs/reliability.md. */
import type { Block } from "../../program/block.ts";
import type { Tried } from "./run.ts";

/** What `--out` writes. */
export interface MutationRecord {
  /** Histories that the simulation had for each. */
  readonly seeds: number;
  /** Each with the commit of the code that was broken. */
  readonly mutations: readonly (Tried & { readonly commit: string })[];
}

export const MUTATIONS_BLOCK: Block<MutationRecord> = {
  name: "mutations",
  command: "npm run mutate -- --page",
  format: formatFigures,
};

function formatFigures({ seeds, mutations }: MutationRecord): string {
  const commits = [...new Set(mutations.map(({ commit }) => commit.slice(0, 12)))].join(", ");
  const by = (who: Tried["noticedBy"]) => mutations.filter(({ noticedBy }) => noticedBy === who).length;
  return `${mutations.length} mutations at commit ${commits}, each with up to ${seeds} histories: ${by("simulation")} noticed by the simulation, ${by("tests")} by the tests alone, ${by(null)} by nobody.

| what the broken product does | noticed by | after histories |
| --- | --- | ---: |
${mutations.map(({ name, noticedBy, histories }) => `| ${name} | ${noticedBy ?? "nobody"} | ${noticedBy === "simulation" ? histories : ""} |`).join("\n")}`;
}
