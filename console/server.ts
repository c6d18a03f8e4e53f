/** `rollbook serve`: listens, within limits, and stops in order. It is a program of its own in dist/. */
import { readFileSync, statSync } from "node:fs";
import { createServer, type Server, type ServerOptions } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { createSecureContext } from "node:tls";
import { createAdaptorServer } from "@hono/node-server";
import type pg from "pg";
import type { Database } from "../db/client.ts";
import { RollbookError } from "../db/errors.ts";
import type { Settings } from "../db/schema.ts";
import { type Access, type AccessOptions, openAccess, plainAddress } from "./access.ts";
import { createApp } from "./app.ts";
import { limitReading, type ReadInvoiceLines } from "./archive.ts";
import { createPlaces, networkOf, type Rate } from "./limits.ts";
import { findPortHolder } from "./port.ts";
import { openReports, type Reports } from "./reports.ts";

export interface ConsoleOptions extends AccessOptions {
  /** 0: any that is free. */
  readonly port: number;
  /** Files in PEM. */
  readonly tls?: { readonly cert: string; readonly key: string } | undefined;
  /** Reads lines of the files of loads; undefined where nobody knows where these are. */
  readonly readLines?: ReadInvoiceLines | undefined;
  /** Default 5000. */
  readonly statementTimeoutMs?: number;
  /** How often an address may ask. Default: 200 at once, 50 a second. */
  readonly requests?: Rate;
  /** How often it is looked for what has changed, while a page listens. Default 3000. */
  readonly lookEveryMs?: number;
  /** A connection on which nothing moves for so long is cut off. Default 30,000. */
  readonly silentMs?: number;
  readonly onProblem: (message: string) => void;
}

export interface Console {
  readonly outcome: "listening";
  readonly url: string;
  /** Gives it the warehouse; until then its pages say that it is being opened. Returns as which role it reads. */
  readonly open: (warehouse: {
    readonly database: Database;
    readonly connection: pg.ClientConfig;
    readonly settings: Settings;
  }) => Promise<string | undefined>;
  /** May be called again. */
  readonly close: () => Promise<void>;
}

/** Why there is none: something to be changed in how it was started. */
export interface Refused {
  readonly outcome: "refused";
  readonly message: string;
}

const STATEMENT_TIMEOUT_MS = 5000;
const LOOK_EVERY_MS = 3000;
/** A reader opens some pages at once; more than that for long is a program that should ask less. */
const REQUESTS: Rate = { burst: 200, perSecond: 50 };

/** A slow or endless request is cut off, and so are too many connections. */
const LIMITS = {
  headersTimeout: 5000,
  requestTimeout: 15_000,
  keepAliveTimeout: 5000,
  connectionsCheckingInterval: 1000,
  maxHeaderSize: 8192,
} satisfies ServerOptions;
const TLS_LIMITS = { handshakeTimeout: 5000, minVersion: "TLSv1.2" } as const;
/** One address has a quarter of them at most: else it could keep all others out, without a password. */
const CONNECTIONS = { most: 1024, mostOfOne: 256 } as const;
/** A client that has stopped to read is cut off. No answer takes so long to begin, and no stream rests for so long. */
const SILENT_MS = 30_000;

/** Listens, before anything else is started, so that a port that is taken is said at once. */
export async function startConsole(options: ConsoleOptions): Promise<Console | Refused> {
  try {
    return await listen(options);
  } catch (error) {
    if (error instanceof RollbookError) return { outcome: "refused", message: error.message };
    throw error;
  }
}

async function listen(options: ConsoleOptions): Promise<Console> {
  const {
    statementTimeoutMs = STATEMENT_TIMEOUT_MS,
    requests = REQUESTS,
    lookEveryMs = LOOK_EVERY_MS,
    silentMs = SILENT_MS,
    tls,
    readLines,
    onProblem,
  } = options;
  const access = openAccess(options);
  const stopping = new AbortController();
  let reports: Reports | undefined;
  let closing: Promise<void> | undefined;
  const app = createApp({
    access,
    reports: () => reports,
    readLines: readLines && limitReading(readLines),
    statementTimeoutMs,
    requests,
    stopping: stopping.signal,
    encrypted: tls !== undefined,
    onProblem,
  });
  const server = createAdaptorServer({
    fetch: app.fetch,
    overrideGlobalObjects: false,
    ...(tls === undefined
      ? { createServer, serverOptions: LIMITS }
      : { createServer: createTlsServer, serverOptions: { ...LIMITS, ...readTls(tls) } }),
  }) as Server;
  server.setTimeout(silentMs);
  limitConnections(server, access);
  await bind(server, options);
  const { port } = server.address() as AddressInfo;
  return {
    outcome: "listening",
    url: `${tls === undefined ? "http" : "https"}://${nameInUrl(options.host)}:${port}/`,
    open: async ({ database, connection, settings }) => {
      reports = await openReports({
        ...{ warehouse: database, connection, settings, statementTimeoutMs, lookEveryMs },
        signal: stopping.signal,
      });
      return reports.role;
    },
    close: () => {
      closing ??= (async () => {
        stopping.abort();
        server.close();
        server.closeAllConnections();
        await reports?.database.pool.end();
      })();
      return closing;
    },
  };
}

function limitConnections(server: Server, { proxy }: Access): void {
  const places = createPlaces(CONNECTIONS);
  server.on("connection", (socket: Socket) => {
    const address = plainAddress(socket.remoteAddress);
    // All requests come by it.
    if (proxy?.isProxy(address)) return;
    const leave = places.take(networkOf(address));
    if (leave === undefined) socket.destroy();
    else socket.once("close", leave);
  });
}

function nameInUrl(host: string): string {
  if (host === "127.0.0.1" || host === "::1") return "localhost";
  return host.includes(":") ? `[${host}]` : host;
}

/** @throws RollbookError `usage` for files that are not there, or not a certificate and its key */
function readTls({ cert, key }: { readonly cert: string; readonly key: string }) {
  const pair = { cert: readPem("--tls-cert", cert), key: readPem("--tls-key", key) };
  // The group may: the key is often kept for one.
  if (process.platform !== "win32" && (statSync(key).mode & 0o007) !== 0)
    throw usage(`--tls-key ${key}: everybody may read it. Run: chmod o= ${key}`);
  try {
    createSecureContext(pair);
  } catch (error) {
    const { message } = error as Error;
    throw usage(`--tls-cert ${cert} and --tls-key ${key} cannot be used: ${message}.`);
  }
  return { ...pair, ...TLS_LIMITS };
}

function readPem(flag: string, file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw usage(`${flag} ${file}: it cannot be read (${(error as NodeJS.ErrnoException).code}).`);
  }
}

function usage(message: string, cause?: unknown): RollbookError {
  return new RollbookError({ code: "usage", message, cause });
}

function bind(server: Server, { host, port }: ConsoleOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => reject(explainBind(error, host, port)));
    server.listen({ host, port }, () => {
      server.removeAllListeners("error");
      resolve();
    });
  });
}

function explainBind(error: NodeJS.ErrnoException, host: string, port: number): unknown {
  switch (error.code) {
    case "EADDRINUSE": {
      const holder = findPortHolder(port);
      const who = holder === undefined ? "by another program" : `by ${holder}`;
      return usage(`port ${port} is taken ${who}. Give another with --port, or end that program.`, error);
    }
    case "EACCES":
      return usage(`port ${port} is for root only. Give one from 1024 on with --port.`, error);
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return usage(`--host ${host}: this machine has no such address.`, error);
    default:
      return error;
  }
}
