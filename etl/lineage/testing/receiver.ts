/** For tests: a receiver of lineage, which keeps what it gets. */
import { createServer, type IncomingHttpHeaders, type RequestListener } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { onTestFinished } from "vitest";
import type { Certificate } from "../../../db/testing/certificates.ts";
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

/**
 * @param answer the status of an answer, once that is known
 * @param certificate with which it speaks TLS; default: it does not
 */
export async function openReceiver(
  answer: () => number | Promise<number> = () => 201,
  certificate?: Certificate,
): Promise<Receiver> {
  const events: RunEvent[] = [];
  const requests: { path: string; headers: IncomingHttpHeaders; body: string }[] = [];
  const take: RequestListener = async (request, response) => {
    const body = await text(request);
    requests.push({ path: request.url ?? "", headers: request.headers, body });
    events.push(JSON.parse(body));
    response.writeHead(await answer()).end();
  };
  const server =
    certificate === undefined
      ? createServer(take)
      : createTlsServer({ cert: certificate.certificate, key: certificate.key }, take);
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const scheme = certificate === undefined ? "http" : "https";
  return { url: `${scheme}://127.0.0.1:${(server.address() as AddressInfo).port}`, events, requests };
}
