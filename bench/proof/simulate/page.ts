/** What a simulation lived through, as it stands in docs/reliability.md. */
import { formatCount } from "../../../etl/terminal/format.ts";
import type { Block } from "../../program/block.ts";
import type { Counts } from "./figures.ts";
import { countSeeds, type SimulationRecord } from "./record.ts";

export const SIMULATION_BLOCK: Block<SimulationRecord> = {
  name: "simulation",
  command: "npm run simulate -- --record FILE --page",
  format: formatFigures,
};

function formatFigures(record: SimulationRecord): string {
  const { figures, failures, seeds, commits } = record;
  const ranges = seeds.map(([from, to]) => (from === to ? `${from}` : `${from} to ${to}`)).join(", ");
  const { steps, reads, lines, acts, faults, outcomes, retries } = figures;
  return `Seeds ${ranges}, at commit ${commits.map((commit) => commit.slice(0, 12)).join(", ")}:

| | |
| --- | ---: |
| histories | ${formatCount(countSeeds(record))} |
| with a difference | ${failures.length} |
| steps, after each of which everything was compared | ${formatCount(steps)} |
| acts | ${formatCount(sum(acts))} |
| faults that struck | ${formatCount(sum(faults))} |
| reads while acts went on, each compared | ${formatCount(reads)} |
| lines taken in by loads | ${formatCount(lines)} |

Acts: ${list(acts)}.

Faults that struck: ${list(byKind(faults))}.

What loads came to: ${list(outcomes)}. Attempts of loads that were made again, by SQLSTATE or the error of the socket: ${list(retries)}.`;
}

function sum(counts: Counts): number {
  return Object.values(counts).reduce((total, count) => total + count, 0);
}

/** The steps at which they struck left out. */
function byKind(faults: Counts): Counts {
  const kinds: Counts = {};
  for (const [name, count] of Object.entries(faults)) {
    const kind = name.replace(/ at \w+$/, "");
    kinds[kind] = (kinds[kind] ?? 0) + count;
  }
  return kinds;
}

function list(counts: Counts): string {
  return Object.entries(counts)
    .toSorted(([, one], [, other]) => other - one)
    .map(([name, count]) => `${name} ${formatCount(count)}`)
    .join(", ");
}
