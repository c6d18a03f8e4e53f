/** What ran where. */
import { execFile } from "node:child_process";
import { cpus, release, totalmem, type } from "node:os";
import { relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { version as duckdbVersion } from "@duckdb/node-api";
import type { Environment } from "../results.ts";
import type { BenchServer } from "./server.ts";

const CHECKOUT = fileURLToPath(new URL("../..", import.meta.url));

/** PostgreSQL's settings that decide about speed. */
const SETTINGS = [
  "shared_buffers",
  "work_mem",
  "maintenance_work_mem",
  "effective_cache_size",
  "max_wal_size",
  "checkpoint_timeout",
  "wal_level",
  "wal_compression",
  "fsync",
  "synchronous_commit",
  "full_page_writes",
  "max_parallel_workers",
  "max_parallel_workers_per_gather",
  "jit",
  "io_method",
] as const;

export async function describeEnvironment({ admin, label }: BenchServer): Promise<Environment> {
  const { rows } = await admin.query(
    "select name, current_setting(name) as value from unnest($1::text[]) name",
    [SETTINGS],
  );
  const version = await admin.query("show server_version");
  const processors = cpus();
  return {
    cpu: processors[0]?.model.trim() ?? "unknown",
    cores: processors.length,
    memoryBytes: totalmem(),
    os: `${type()} ${release()}`,
    node: process.version,
    postgres: version.rows[0].server_version,
    duckdb: duckdbVersion(),
    commit: await readCommit(),
    server: label,
    settings: Object.fromEntries(rows.map(({ name, value }) => [name, value])),
  };
}

/**
 * The commit; `-dirty` if tracked files are changed. Others may be results in the checkout.
 *
 * @param written paths of results that the program itself writes, an earlier run perhaps already has
 */
export async function readCommit(written: readonly (string | undefined)[] = []): Promise<string> {
  const git = async (...args: readonly string[]) =>
    (await promisify(execFile)("git", args, { cwd: CHECKOUT })).stdout.trim();
  try {
    const commit = await git("rev-parse", "HEAD");
    const others = written
      .filter((path) => path !== undefined)
      .map((path) => relative(CHECKOUT, resolve(path)))
      .filter((path) => !path.startsWith(".."))
      .map((path) => `:(exclude)${path}`);
    const changed = await git("status", "--porcelain", "--untracked-files=no", "--", ".", ...others);
    return changed === "" ? commit : `${commit}-dirty`;
  } catch {
    return "unknown";
  }
}
