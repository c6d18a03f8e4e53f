/** For tests: a real Prometheus, and promtool. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { delimiter, join } from "node:path";
import { onTestFinished } from "vitest";
import { makeFolder } from "../../db/testing/folder.ts";
import { until } from "../../db/testing/own_server.ts";

/** @returns exit code and all output */
export function runPromtool(
  args: readonly string[],
  input?: string,
): { readonly status: number | null; readonly output: string } {
  const { status, stdout, stderr } = spawnSync(findProgram("promtool"), args, { encoding: "utf8", input });
  return { status, output: `${stdout}${stderr}` };
}

export interface Prometheus {
  /** Value by labels, as JSON; of a query at this moment. */
  readonly ask: (query: string) => Promise<Readonly<Record<string, number>>>;
  readonly get: (path: string) => Promise<unknown>;
}

/** Starts it with this configuration, on this machine alone. It ends with the test. */
export async function startPrometheus(configuration: string): Promise<Prometheus> {
  const port = await findFreePort();
  const child: ChildProcess = spawn(
    findProgram("prometheus"),
    [
      `--config.file=${configuration}`,
      `--storage.tsdb.path=${makeFolder()}`,
      `--web.listen-address=127.0.0.1:${port}`,
    ],
    { stdio: ["ignore", "ignore", "pipe"] },
  );
  const ended = once(child, "exit");
  let log = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    log += text;
  });
  onTestFinished(async () => {
    child.kill("SIGKILL");
    await ended;
  });
  const base = `http://127.0.0.1:${port}`;
  await until("Prometheus is ready", async () => {
    if (child.exitCode !== null) throw new Error(`Prometheus ended: ${log}`);
    return (await fetch(`${base}/-/ready`).catch(() => undefined))?.ok === true;
  });
  const get = async (path: string) => (await fetch(`${base}${path}`)).json();
  return {
    get,
    ask: async (query) => {
      const { data } = (await get(`/api/v1/query?query=${encodeURIComponent(query)}`)) as {
        readonly data: {
          readonly result: readonly {
            readonly metric: Readonly<Record<string, string>>;
            readonly value: readonly [number, string];
          }[];
        };
      };
      return Object.fromEntries(
        data.result.map(({ metric: { instance: _, job: __, ...labels }, value }) => [
          JSON.stringify(labels),
          Number(value[1]),
        ]),
      );
    },
  };
}

async function findFreePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

/** In the folder `ROLLBOOK_PROMETHEUS`, else where packages put it. */
function findProgram(name: string): string {
  const folders = process.env.ROLLBOOK_PROMETHEUS
    ? [process.env.ROLLBOOK_PROMETHEUS]
    : [...(process.env.PATH ?? "").split(delimiter).filter(Boolean), "/usr/bin"];
  const program = folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
  if (program === undefined) {
    throw new Error(`no ${name} here: apt-get install prometheus, or name its folder in ROLLBOOK_PROMETHEUS`);
  }
  return program;
}

export const readMonitoring = (name: string) => readFileSync(new URL(`../${name}`, import.meta.url), "utf8");
