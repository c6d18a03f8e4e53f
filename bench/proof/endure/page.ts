/** The figures of a run as they stand in docs/reliability.md, between two markers, so that a later run replaces them. */
import type { Block } from "../../program/block.ts";
import type { EndureResults, Growth } from "./results.ts";

export const LOAD_BLOCK: Block<EndureResults> = {
  name: "load",
  command: "npm run endure -- --page",
  format: formatFigures,
};

function formatFigures(results: EndureResults): string {
  const { environment, loads, reads, server, verified } = results;
  const { cpu, cores, memoryBytes, os, node, postgres, commit } = environment;
  const retried = Object.entries(loads.retried).map(([state, count]) => `${state}: ${count}`);
  const machine = `${cpu}, ${cores} cores, ${(memoryBytes / 2 ** 30).toFixed(0)} GiB of memory, ${os}, Node ${node}, PostgreSQL ${postgres}`;
  const flat = [...results.memory, ...results.sizes].filter(({ flat }) => flat !== true);
  const rows: readonly (readonly [string, string])[] = [
    ["measured", `${count(results.seconds)} s${results.interrupted ? ", interrupted" : ""}`],
    ["drops loaded", `${count(loads.loaded)}, ${loads.loadsPerSecond} a second`],
    ["rows loaded", `${count(loads.rows)}, ${count(loads.rowsPerSecond)} a second`],
    ["drops that were in already, or had to be rejected", `${loads.alreadyLoaded}, ${loads.rejected}`],
    ["loads failed, of them by a deadlock", `${loads.failed}, ${loads.deadlocked}`],
    ["attempts at a load made again, by SQLSTATE", retried.length === 0 ? "0" : retried.join(", ")],
    ["deadlocks that PostgreSQL counted, refreshes included", count(server.deadlocks)],
    ["reads, each checked in its snapshot", count(reads.count)],
    [
      "verified in the end",
      `${count(verified.invoices)} invoices, ${count(verified.groups)} groups, ${verified.partitions} partitions`,
    ],
    ["differences", String(results.differences.length)],
    ["leaks: connections, locks, staging, temporary files, sizes", String(results.leaks.length)],
    ["failures", String(results.failures.length)],
    ["not flat in the second half", flat.length === 0 ? "nothing" : flat.map(({ what }) => what).join(", ")],
  ];
  const lines = [
    `\`${results.command}\``,
    "",
    `${machine}; commit ${commit.slice(0, 12)}. ${results.note ?? ""}`.trim(),
    "",
    "| | |",
    "| --- | --- |",
    ...rows.map(([name, value]) => `| ${name} | ${value} |`),
    "",
    "| | count | p50 | p90 | p99 | max |",
    "| --- | ---: | ---: | ---: | ---: | ---: |",
    ...results.times.map(
      ({ what, count: times, p50, p90, p99, max }) =>
        `| ${what} | ${count(times)} | ${[p50, p90, p99, max].map(milliseconds).join(" | ")} |`,
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
        `| ${table} | ${megabytes(bytes)} | ${count(live)} | ${count(deadRows)} | ${autovacuums} |`,
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
  return `| ${what} | ${[first, last, max].map(megabytes).join(" | ")} | ${grown === null ? "too short to tell" : megabytes(grown)} |`;
}

function milliseconds(ms: number): string {
  return ms < 1000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(2)} s`;
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(1);
}

/** With commas, as English has it. */
function count(value: number): string {
  return value.toLocaleString("en-US");
}
