/** A session on database `postgres` of the running server. Each lease holds one, and so does the keeper. */
import { statSync } from "node:fs";
import { Socket } from "node:net";
import { Client } from "pg";
import { errorState, isConnectionLost, RollbookError, SQLSTATE } from "../errors.ts";
import { PORT, USER } from "./address.ts";
import { aborted, failure, REMEDY, reason } from "./failure.ts";
import { checkPrivateDir, type Place } from "./place.ts";
import { isServerOf, type Postmaster, readPostmaster } from "./postmaster.ts";

export interface ServerSession {
  readonly client: Client;
  readonly socket: Socket;
  readonly socketDir: string;
  readonly postmaster: Postmaster;
  /** True once the connection broke. A statement fails then with an error that has no code. */
  lost(): boolean;
}

/**
 * A session with the running server; `busy` while one is starting, stopping or recovering, `absent` when none
 * runs.
 *
 * @throws RollbookError `embedded_server` when there is a server that this user may not use.
 */
export async function reachServer(
  place: Place,
  options: { readonly as: string; readonly signal?: AbortSignal | undefined },
): Promise<ServerSession | "absent" | "busy"> {
  const known = readPostmaster(place);
  if (known === undefined) return "absent";
  const alive = () => (isServerOf(known, place) ? "busy" : "absent");
  if (known.socketDir === "" || known.status !== "ready") return alive();
  // A copied home contains the postmaster.pid of the original, whose server must not be taken for the copy's.
  // The socket in the copy is dead. In a home that was moved while its server runs the socket works.
  const socketDir = known.data === place.data ? known.socketDir : place.run;
  try {
    checkPrivateDir(socketDir, statSync(place.data).uid);
    const connection = await connect(socketDir, options);
    // Read the file again: the server may be a newer one.
    return { ...connection, socketDir, postmaster: readPostmaster(place) ?? known };
  } catch (error) {
    if (error instanceof RollbookError) throw error;
    if (options.signal?.aborted) throw aborted(error);
    const state = errorState(error);
    if (state === "ENOENT" || state === "ECONNREFUSED") return alive();
    if (isConnectionLost(error) || state === SQLSTATE.tooManyConnections || state === "EAGAIN") return "busy";
    throw failure(
      `Cannot connect to the embedded PostgreSQL in ${place.data}: ${reason(error)}. ${REMEDY}`,
      error,
    );
  }
}

async function connect(
  socketDir: string,
  { as, signal }: { readonly as: string; readonly signal?: AbortSignal | undefined },
): Promise<Pick<ServerSession, "client" | "socket" | "lost">> {
  const socket = new Socket();
  // Everything is given here: pg would take the rest from PG* variables, which belong to another server.
  const client = new Client({
    host: socketDir,
    port: PORT,
    user: USER,
    database: "postgres",
    ssl: false,
    sslnegotiation: "postgres",
    application_name: as,
    client_encoding: "UTF8",
    // No setting of this server may end a lease.
    options:
      "-c idle_session_timeout=0 -c statement_timeout=0 -c lock_timeout=0 -c client_min_messages=warning",
    connectionTimeoutMillis: 10_000,
    keepAlive: false,
    stream: () => socket,
    ...{ replication: "false" },
  });
  let lost = false;
  for (const event of ["error", "end"] as const) {
    client.on(event, () => {
      lost = true;
    });
  }
  const stop = () => socket.destroy();
  signal?.addEventListener("abort", stop, { once: true });
  try {
    await client.connect();
    return { client, socket, lost: () => lost };
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    signal?.removeEventListener("abort", stop);
  }
}

export function endSession(session: ServerSession): void {
  session.client.end().catch(() => {});
}
