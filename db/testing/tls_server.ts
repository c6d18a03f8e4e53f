/** For tests: a PostgreSQL that is reached over TCP, encrypted, and whose certificate can be exchanged. */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, chmodSync, chownSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import pg from "pg";
import { chooseAccount } from "../embedded/account.ts";
import { placeOf } from "../embedded/place.ts";
import { loadBinaries, run } from "../embedded/programs.ts";
import { errorState, SQLSTATE } from "../errors.ts";
import { type Certificate, makeCertificate } from "./certificates.ts";
import { makeServerHome } from "./home.ts";
import { until } from "./own_server.ts";
import { openTestServer } from "./server.ts";

/** The address that the server listens at. Its certificates need not name it. */
export const ADDRESS = "127.0.0.1";
/**
 * A role that the server knows by its certificate; all others give passwords, over encrypted connections
 * only.
 */
export const CERTIFIED = "certified";

export interface TlsServer {
  readonly port: number;
  /** Signed the server's certificate, and those of clients that it trusts. */
  readonly authority: Certificate;
  /** Presents another certificate from now on. */
  readonly present: (certificate: Certificate) => Promise<void>;
  /** Offers encryption, or says no to it. */
  readonly offer: (encryption: boolean) => Promise<void>;
  /** Runs statements as superuser, through the Unix socket. */
  readonly query: (text: string, database?: string) => Promise<pg.QueryResult>;
  /** What the server logged. */
  readonly logFile: string;
  /** Ends the server at once. */
  readonly kill: () => Promise<void>;
  readonly close: () => Promise<void>;
}

/** Starts the server, with a certificate for `localhost` and {@link ADDRESS}. */
export async function openTlsServer(): Promise<TlsServer> {
  const home = makeServerHome();
  const authority = makeCertificate({ name: "the authority" });
  const first = makeCertificate({ name: "server", hosts: ["localhost", ADDRESS], issuer: authority });
  const made = await openTestServer({ home, settings: { fsync: "off" } });
  const { host, user } = made;
  await made.release();

  const place = placeOf(home);
  const { uid, gid } = statSync(place.data);
  const write = (name: string, text: string) => {
    const file = join(place.data, name);
    writeFileSync(file, text, { mode: 0o600 });
    chmodSync(file, 0o600);
    chownSync(file, uid, gid);
  };
  const writeCertificate = ({ certificate, key }: Certificate) => {
    write("server.crt", certificate);
    write("server.key", key);
  };
  writeCertificate(first);
  write("clients.crt", authority.certificate);
  write(
    "pg_hba.conf",
    `local all all trust\nhostssl all ${CERTIFIED} ${ADDRESS}/32 cert\nhostssl all all ${ADDRESS}/32 scram-sha-256\n`,
  );
  appendFileSync(
    join(place.data, "postgresql.conf"),
    "\nssl = on\nssl_ca_file = 'clients.crt'\nfsync = off\nlog_connections = all\nlog_statement = all\nlogging_collector = on\nlog_directory = '.'\nlog_filename = 'statements.log'\n",
  );
  const port = await findPort();
  const binaries = await loadBinaries();
  const server = run(binaries.postgres, {
    args: ["-D", place.data, "-h", ADDRESS, "-p", String(port), "-k", host],
    account: chooseAccount(place, binaries),
    stdio: "ignore",
  });
  const query = async (text: string, database = "postgres") => {
    const client = new pg.Client({ host, port, user, database, ssl: false });
    // A server that is killed breaks the connection, too; the statement rejects, and that is what counts.
    client.on("error", () => {});
    await client.connect();
    try {
      return await client.query(text);
    } finally {
      await client.end().catch(() => {});
    }
  };
  const end = async (signal: NodeJS.Signals) => {
    if (server.exitCode !== null || server.signalCode !== null) return;
    const ended = once(server, "exit");
    server.kill(signal);
    await ended;
  };
  const presented = (certificate: Certificate) => async () =>
    (await askCertificate(port)) === certificate.certificate.replace(/\s/g, "");
  try {
    await until(
      "the server presents its certificate",
      async () => isRunning(server) && (await presented(first)()),
    );
    // It does so before it takes anybody in.
    await until("the server takes sessions", async () => isRunning(server) && (await takesSessions(query)));
  } catch (error) {
    await end("SIGQUIT");
    throw error;
  }
  return {
    port,
    authority,
    present: async (certificate) => {
      writeCertificate(certificate);
      server.kill("SIGHUP");
      await until("the new certificate is presented", presented(certificate));
    },
    offer: async (encryption) => {
      await query(`alter system set ssl = ${encryption}`);
      server.kill("SIGHUP");
      await until("encryption is offered or not", async () => {
        return ((await askCertificate(port)) !== undefined) === encryption;
      });
    },
    query,
    logFile: join(place.data, "statements.log"),
    kill: () => end("SIGQUIT"),
    close: async () => {
      await end("SIGINT");
      rmSync(home, { recursive: true, force: true });
    },
  };
}

async function takesSessions(query: TlsServer["query"]): Promise<boolean> {
  try {
    await query("select 1");
    return true;
  } catch (error) {
    if (errorState(error) === SQLSTATE.cannotConnectNow) return false;
    throw error;
  }
}

function isRunning(server: ChildProcess): boolean {
  if (server.exitCode !== null) throw new Error(`PostgreSQL ended with exit code ${server.exitCode}`);
  return true;
}

async function findPort(): Promise<number> {
  const listener = createServer();
  listener.listen(0, ADDRESS);
  await once(listener, "listening");
  const address = listener.address();
  listener.close();
  await once(listener, "close");
  if (typeof address !== "object" || address === null) throw new Error("no port");
  return address.port;
}

/** SSLRequest. Source: PostgreSQL 18 documentation, 54.7. */
export const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]);

/**
 * The certificate that is presented, as PEM without white space; undefined where encryption is not offered,
 * or nobody answers.
 */
async function askCertificate(port: number): Promise<string | undefined> {
  const socket = connect(port, ADDRESS);
  try {
    await once(socket, "connect");
    socket.write(SSL_REQUEST);
    const [answer] = (await once(socket, "data")) as [Buffer];
    return answer.toString("latin1") === "S" ? await peerCertificate(socket) : undefined;
  } catch {
    return undefined;
  } finally {
    socket.destroy();
  }
}

async function peerCertificate(socket: Socket): Promise<string | undefined> {
  const secure = connectTls({ socket, rejectUnauthorized: false });
  await once(secure, "secureConnect");
  const pem = secure.getPeerX509Certificate()?.toString().replace(/\s/g, "");
  secure.destroy();
  return pem;
}
