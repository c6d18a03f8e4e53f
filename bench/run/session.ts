/** A session to measure, and what is done on it. */
import { createReadStream } from "node:fs";
import { pipeline } from "node:stream/promises";
import type pg from "pg";
import { from as copyFrom } from "pg-copy-streams";
import { openDatabase } from "../../db/client.ts";
import type { Phase } from "../results.ts";
import { KEYED_COLUMNS } from "./batch.ts";
import type { Run, Work } from "./sample.ts";
import type { Site } from "./site.ts";

/** Opens a session with the settings of the product's sessions; `prepare` is not measured. */
export async function openSession(
  site: Site,
  arm: {
    readonly prepare?: (client: pg.ClientBase) => Promise<unknown>;
    readonly run: (client: pg.ClientBase) => Promise<Work>;
  },
): Promise<Run> {
  const { pool } = openDatabase({ connection: site.connection, max: 1 });
  const close = async (client?: pg.PoolClient) => {
    client?.release();
    await pool.end();
  };
  try {
    const client = await pool.connect();
    // The statement in progress rejects, and that is what counts.
    client.on("error", () => {});
    await arm.prepare?.(client);
    return { run: () => arm.run(client), close: () => close(client) };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Measures `work` as a phase. */
export async function timePhase(name: string, work: () => Promise<unknown>): Promise<Phase> {
  const started = performance.now();
  await work();
  return { name, ms: performance.now() - started };
}

/** Runs `work` in one transaction and commits. */
export async function inTransaction(client: pg.ClientBase, work: () => Promise<void>): Promise<void> {
  await client.query("begin");
  await work();
  await client.query("commit");
}

/** Runs statements in one transaction as the phase `refresh`; the last one says how many groups it wrote. */
export async function runRefresh(client: pg.ClientBase, ...statements: readonly string[]): Promise<Work> {
  let groups = 0;
  const phase = await timePhase("refresh", () =>
    inTransaction(client, async () => {
      for (const statement of statements) groups = (await client.query(statement)).rowCount ?? 0;
    }),
  );
  return { phases: [phase], groups };
}

/** COPY of a CSV file without a header. */
export async function copyFile(client: pg.ClientBase, target: string, path: string): Promise<void> {
  const sink = client.query(copyFrom(`copy ${target} from stdin (format csv)`));
  // A COPY hears nothing of a connection that breaks, and would wait for ever.
  const fail = (error?: Error) => sink.destroy(error ?? new Error("the connection ended"));
  client.once("error", fail);
  try {
    await pipeline(createReadStream(path, { highWaterMark: 256 * 1024 }), sink);
  } finally {
    client.off("error", fail);
  }
}

/** COPY of the batch's rows into a table with the columns of warehouse.invoices. */
export function copyBatch(client: pg.ClientBase, table: string, path: string): Promise<void> {
  return copyFile(client, `${table} (${KEYED_COLUMNS})`, path);
}
