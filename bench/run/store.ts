/** `results.json`: written whole after each cell, read again to go on. */
import { existsSync } from "node:fs";
import { mkdir, rename } from "node:fs/promises";
import { join } from "node:path";
import { writeFileWhole } from "../generator/sink.ts";
import { type CellResult, type Environment, type Profile, type Results, readResults } from "../results.ts";
import type { PlannedCell } from "./profiles.ts";

export interface Store {
  readonly path: string;
  readonly results: () => Results;
  readonly has: (id: string) => boolean;
  readonly add: (cell: CellResult) => Promise<void>;
  /** Why the results that were there are not gone on from; they were renamed. */
  readonly startedAnew: string | undefined;
}

export interface StoreOptions {
  readonly folder: string;
  readonly profile: Profile;
  readonly plan: readonly PlannedCell[];
  readonly environment: Environment;
  /** Begin anew whatever is there. */
  readonly fresh: boolean;
}

/** Goes on from the results of the same profile, commit and machine in a folder, or begins anew. */
export async function openStore(options: StoreOptions): Promise<Store> {
  const { folder, profile, environment, plan } = options;
  await mkdir(folder, { recursive: true });
  const path = join(folder, "results.json");
  const old = existsSync(path) ? readResults(path) : undefined;
  const reason = old && reasonToStartAnew(old, options);
  if (old && reason !== undefined)
    await rename(path, join(folder, `results-${old.startedAt.replaceAll(":", "")}.json`));
  let results: Results =
    old !== undefined && reason === undefined
      ? { ...old, environment }
      : {
          version: 1,
          profile,
          startedAt: new Date().toISOString(),
          finishedAt: null,
          environment,
          cells: [],
        };
  const has = (id: string) => results.cells.some(({ cell }) => cell.id === id);
  const add = async (added: CellResult) => {
    const all = new Map([...results.cells, added].map((result) => [result.cell.id, result]));
    const cells = plan.flatMap(({ cell }) => all.get(cell.id) ?? []);
    const finishedAt = cells.length === plan.length ? new Date().toISOString() : null;
    results = { ...results, cells, finishedAt };
    const text = Buffer.from(`${JSON.stringify(results, null, 2)}\n`);
    await writeFileWhole({ path, pages: [text], gzip: false });
  };
  return { path, results: () => results, has, add, startedAnew: reason };
}

/** What must not change within one set of results. */
const SAME = ["commit", "server", "cpu", "cores", "postgres", "duckdb", "node"] as const;

function reasonToStartAnew(old: Results, options: StoreOptions): string | undefined {
  const { fresh, profile, environment } = options;
  if (fresh) return "--fresh was given";
  if (old.profile !== profile) return `its profile is ${old.profile}`;
  for (const name of SAME) {
    if (old.environment[name] !== environment[name]) {
      return `its ${name} is ${old.environment[name]}, not ${environment[name]}`;
    }
  }
  if (JSON.stringify(old.environment.settings) !== JSON.stringify(environment.settings)) {
    return "PostgreSQL's settings were others";
  }
  return undefined;
}
