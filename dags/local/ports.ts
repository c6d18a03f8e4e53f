/** Free TCP ports of this machine. */
import { createServer } from "node:net";
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
  throw new AirflowError({
    code: "configuration",
    message: `port ${wanted} is taken. Give another one: --port N`,
  });
}
