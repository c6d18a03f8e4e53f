/**
 * The figures in docs/reliability.md: what was simulated, which mutations were noticed, what a run under load
 * measured.
 */
import { countOf, formatCount } from "../../etl/terminal/format.ts";
import type { Block } from "../program/block.ts";
import type { Environment } from "../results.ts";
import type { EndureResults, Growth } from "./endure/results.ts";
import type { WearPart, WearResults } from "./endure/wear.ts";
import type { MutationRecord, Tried } from "./mutate/attempt.ts";
import type { Counts } from "./simulate/figures.ts";
import { countSeeds, type SimulationRecord } from "./simulate/record.ts";

export const SIMULATION_BLOCK: Block<SimulationRecord> = {
  name: "simulation",
  command: "npm run simulate -- --record FILE --page",
  format: formatSimulation,
};

function formatSimulation(record: SimulationRecord): string {
  const { figures, failures, seeds, commits } = record;
  const ranges = seeds.map(([from, to]) => (from === to ? `${from}` : `${from} to ${to}`)).join(", ");
  const { steps, reads, lines, acts, faults, outcomes, retries } = figures;
  const again = `Attempts of loads that were made again, by SQLSTATE or the error of the socket: ${list(retries)}.`;
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

What loads came to: ${list(outcomes)}. ${again}`;
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

export const MUTATIONS_BLOCK: Block<MutationRecord> = {
  name: "mutations",
  command: "npm run mutate -- --page",
  format: formatMutations,
};

function formatMutations({ seeds, mutations }: MutationRecord): string {
  const commits = [...new Set(mutations.map(({ commit }) => commit.slice(0, 12)))].join(", ");
  const by = (who: Tried["noticedBy"]) => mutations.filter(({ noticedBy }) => noticedBy === who).length;
  const noticed = `${by("simulation")} noticed by the simulation, ${by("tests")} by the tests alone`;
  const rows = mutations.map(({ name, noticedBy, histories }) => {
    const after = noticedBy === "simulation" ? histories : "";
    return `| ${name} | ${noticedBy ?? "nobody"} | ${after} |`;
  });
  return `${mutations.length} mutations at commit ${commits}, each with up to ${seeds} histories: ${noticed}, ${by(null)} by nobody.

| what the broken product does | noticed by | after histories |
| --- | --- | ---: |
${rows.join("\n")}`;
}

export const LOAD_BLOCK: Block<EndureResults> = {
  name: "load",
  command: "npm run endure -- --page",
  format: formatLoad,
};

/** Also what the program prints in the end. */
export function formatLoad(results: EndureResults): string {
  const { environment, loads, reads, server, verified } = results;
  const retried = Object.entries(loads.retried).map(([state, count]) => `${state}: ${count}`);
  const watched = [...results.memory, ...results.sizes];
  const grown = watched.filter(({ flat }) => flat === false).map(({ what }) => what);
  const notFlat = watched.some(({ flat }) => flat === null)
    ? "too short to tell"
    : grown.join(", ") || "nothing";
  const rows: readonly (readonly [string, string])[] = [
    ["measured", `${formatCount(results.seconds)} s${results.interrupted ? ", interrupted" : ""}`],
    ["drops loaded", `${formatCount(loads.loaded)}, ${loads.loadsPerSecond} a second`],
    ["rows loaded", `${formatCount(loads.rows)}, ${formatCount(loads.rowsPerSecond)} a second`],
    ["drops that were in already, or had to be rejected", `${loads.alreadyLoaded}, ${loads.rejected}`],
    ["loads failed, of them by a deadlock", `${loads.failed}, ${loads.deadlocked}`],
    ["attempts at a load made again, by SQLSTATE", retried.length === 0 ? "0" : retried.join(", ")],
    ["deadlocks that PostgreSQL counted, refreshes included", formatCount(server.deadlocks)],
    ["reads, each checked in its snapshot", formatCount(reads.count)],
    [
      "verified in the end",
      `${countOf(verified.invoices, "invoice")}, ${countOf(verified.groups, "group")}, ` +
        countOf(verified.partitions, "partition"),
    ],
    ["differences", String(results.differences.length)],
    ["leaks: connections, locks, staging, temporary files, sizes", String(results.leaks.length)],
    ["failures", String(results.failures.length)],
    ["not flat in the second half", notFlat],
  ];
  const lines = [
    `\`${results.command}\``,
    "",
    `${describeMachine(environment)}. ${results.note ?? ""}`.trim(),
    "",
    "| | |",
    "| --- | --- |",
    ...rows.map(([name, value]) => `| ${name} | ${value} |`),
    "",
    "| | count | p50 | p90 | p99 | max |",
    "| --- | ---: | ---: | ---: | ---: | ---: |",
    ...results.times.map(
      ({ what, count: times, p50, p90, p99, max }) =>
        `| ${what} | ${formatCount(times)} | ${[p50, p90, p99, max].map(milliseconds).join(" | ")} |`,
    ),
    "",
    "| memory and sizes, MB | first | last | most | grown in the second half |",
    "| --- | ---: | ---: | ---: | ---: |",
    ...[...gather(results.memory, "loader"), ...gather(results.memory, "reader")].map(formatGrowth),
    ...[...results.memory.filter(({ what }) => !/^(loader|reader) /.test(what)), ...results.sizes].map(
      formatGrowth,
    ),
    "",
    "| table, all partitions | MB | rows | dead rows | autovacuums |",
    "| --- | ---: | ---: | ---: | ---: |",
    ...results.tables.map(
      ({ table, bytes, rows: live, deadRows, autovacuums }) =>
        `| ${table} | ${megabytes(bytes)} | ${formatCount(live)} | ${formatCount(deadRows)} | ${autovacuums} |`,
    ),
  ];
  return lines.join("\n");
}

/** Of all processes of a kind, the greatest. */
function gather(memory: readonly Growth[], kind: string): readonly Growth[] {
  const some = memory.filter(({ what }) => what.startsWith(`${kind} `));
  const [one] = some;
  if (one === undefined) return [];
  const most = (of: (growth: Growth) => number) => Math.max(...some.map(of));
  return [
    {
      ...one,
      what: `the greatest of ${some.length} ${kind}s`,
      first: most(({ first }) => first),
      last: most(({ last }) => last),
      max: most(({ max }) => max),
      grown: one.grown === null ? null : most(({ grown }) => grown ?? 0),
    },
  ];
}

function formatGrowth({ what, first, last, max, grown }: Growth): string {
  const inSecondHalf = grown === null ? "too short to tell" : megabytes(grown);
  return `| ${what} | ${[first, last, max].map(megabytes).join(" | ")} | ${inSecondHalf} |`;
}

function describeMachine({ cpu, cores, memoryBytes, os, node, postgres, commit }: Environment): string {
  const memory = `${(memoryBytes / 2 ** 30).toFixed(0)} GiB of memory`;
  return `${cpu}, ${cores} cores, ${memory}, ${os}, Node ${node}, PostgreSQL ${postgres}; commit ${commit.slice(0, 12)}`;
}

export const WEAR_BLOCK: Block<WearResults> = {
  name: "wear",
  command: "npm run endure -- --wear LOADS --page",
  format: formatWear,
};

/** Also what the program prints in the end. */
export function formatWear({ command, environment, parts }: WearResults): string {
  return [`\`${command}\``, `${describeMachine(environment)}.`, ...parts.map(formatPart)].join("\n\n");
}

function formatPart({ held, loads, times, tables, warning, differences }: WearPart): string {
  const beside = held ? ", beside a transaction that is held open" : "";
  const sizes = tables.map(({ table, bytes, autovacuums }) => {
    return `${table} ${(bytes / 1e6).toFixed(1)} MB (vacuumed by itself ${autovacuums} times)`;
  });
  const lines = [
    `${countOf(loads, "load")}${beside}; medians of the first and the last tenth:`,
    "",
    "| | first | last | ratio |",
    "| --- | ---: | ---: | ---: |",
    ...times.map(
      ({ what, first, last }) =>
        `| ${what} | ${first.toFixed(1)} ms | ${last.toFixed(1)} ms | ${(last / first).toFixed(2)} |`,
    ),
    "",
    `Tables in the end: ${sizes.join(", ")}. Differences: ${differences.length === 0 ? "none" : differences.join("; ")}.`,
    ...(held
      ? [
          "",
          `\`rollbook status\` ${warning === null ? "says nothing of the transaction" : `says: ${warning}`}.`,
        ]
      : []),
  ];
  return lines.join("\n");
}

function milliseconds(ms: number): string {
  return ms < 1000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(2)} s`;
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(1);
}
