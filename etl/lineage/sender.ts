/** Sends events in the background. That they arrive is not promised: the work never waits for it, nor fails by it. */
import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { rootCause } from "../../db/errors.ts";
import { toJson } from "../escape.ts";
import type { RunEvent } from "./event.ts";
import type { LineageTarget } from "./target.ts";

/** The receiver must answer within this time, as with OpenLineage's clients. */
const ANSWERS_WITHIN_MS = 5000;
/** At the end of a command what is still on its way is waited for so long; where it was interrupted, less. */
const ENDS_WITHIN_MS = 2000;
const INTERRUPTED_WITHIN_MS = 500;
/** Runs told at a time. The events of one run go one after the other. */
const RUNS_AT_ONCE = 4;
/** Runs that wait at most. More are not told: a receiver that does not keep up must not fill the memory. */
const MOST_WAITING = 1000;

const TOO_LONG = "it takes too long to answer";

export interface Sender {
  /** Sends the events of one run, in their order. */
  readonly send: (events: readonly RunEvent[]) => void;
  readonly close: () => Promise<void>;
}

/** @param options.warn takes what was wrong the first time that something was */
export function openSender(options: {
  readonly target: LineageTarget;
  readonly signal: AbortSignal;
  readonly warn: (message: string) => void;
}): Sender {
  const { target } = options;
  const giveUp = new AbortController();
  const waiting: (readonly RunEvent[])[] = [];
  const sending = new Set<Promise<void>>();
  let warned = false;
  const warn = (why: string) => {
    if (warned) return;
    warned = true;
    options.warn(
      `lineage does not arrive at ${whereOf(target.url)}: ${why}. The work itself is not affected.`,
    );
  };
  const work = async () => {
    for (let events = waiting.shift(); events !== undefined; events = waiting.shift()) {
      await deliver(target, events, giveUp.signal).catch((error: unknown) => warn(explain(error)));
    }
  };
  const send = (events: readonly RunEvent[]) => {
    if (waiting.length >= MOST_WAITING) return warn("it does not keep up");
    waiting.push(events);
    if (sending.size >= RUNS_AT_ONCE) return;
    const worker = work().finally(() => sending.delete(worker));
    sending.add(worker);
  };
  const close = async () => {
    const end = new AbortController();
    const withinMs = options.signal.aborted ? INTERRUPTED_WITHIN_MS : ENDS_WITHIN_MS;
    const timer = sleep(withinMs, undefined, { signal: end.signal }).catch(() => {});
    await Promise.race([Promise.all(sending), timer]);
    end.abort();
    waiting.length = 0;
    giveUp.abort(new Error(TOO_LONG));
    await Promise.all(sending);
  };
  return { send, close };
}

async function deliver(
  target: LineageTarget,
  events: readonly RunEvent[],
  signal: AbortSignal,
): Promise<void> {
  if (target.url.protocol === "file:") {
    const lines = events.map((event) => `${toJson(event)}\n`);
    return append(fileURLToPath(target.url), lines.join(""));
  }
  for (const event of events) await post(target, event, signal);
}

/** Only to a regular file: to open a pipe waits for its reader, and nothing could end that. */
async function append(path: string, text: string): Promise<void> {
  const { O_WRONLY, O_APPEND, O_CREAT, O_NONBLOCK, O_NOCTTY } = constants;
  const file = await open(path, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_NOCTTY, 0o600);
  try {
    if (!(await file.stat()).isFile()) throw new Error("it is no regular file");
    await file.appendFile(text);
  } finally {
    await file.close();
  }
}

/** Not by fetch: until Node has loaded that, a small load is done. */
async function post({ url, apiKey }: LineageTarget, event: RunEvent, signal: AbortSignal): Promise<void> {
  const { request } = await (url.protocol === "https:" ? import("node:https") : import("node:http"));
  const body = Buffer.from(toJson(event));
  const options = {
    method: "POST",
    headers: {
      "content-type": "application/json",
      "content-length": body.length,
      ...(apiKey !== undefined && { authorization: `Bearer ${apiKey}` }),
    },
    // A connection that was kept may be closed by the receiver just when it is used again.
    agent: false,
    signal: AbortSignal.any([signal, AbortSignal.timeout(ANSWERS_WITHIN_MS)]),
  } as const;
  const status = await new Promise<number>((resolve, reject) => {
    const sent = request(url, options, (response) => {
      resolve(response.statusCode ?? 0);
      // Nobody reads what else it says, which may be much, or never end.
      response.destroy();
    });
    sent.once("error", reject).end(body);
  });
  if (status < 200 || status > 299) throw new Error(`it answers with ${status}`);
}

/** Without what may be secret in it. */
function whereOf({ protocol, host, pathname }: URL): string {
  return `${protocol}//${host}${pathname}`;
}

function explain(error: unknown): string {
  const cause = rootCause(error);
  if (!(cause instanceof Error)) return String(cause);
  return cause.name === "TimeoutError" ? TOO_LONG : cause.message || cause.name;
}
