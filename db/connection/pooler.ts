/** Tells a session that is ours alone from one that a connection pooler shares out among its clients. */
import pg from "pg";
import { RollbookError } from "../errors.ts";

/** A session of our own answers at once. Behind a pooler another client may have the session, for as long as it likes. */
const ANSWER_MS = 15_000;

/** How often the two connections are asked. In an idle pool the first round tells; a busy one may need more. */
const ROUNDS = 5;

/** The process that a client was told at connecting: the server's own, or a number that a pooler made up. */
export function announcedProcess(client: pg.ClientBase): number | null {
  // The driver has it, and its types do not.
  return (client as pg.ClientBase & { readonly processID: number | null }).processID;
}

/**
 * Refuses a connection through a pooler in transaction or statement mode, by asking it and a second one for
 * their process in turn: in session mode each keeps its own. Nothing is set on a session.
 *
 * @param options.client a connection that is no direct one
 * @param options.connection how to make the second one
 * @param options.place for messages: where the database is
 * @throws RollbookError `configuration` where sessions are shared, `connection` where the pooler gives no session
 */
export async function refuseSharedSessions(options: {
  readonly client: pg.ClientBase;
  readonly connection: pg.ClientConfig;
  readonly place: string;
}): Promise<void> {
  const { client, connection, place } = options;
  const other = new pg.Client(connection);
  // A connection that breaks emits this event, too; the statement rejects, and that is what counts.
  other.on("error", () => {});
  await other.connect();
  try {
    const first = await askProcess(client);
    const second = await askProcess(other);
    let shared = first === second;
    for (let round = 0; round < ROUNDS && !shared; round += 1) {
      // A pool gives out the session that was used last, or the one that rests the longest. Twice the same
      // client, because two sessions given out by turns look like one for each.
      for (const [asked, known] of [
        [client, first],
        [client, first],
        [other, second],
      ] as const) {
        shared ||= (await askProcess(asked)) !== known;
      }
    }
    if (shared) throw sharedSessions(place);
  } catch (error) {
    throw isUnanswered(error) ? noSession(place, error) : error;
  } finally {
    await other.end();
  }
}

/**
 * A statement that is given up when it is not answered in time.
 *
 * @param place for messages: where the database is
 * @throws RollbookError `connection` then
 */
export async function askInTime<Row extends pg.QueryResultRow>(
  client: pg.ClientBase,
  place: string,
  query: pg.QueryConfig,
): Promise<readonly Row[]> {
  try {
    return (await client.query<Row>({ ...query, ...IN_TIME })).rows;
  } catch (error) {
    throw isUnanswered(error) ? noSession(place, error) : error;
  }
}

/** The driver takes it with a statement, and its types do not. */
const IN_TIME = { query_timeout: ANSWER_MS };

function isUnanswered(error: unknown): error is Error {
  return error instanceof Error && error.message === READ_TIMEOUT;
}

/** pg gives this error no code (pg 8, client.js). */
const READ_TIMEOUT = "Query read timeout";

async function askProcess(client: pg.ClientBase): Promise<number> {
  const text = "select pg_backend_pid() as pid";
  const { rows } = await client.query<{ pid: number }>({ text, ...IN_TIME });
  return rows[0]?.pid ?? Number.NaN;
}

function sharedSessions(place: string): RollbookError {
  return new RollbookError({
    code: "configuration",
    message: `the ${place} is reached through a connection pooler in transaction mode, which would leave the locks and settings of rollbook on sessions of other clients: name the server's own host and port instead, or set pool_mode = session for this database in the pooler.`,
  });
}

function noSession(place: string, cause: Error): RollbookError {
  return new RollbookError({
    code: "connection",
    message: `the ${place} gave no session within ${ANSWER_MS / 1000} s, and rollbook needs up to six. If it is reached through a connection pooler, other clients have all sessions of its pool: make that larger (default_pool_size), or name the server's own host and port instead.`,
    cause,
  });
}
