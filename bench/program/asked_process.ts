/** A process that is asked one thing at a time, over the channel that Node gives it. */
import { fork } from "node:child_process";
import { once } from "node:events";

/** What such a process may say, whatever it is asked for. */
export interface Failed {
  readonly kind: "failed";
  readonly message: string;
}

export interface AskedProcess<Order, Answer extends { readonly kind: string }> {
  readonly pid: number;
  /** Rejects with what went wrong there, also when the process ends. */
  readonly ask: <Kind extends Answer["kind"]>(
    order: Order,
    kind: Kind,
  ) => Promise<Extract<Answer, { readonly kind: Kind }>>;
  /** Ends the process. */
  readonly close: () => Promise<void>;
}

/** Starts a TypeScript file as a process that answers each message with one. */
export function startAskedProcess<
  Order extends { readonly kind: string },
  Answer extends { readonly kind: string },
>(script: string): AskedProcess<Order, Answer> {
  const child = fork(script, {
    execArgv: ["--import", import.meta.resolve("tsx")],
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  const ended = once(child, "exit");
  const hasEnded = () => child.exitCode !== null || child.signalCode !== null;
  const ask = async <Kind extends Answer["kind"]>(order: Order, kind: Kind) => {
    if (hasEnded()) throw new Error(`the process ended: ${child.signalCode ?? child.exitCode}`);
    const settled = new AbortController();
    const { signal } = settled;
    try {
      const answered = once(child, "message", { signal }).then(([answer]) => answer as Answer | Failed);
      const gone = once(child, "exit", { signal }).then(
        ([code, by]): Failed => ({ kind: "failed", message: `the process ended: ${by ?? code}` }),
      );
      // The promise that loses the race is aborted; its rejection says nothing.
      for (const promise of [answered, gone]) promise.catch(() => {});
      // A process that has just ended takes no order; its exit says so. Without the callback the error would end this one.
      child.send(order, () => {});
      const answer = await Promise.race([answered, gone]);
      if (answer.kind === kind) return answer as Extract<Answer, { readonly kind: Kind }>;
      throw new Error(
        answer.kind === "failed"
          ? (answer as Failed).message
          : `${answer.kind} is no answer to ${order.kind}`,
      );
    } finally {
      settled.abort();
    }
  };
  const close = async () => {
    if (!hasEnded()) child.kill("SIGKILL");
    await ended;
  };
  return { pid: child.pid ?? 0, ask, close };
}

/** The other side: answers each order with what `carryOut` returns, or with why it failed. */
export function answerOrders<Order, Answer>(carryOut: (order: Order) => Promise<Answer>): void {
  process.on("message", (order: Order) => {
    carryOut(order).then(
      (answer) => process.send?.(answer),
      (error: unknown) => process.send?.({ kind: "failed", message: String(error) } satisfies Failed),
    );
  });
  // The process that asks is gone, and no other would end this one.
  process.on("disconnect", () => process.exit(1));
}
