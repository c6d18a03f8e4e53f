/** For tests: the console on a warehouse, and requests to it. */
import { type IncomingHttpHeaders, request as requestHttp } from "node:http";
import { text as readAll } from "node:stream/consumers";
import * as v from "valibot";
import { expect, onTestFinished } from "vitest";
import type { TestWarehouse } from "../../db/testing/database.ts";
import { apiPath, type DefinedPage } from "../page.ts";
import { PAGES } from "../pages.ts";
import { type Console, type ConsoleOptions, startConsole } from "../server.ts";

export interface Reply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

export interface Site {
  /** Ends with a slash. */
  readonly url: string;
  /** As which role it reads. */
  readonly role: string | undefined;
  /** What was said to the operator. */
  readonly problems: readonly string[];
  readonly request: (
    path: string,
    options?: { readonly method?: string; readonly headers?: Readonly<Record<string, string>> },
  ) => Promise<Reply>;
  /** A page that is there, as HTML. */
  readonly show: (path: string) => Promise<string>;
  /** Its answer, which must be what its schema says, and nothing besides. */
  readonly ask: (path: string) => Promise<unknown>;
  readonly console: Console;
}

/** Starts the console, without a warehouse. It ends with the test. */
export async function startSite(options: Partial<ConsoleOptions> = {}): Promise<Omit<Site, "role">> {
  const problems: string[] = [];
  const started = await startConsole({
    host: "127.0.0.1",
    port: 0,
    onProblem: (message) => problems.push(message),
    ...options,
  });
  if (started.outcome === "refused") throw new Error(started.message);
  onTestFinished(() => started.close());
  const { url } = started;
  const request: Site["request"] = (path, given = {}) => send(new URL(path, url), given);
  return {
    url,
    problems,
    console: started,
    request,
    show: async (path) => {
      const { status, text } = await request(path);
      expect({ path, status, problems }).toEqual({ path, status: 200, problems: [] });
      return text;
    },
    ask: async (path) => {
      const { status, text } = await request(path);
      expect({ path, status, text: status === 200 ? "" : text }).toEqual({ path, status: 200, text: "" });
      const answer = JSON.parse(text);
      const page = PAGES.find((one) => fits(one, path));
      if (page === undefined) throw new Error(`no page has the answer of ${path}`);
      expect(v.parse(page.answer, answer)).toEqual(answer);
      return answer;
    },
  };
}

/** The same with a warehouse. */
export async function openSite(
  warehouse: TestWarehouse,
  options: Partial<ConsoleOptions> = {},
): Promise<Site> {
  const site = await startSite(options);
  const { database, settings } = warehouse;
  const { host, port, user, database: name } = database.pool.options;
  const connection = { host, port, user, database: name, ssl: false };
  const role = await site.console.open({ database, connection, settings });
  return { ...site, role };
}

function fits(page: DefinedPage, path: string): boolean {
  const pattern = apiPath(page).replace(/:\w+/g, "[^/?]+");
  return new RegExp(`^${pattern}(\\?.*)?$`).test(path);
}

function send(
  url: URL,
  {
    method = "GET",
    headers = {},
  }: { readonly method?: string; readonly headers?: Readonly<Record<string, string>> },
): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const outgoing = requestHttp(url, { method, headers, agent: false }, async (incoming) => {
      resolve({
        status: incoming.statusCode ?? 0,
        headers: incoming.headers,
        text: await readAll(incoming),
      });
    });
    outgoing.on("error", reject).end();
  });
}
