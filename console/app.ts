/** What answers a request: first whether it may ask, then the pages, and the same as JSON. */
import { type Context, Hono, type MiddlewareHandler } from "hono";
import { HTTPException } from "hono/http-exception";
import { secureHeaders } from "hono/secure-headers";
import type { Access } from "./access.ts";
import { admit, askPassword, type Environment, onlyReads, whoAsks } from "./admit.ts";
import { answerJson, fail, tooMany } from "./answers.ts";
import type { ReadInvoiceLines } from "./archive.ts";
import { streamRevisions } from "./events.ts";
import { explainFailure, NO_PAGE, STARTING } from "./failure.ts";
import { createFormats } from "./formats.ts";
import { framePage, type Live } from "./frame.ts";
import { createPlaces, type Rate } from "./limits.ts";
import { EVENTS_PATH, LIVE_SCRIPT, LIVE_SCRIPT_PATH } from "./live.ts";
import { type Metrics, openMetrics } from "./metrics.ts";
import { describeApi } from "./openapi.ts";
import { type Answered, type Asking, apiPath, type Csv, csvPath, type DefinedPage } from "./page.ts";
import { PAGES } from "./pages.ts";
import type { Reports } from "./reports.ts";
import { ICON, ICON_PATH, STYLE, STYLE_PATH } from "./style.ts";

export interface AppOptions {
  readonly access: Access;
  /** Undefined as long as the warehouse is being opened. */
  readonly reports: () => Reports | undefined;
  readonly readLines: ReadInvoiceLines | undefined;
  readonly statementTimeoutMs: number;
  readonly requests: Rate;
  /** Aborts when the console stops. */
  readonly stopping: AbortSignal;
  readonly encrypted: boolean;
  /** Takes what an operator should know. */
  readonly onProblem: (message: string) => void;
}

/** Pages that listen at once: connections are left for those that ask. */
const LISTENERS = { most: 100, mostOfOne: 50 } as const;

export function createApp(options: AppOptions): Hono<Environment> {
  const app = new Hono<Environment>();
  app.use(headers(options), onlyReads);
  // For whoever keeps it running: it says nothing of the warehouse, so nobody is asked who it is.
  app.get("/health", (c) => (options.reports() === undefined ? c.text("starting", 503) : c.text("up")));
  app.use(admit(options.access, options.requests));
  if (options.access.passwords !== undefined) app.use(askPassword(options.access.passwords));
  serveFile(app, STYLE_PATH, "text/css; charset=utf-8", STYLE);
  serveFile(app, ICON_PATH, "image/svg+xml", ICON);
  serveFile(app, LIVE_SCRIPT_PATH, "text/javascript; charset=utf-8", LIVE_SCRIPT);
  serveMetrics(app, options);
  serveEvents(app, options);
  app.get("/api/openapi.json", (c) => answerJson(c, describeApi(PAGES)));
  for (const page of PAGES) {
    app.get(apiPath(page), (c) => answerPage(c, options, page, (answered) => answerJson(c, answered.answer)));
    app.get(page.path, async (c) => {
      const live = await readLive(options, page);
      return answerPage(c, options, page, (answered) => answerHtml(c, options, page, answered, live));
    });
    if (page.csv !== undefined) serveCsv(app, options, page, page.csv);
  }
  app.notFound((c) => fail(c, NO_PAGE));
  app.onError((error, c) => {
    if (error instanceof HTTPException) return error.getResponse();
    options.onProblem(describe(error));
    return fail(c, explainFailure(error, "database", options.statementTimeoutMs));
  });
  return app;
}

/** For Prometheus, which asks every few seconds. */
const METRICS_PATH = "/metrics";

function serveMetrics(app: Hono<Environment>, { reports, stopping }: AppOptions): void {
  let metrics: Metrics | undefined;
  app.get(METRICS_PATH, async (c) => {
    const opened = reports();
    if (opened === undefined) return fail(c, STARTING);
    metrics ??= openMetrics({ database: opened.database, signal: stopping });
    return c.body(await metrics.read(), 200, { "Content-Type": metrics.contentType });
  });
}

function serveEvents(app: Hono<Environment>, { reports, stopping }: AppOptions): void {
  const places = createPlaces(LISTENERS);
  app.get(EVENTS_PATH, (c) => {
    const opened = reports();
    if (opened === undefined) return fail(c, STARTING);
    const onEnd = places.take(whoAsks(c));
    if (onEnd === undefined) return tooMany(c, "Too many pages are brought up to date", 60);
    return streamRevisions(c, { changes: opened.changes, stopping, onEnd });
  });
}

function headers({ encrypted }: AppOptions): MiddlewareHandler<Environment> {
  const secure = secureHeaders({
    contentSecurityPolicy: {
      defaultSrc: ["'none'"],
      scriptSrc: ["'self'"],
      connectSrc: ["'self'"],
      styleSrc: ["'self'"],
      imgSrc: ["'self'"],
      formAction: ["'self'"],
      baseUri: ["'none'"],
      frameAncestors: ["'none'"],
    },
    crossOriginEmbedderPolicy: "require-corp",
    permissionsPolicy: {},
    referrerPolicy: "same-origin",
    strictTransportSecurity: encrypted ? "max-age=31536000" : false,
    xFrameOptions: "DENY",
    xXssProtection: false,
  });
  return async (c, next) => {
    await secure(c, next);
    if (!c.res.headers.has("Cache-Control")) c.res.headers.set("Cache-Control", "private, no-store");
  };
}

function serveFile(app: Hono<Environment>, path: string, type: string, text: string): void {
  app.get(path, (c) => {
    // Its name changes with its text.
    c.header("Cache-Control", "private, max-age=31536000, immutable");
    return c.body(text, 200, { "Content-Type": type });
  });
}

function answerPage(
  c: Context<Environment>,
  options: AppOptions,
  page: DefinedPage,
  give: (answered: Answered) => Response | Promise<Response>,
): Promise<Response> {
  const signal = AbortSignal.any([c.req.raw.signal, options.stopping]);
  return answer(c, options, signal, async (asking) => give(await page.ask(asking, givenBy(c))));
}

/** The revision is read before what the page shows: so what comes in between is taken for new, and not missed. */
async function readLive({ reports }: AppOptions, { isLive }: DefinedPage): Promise<Live | undefined> {
  return isLive ? { revision: await reports()?.changes.latest() } : undefined;
}

/** Files at once: each keeps a connection as long as its reader takes. */
const MOST_FILES = 2;
/** After so long a file is cut off, however slowly it is read. */
const FILE_MS = 120_000;

function serveCsv(
  app: Hono<Environment>,
  options: AppOptions,
  page: DefinedPage,
  csv: NonNullable<DefinedPage["csv"]>,
): void {
  let open = 0;
  app.get(csvPath(page), (c) => {
    if (open >= MOST_FILES) return tooMany(c, "Other files are being made", 10);
    const signal = AbortSignal.any([c.req.raw.signal, options.stopping, AbortSignal.timeout(FILE_MS)]);
    return answer(c, options, signal, async (asking) => {
      const { fileName, write } = csv(asking, givenBy(c));
      const headers = {
        "Content-Type": "text/csv; charset=utf-8",
        "Content-Disposition": `attachment; filename="${fileName}"`,
      };
      if (c.req.method === "HEAD") return c.body(null, 200, headers);
      open += 1;
      // An error of the stream would be written into the file by the server, and on stderr.
      const sending = send(write, signal, () => c.env.outgoing.destroy());
      sending.ended.finally(() => (open -= 1)).catch(() => {});
      // What is wrong before the first piece is said as on any page.
      await Promise.race([sending.begun, sending.ended]);
      sending.ended.catch((error: unknown) => {
        if (!signal.aborted) options.onProblem(`${c.req.path} was cut off: ${describe(error)}`);
      });
      return c.body(sending.stream, 200, headers);
    });
  });
}

/**
 * A stream of what is written. When the signal aborts, also while nobody takes it, or writing fails, it is cut off.
 *
 * @param cutOff closes the connection: so nobody takes what has come for a whole file
 */
function send(write: Csv["write"], signal: AbortSignal, cutOff: () => void) {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const writer = writable.getWriter();
  const encoder = new TextEncoder();
  let begin = () => {};
  let hasBegun = false;
  const begun = new Promise<void>((resolve) => {
    begin = () => {
      hasBegun = true;
      resolve();
    };
  });
  const breakOff = async (why: unknown) => {
    if (hasBegun) cutOff();
    else await writer.abort(why).catch(() => {});
  };
  const cut = () => void breakOff(signal.reason);
  signal.addEventListener("abort", cut, { once: true });
  const writeAll = async () => {
    try {
      await write(async (text) => {
        begin();
        await writer.write(encoder.encode(text));
      });
      await writer.close();
    } catch (error) {
      await breakOff(error);
      throw error;
    } finally {
      signal.removeEventListener("abort", cut);
    }
  };
  return { stream: readable, begun, ended: writeAll() };
}

async function answer(
  c: Context<Environment>,
  options: AppOptions,
  signal: AbortSignal,
  give: (asking: Asking) => Promise<Response>,
): Promise<Response> {
  const reports = options.reports();
  if (reports === undefined) return fail(c, STARTING);
  const { database, settings, memory } = reports;
  try {
    return await give({ database, settings, memory, readLines: options.readLines, signal });
  } catch (error) {
    const failure = explainFailure(error, database.place, options.statementTimeoutMs);
    if (failure.unexpected && !signal.aborted) options.onProblem(`${c.req.path}: ${describe(error)}`);
    return fail(c, failure);
  }
}

/** What the address holds. A field of a form that was left empty is not there; one that comes twice is a list. */
function givenBy(c: Context): Readonly<Record<string, unknown>> {
  const given = Object.entries(c.req.queries()).flatMap(([name, all]): [string, unknown][] => {
    const values = all.filter((value) => value !== "");
    return values.length === 0 ? [] : [[name, values.length === 1 ? values[0] : values]];
  });
  return { ...Object.fromEntries(given), ...c.req.param() };
}

async function answerHtml(
  c: Context<Environment>,
  { reports }: AppOptions,
  page: DefinedPage,
  { title, show }: Answered,
  live: Live | undefined,
): Promise<Response> {
  const { settings, database } = reports() as Reports;
  const formats = createFormats(c.req.header("accept-language"));
  return c.html(
    framePage({
      title,
      path: page.path,
      body: show({ formats, settings }),
      formats,
      place: database.place,
      timeZone: settings.timeZone,
      user: c.get("user"),
      json: apiAddress(c, page),
      live,
    }),
  );
}

/** The address of what is shown, as JSON. */
function apiAddress(c: Context, page: DefinedPage): string {
  const { pathname, search } = new URL(c.req.url);
  return `${page.path === "/" ? apiPath(page) : `/api${pathname}`}${search}`;
}

function describe(error: unknown): string {
  const { cause } = error as { readonly cause?: unknown };
  const own = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return cause === undefined ? own : `${own}\ncaused by: ${describe(cause)}`;
}
