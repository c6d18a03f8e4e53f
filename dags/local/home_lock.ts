/** Of two runners in one home the second fails, and is told who was first. */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Client } from "pg";
import type { EmbeddedServer } from "../../db/embedded/server.ts";
import { AirflowError } from "./errors.ts";

/** The two-part key of the advisory lock that says: a runner uses this home. */
const LOCK = [0x726f6c6c, 2] as const;

export interface HomeLock {
  /** Tells whoever comes second where the first one's pages are. */
  readonly announce: (url: string) => void;
  readonly withdraw: () => void;
  /** Makes a database in the home's server, if it is not there. */
  readonly ensureDatabase: (name: string) => Promise<void>;
  readonly release: () => Promise<void>;
}

/**
 * Locks a home by an advisory lock in its server. The lock is a session's, so it ends with its process, however that ends.
 *
 * @throws AirflowError `already_running`
 */
export async function lockHome(home: string, server: EmbeddedServer): Promise<HomeLock> {
  const { host, port, user, database } = server;
  const client = new Client({ host, port, user, database, ssl: false, application_name: "rollbook airflow" });
  // A server that was killed comes back, the lock does not: it only matters to a second runner.
  client.on("error", () => {});
  await client.connect();
  const release = () => client.end();
  try {
    const { rows } = await client.query<{ ours: boolean }>("select pg_try_advisory_lock($1, $2) as ours", [
      ...LOCK,
    ]);
    if (rows[0]?.ours !== true) throw alreadyRunning(home);
  } catch (error) {
    await release();
    throw error;
  }
  const running = runningFile(home);
  return {
    announce: (url) => writeFileSync(running, `${JSON.stringify({ pid: process.pid, url })}\n`),
    withdraw: () => rmSync(running, { force: true }),
    ensureDatabase: async (name) => {
      const { rows } = await client.query("select from pg_database where datname = $1", [name]);
      const database = client.escapeIdentifier(name);
      if (rows.length === 0) await client.query(`create database ${database} template template0`);
      // A killed scheduler's workers share its connection: without a limit its locks would outlive it, and stop its run for ever.
      await client.query(`alter database ${database} set idle_in_transaction_session_timeout = '60s'`);
    },
    release,
  };
}

function runningFile(home: string): string {
  return join(home, "running.json");
}

function alreadyRunning(home: string): AirflowError {
  let who = "";
  try {
    const { pid, url } = JSON.parse(readFileSync(runningFile(home), "utf8")) as Record<string, unknown>;
    who = ` (process ${pid}, ${url})`;
  } catch {
    // It is still starting.
  }
  return new AirflowError({
    code: "already_running",
    message: `Airflow already runs in ${home}${who}. Stop that one, or give this one a folder of its own: --home DIR`,
  });
}
