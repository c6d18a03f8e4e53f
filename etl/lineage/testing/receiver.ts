/** For tests: a receiver of lineage, which keeps what it gets. */
import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { onTestFinished } from "vitest";
import type { RunEvent } from "../event.ts";

export interface Receiver {
  readonly url: string;
  readonly events: readonly RunEvent[];
  readonly requests: readonly {
    readonly path: string;
    readonly headers: IncomingHttpHeaders;
    readonly body: string;
  }[];
}

/** @param answer the status of an answer, once that is known */
export async function openReceiver(answer: () => number | Promise<number> = () => 201): Promise<Receiver> {
  const events: RunEvent[] = [];
  const requests: { path: string; headers: IncomingHttpHeaders; body: string }[] = [];
  const server = createServer(async (request, response) => {
    const body = await text(request);
    requests.push({ path: request.url ?? "", headers: request.headers, body });
    events.push(JSON.parse(body));
    response.writeHead(await answer()).end();
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, events, requests };
}
