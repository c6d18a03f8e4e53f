/** Sends open pages what has happened in the warehouse, as server-sent events. */
import { once } from "node:events";
import type { Context } from "hono";
import { streamSSE } from "hono/streaming";
import type { Changes } from "./changes.ts";
import { REVISION_EVENT } from "./live.ts";

/** Something is sent at least so often: so what is between, and a browser that is gone, is noticed. */
const HEARTBEAT_MS = 15_000;
/** After so long a stream ends, and the browser asks anew: so it must say again who it is, and none is kept for ever. */
const STREAM_MS = 600_000;
/** After a stream has ended the browser waits for so long. */
const RETRY_MS = 5000;

const HEADERS = {
  "Content-Type": "text/event-stream",
  "Cache-Control": "private, no-store",
  // For proxies that would collect some of it first.
  "X-Accel-Buffering": "no",
} as const;

/**
 * A stream with the revision of the warehouse, and then each new one. It ends when the browser leaves, and when the console stops.
 *
 * @param options.onEnd is called once, when nobody listens to it any more
 */
export function streamRevisions(
  c: Context,
  options: { readonly changes: Changes; readonly stopping: AbortSignal; readonly onEnd: () => void },
): Response {
  const { changes, stopping, onEnd } = options;
  if (c.req.method === "HEAD") {
    onEnd();
    return c.body(null, 200, HEADERS);
  }
  const ended = AbortSignal.any([c.req.raw.signal, stopping, AbortSignal.timeout(STREAM_MS)]);
  const response = streamSSE(c, async (stream) => {
    const leave = changes.listen((revision) => {
      void stream.writeSSE({ event: REVISION_EVENT, data: revision, retry: RETRY_MS });
    });
    const heartbeat = setInterval(() => void stream.write(":\n\n"), HEARTBEAT_MS);
    try {
      if (!ended.aborted) await once(ended, "abort");
    } finally {
      clearInterval(heartbeat);
      leave();
      onEnd();
    }
  });
  for (const [name, value] of Object.entries(HEADERS)) response.headers.set(name, value);
  return response;
}
