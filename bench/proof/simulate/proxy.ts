/**
 * A socket between a load and the server that breaks: after so many bytes, or before the answer to a commit.
 */
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import type pg from "pg";

export interface Proxy {
  /** The connection, through the proxy. */
  readonly connection: pg.ClientConfig;
  /** How often it broke one. */
  readonly cuts: () => number;
  readonly close: () => void;
}

export type Cut = { readonly kind: "cut"; readonly bytes: number } | { readonly kind: "swallow" };

const PORT = 5432;

/**
 * Starts a proxy that breaks one connection, and lets all others pass.
 *
 * @param options.folder where its socket goes: a short path
 */
export async function startProxy(options: {
  readonly connection: pg.ClientConfig;
  readonly cut: Cut;
  readonly folder: string;
}): Promise<Proxy> {
  const { connection, cut } = options;
  const folder = mkdtempSync(join(options.folder, "p"));
  const sockets = new Set<Socket>();
  let cuts = 0;
  const server = createServer((near) => {
    const far = connect(join(connection.host ?? "", `.s.PGSQL.${connection.port}`));
    const end = () => {
      near.destroy();
      far.destroy();
    };
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", end);
    }
    let sent = 0;
    let swallowing = false;
    near.on("data", (bytes) => {
      sent += bytes.length;
      if (cuts === 0 && cut.kind === "cut" && sent > cut.bytes) {
        cuts += 1;
        far.write(bytes.subarray(0, Math.max(0, bytes.length - (sent - cut.bytes))), end);
        return;
      }
      if (cuts === 0 && cut.kind === "swallow" && bytes.includes("commit\0")) swallowing = true;
      far.write(bytes);
    });
    far.on("data", (bytes) => {
      if (swallowing && cuts === 0) {
        cuts += 1;
        end();
      } else {
        near.write(bytes);
      }
    });
  });
  server.listen(join(folder, `.s.PGSQL.${PORT}`));
  await once(server, "listening");
  return {
    connection: { ...connection, host: folder, port: PORT },
    cuts: () => cuts,
    close: () => {
      server.close();
      for (const socket of sockets) socket.destroy();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
