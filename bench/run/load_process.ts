/** Starts processes that load (loader.ts) and asks them. */
import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { Answer, Order } from "./loader.ts";
import type { Site } from "./site.ts";

const LOADER = fileURLToPath(new URL("./loader.ts", import.meta.url));

type Told<Kind extends Answer["kind"]> = Extract<Answer, { readonly kind: Kind }>;

export interface LoadProcess {
  readonly load: (drops: readonly string[]) => Promise<Told<"loaded">>;
  /** Refreshes by delta. */
  readonly refresh: () => Promise<Told<"refreshed">>;
  /** Ends the process. */
  readonly close: () => Promise<void>;
}

/** Starts a process and has it connect to the site. Its `load` and `refresh` reject with what went wrong there. */
export async function startLoadProcess({ connection, settings }: Site): Promise<LoadProcess> {
  const child = fork(LOADER, {
    execArgv: ["--import", import.meta.resolve("tsx")],
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  const ended = once(child, "exit");
  const ask = async <Kind extends Answer["kind"]>(order: Order, kind: Kind): Promise<Told<Kind>> => {
    const settled = new AbortController();
    const { signal } = settled;
    try {
      const answered = once(child, "message", { signal }).then(([answer]) => answer as Answer);
      const gone = once(child, "exit", { signal }).then(
        ([code, by]): Answer => ({ kind: "failed", message: `the loading process ended: ${by ?? code}` }),
      );
      // The one that is not waited for is aborted, which nobody needs to hear.
      for (const promise of [answered, gone]) promise.catch(() => {});
      child.send(order);
      const answer = await Promise.race([answered, gone]);
      if (answer.kind === kind) return answer as Told<Kind>;
      throw new Error(
        answer.kind === "failed" ? answer.message : `${answer.kind} is no answer to ${order.kind}`,
      );
    } finally {
      settled.abort();
    }
  };
  const close = async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
    await ended;
  };
  try {
    await ask({ kind: "connect", connection, settings }, "connected");
  } catch (error) {
    await close();
    throw error;
  }
  return {
    load: (drops) => ask({ kind: "load", drops }, "loaded"),
    refresh: () => ask({ kind: "refresh" }, "refreshed"),
    close,
  };
}
