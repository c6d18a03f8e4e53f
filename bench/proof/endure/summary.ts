/** The tables that a run ends with. */
import Table from "cli-table3";
import type { EndureResults, Growth, TableState, Times } from "./results.ts";

export function formatEndurance(results: EndureResults): string {
  const { loads, reads, server, verified, seconds } = results;
  const retried = Object.entries(loads.retried).map(([state, count]) => `${state} ${count} times`);
  const lines = [
    `${results.loaders} loaders and ${results.readers} readers for ${seconds} s${results.interrupted ? ", interrupted" : ""}, seed ${results.seed}`,
    `${loads.loaded} drops loaded, ${loads.rows} rows: ${loads.rowsPerSecond} rows/s, ${loads.loadsPerSecond} loads/s`,
    `${loads.alreadyLoaded} were already loaded, ${loads.rejected} rejected, ${loads.failed} failed, ${loads.deadlocked} of them by a deadlock`,
    `tried again: ${retried.length === 0 ? "none" : retried.join(", ")}; deadlocks in the server: ${server.deadlocks}`,
    `${reads.count} reads, each checked; ${verified.invoices} invoices in ${verified.groups} groups and ${verified.partitions} partitions verified`,
    "",
    formatTimes(results.times),
    "",
    formatGrowths([...results.memory, ...results.sizes]),
    "",
    formatTables(results.tables),
    "",
    formatFound("differences", results.differences),
    formatFound("leaks", results.leaks),
    formatFound("failures", results.failures),
  ];
  return lines.join("\n");
}

function createTable(head: readonly string[]): Table.Table {
  return new Table({
    head: [...head],
    colAligns: head.map((_, column) => (column === 0 ? "left" : "right")),
    style: { head: [], border: [], compact: true },
  });
}

function formatTimes(times: readonly Times[]): string {
  const table = createTable(["", "count", "p50", "p90", "p99", "max"]);
  for (const { what, count, p50, p90, p99, max } of times)
    table.push([what, count, ...[p50, p90, p99, max].map(formatMs)]);
  return table.toString();
}

function formatGrowths(growths: readonly Growth[]): string {
  const table = createTable(["memory and sizes", "first", "last", "max", "grown in the 2nd half", "flat"]);
  for (const { what, first, last, max, grown, flat } of growths) {
    const told = flat === null ? "too short to tell" : flat ? "yes" : "NO";
    table.push([
      what,
      ...[first, last, max].map(formatBytes),
      grown === null ? "" : formatBytes(grown),
      told,
    ]);
  }
  return table.toString();
}

function formatTables(tables: readonly TableState[]): string {
  const table = createTable(["table", "size", "rows", "dead rows", "autovacuums"]);
  for (const { table: name, bytes, rows, deadRows, autovacuums } of tables)
    table.push([name, formatBytes(bytes), rows, deadRows, autovacuums]);
  return table.toString();
}

function formatFound(what: string, found: readonly string[]): string {
  return found.length === 0 ? `${what}: 0` : `${what}:\n${found.map((item) => `  ${item}`).join("\n")}`;
}

function formatMs(ms: number): string {
  return ms < 1000 ? `${ms.toFixed(1)} ms` : `${(ms / 1000).toFixed(2)} s`;
}

function formatBytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
