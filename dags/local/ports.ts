/** Free TCP ports of this machine. */
import { readdir, readFile, readlink } from "node:fs/promises";
import { createServer } from "node:net";
import { describeProcess } from "../../etl/inbox/writers.ts";
import { AirflowError } from "./errors.ts";

/** Where all servers of a local Airflow listen: nobody else can reach them. */
export const LOOPBACK = "127.0.0.1";

/** Opens a port for a moment; undefined when it is taken, or not ours to open. 0: any. */
async function tryPort(port: number): Promise<number | undefined> {
  const server = createServer();
  return new Promise((done) => {
    server.once("error", () => done(undefined));
    server.listen({ port, host: LOOPBACK, exclusive: true }, () => {
      const address = server.address();
      server.close(() => done(typeof address === "object" ? address?.port : undefined));
    });
  });
}

/** Different ports that were free just now. */
export async function findFreePorts(count: number): Promise<readonly number[]> {
  const found = new Set<number>();
  while (found.size < count) {
    const port = await tryPort(0);
    if (port === undefined) throw new AirflowError({ code: "configuration", message: "no TCP port is free" });
    found.add(port);
  }
  return [...found];
}

/** The port itself, or with `orNext` the next one that is free. 0: any. */
export async function findPort(wanted: number, orNext: boolean): Promise<number> {
  const last = orNext ? Math.min(wanted + 100, 65535) : wanted;
  for (let port = wanted; port <= last; port += 1) {
    const found = await tryPort(port);
    if (found !== undefined) return found;
  }
  const holder = await findHolder(wanted);
  throw new AirflowError({
    code: "configuration",
    message: `port ${wanted} is taken${holder === undefined ? "" : ` by ${holder}`}. Give another one: --port N`,
  });
}

/** State of a socket that listens, in /proc/net/tcp. */
const LISTENS = "0A";

/** Who listens at a port, for people; undefined where that cannot be seen: only Linux shows it, and to root alone of others. */
async function findHolder(port: number): Promise<string | undefined> {
  const tables = await Promise.all(
    ["tcp", "tcp6"].map((name) => readFile(`/proc/net/${name}`, "utf8").catch(() => "")),
  );
  const sockets = new Set(
    tables
      .flatMap((table) => table.split("\n").slice(1))
      .map((line) => line.trim().split(/\s+/))
      .filter(
        ([, local = "", , state]) =>
          state === LISTENS && Number.parseInt(local.split(":")[1] ?? "", 16) === port,
      )
      .map((fields) => `socket:[${fields[9]}]`),
  );
  if (sockets.size === 0) return undefined;
  for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name))) {
    for (const number of await readdir(`/proc/${pid}/fd`).catch(() => [])) {
      if (sockets.has(await readlink(`/proc/${pid}/fd/${number}`).catch(() => "")))
        return describeProcess(pid);
    }
  }
  return undefined;
}
