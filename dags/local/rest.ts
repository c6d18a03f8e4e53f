/** Airflow's REST API. Source: /openapi.json of the running API server. */
import { setTimeout as pause } from "node:timers/promises";
import { AirflowError, aborted } from "./errors.ts";

export interface Rest {
  /** Asks for JSON, for example `get("/dags/invoice_ingest/dagRuns?order_by=-start_date")`. */
  readonly get: <T>(path: string) => Promise<T>;
  readonly post: <T>(path: string, body: unknown) => Promise<T>;
  readonly patch: <T>(path: string, body: unknown) => Promise<T>;
}

export interface RestOptions {
  /** For example `http://127.0.0.1:8080`. */
  readonly url: string;
  readonly user: string;
  readonly password: string;
}

const ANSWER_WITHIN_MS = 60_000;

/** The API of `url`; it logs in when first asked, and again when the token has expired. Paths are relative to `/api/v2`. */
export function openRest(options: RestOptions): Rest {
  let token: Promise<string> | undefined;
  const ask = async <T>(method: string, path: string, body?: unknown): Promise<T> => {
    for (let attempt = 1; ; attempt += 1) {
      token ??= logIn(options);
      const bearer = await token.catch((error) => {
        token = undefined;
        throw error;
      });
      const answer = await request(options.url, method, `/api/v2${path}`, body, bearer);
      if (answer.status === 401 && attempt === 1) {
        token = undefined;
        continue;
      }
      return readAnswer<T>(answer, method, path);
    }
  };
  return {
    get: (path) => ask("GET", path),
    post: (path, body) => ask("POST", path, body),
    patch: (path, body) => ask("PATCH", path, body),
  };
}

async function logIn({ url, user, password }: RestOptions): Promise<string> {
  const answer = await request(url, "POST", "/auth/token", { username: user, password });
  const { access_token } = await readAnswer<{ readonly access_token: string }>(answer, "POST", "/auth/token");
  return access_token;
}

async function request(
  url: string,
  method: string,
  path: string,
  body?: unknown,
  token?: string,
): Promise<Response> {
  try {
    return await fetch(`${url}${path}`, {
      method,
      headers: {
        accept: "application/json",
        ...(body !== undefined && { "content-type": "application/json" }),
        ...(token !== undefined && { authorization: `Bearer ${token}` }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
    });
  } catch (cause) {
    throw new AirflowError({
      code: "rest",
      message: `Airflow's API server does not answer at ${url}`,
      cause,
    });
  }
}

async function readAnswer<T>(answer: Response, method: string, path: string): Promise<T> {
  const text = await answer.text();
  if (!answer.ok) {
    const said = text.slice(0, 500);
    throw new AirflowError({ code: "rest", message: `${method} ${path}: ${answer.status} ${said}` });
  }
  return (text === "" ? undefined : JSON.parse(text)) as T;
}

/** Of each part whether it lives, and since when that is known. */
type Health = Readonly<Record<string, Readonly<Record<string, string | null>>>>;

const PARTS = ["metadatabase", "scheduler", "triggerer", "dag_processor"] as const;

/**
 * Parts that are not healthy, or that have not been heard of since (milliseconds since 1970): for a while Airflow takes those of the run
 * before for alive.
 */
export async function findUnhealthy(rest: Rest, since: number): Promise<readonly string[]> {
  const health = await rest.get<Health>("/monitor/health");
  return PARTS.filter((part) => {
    const { status, ...times } = health[part] ?? {};
    if (status !== "healthy") return true;
    if (part === "metadatabase") return false;
    const heard = times[`latest_${part}_heartbeat`];
    return !heard || Date.parse(heard) < since;
  });
}

/** Asks until nothing is unhealthy. `onPoll` may throw to end the waiting. */
export async function untilHealthy(options: {
  readonly rest: Rest;
  readonly since: number;
  readonly withinMs: number;
  readonly signal?: AbortSignal | undefined;
  readonly onPoll?: () => void;
}): Promise<void> {
  const { rest, since, withinMs, signal, onPoll } = options;
  const deadline = Date.now() + withinMs;
  let unhealthy: readonly string[] = ["api server"];
  while (unhealthy.length > 0) {
    if (signal?.aborted) throw aborted(signal.reason);
    onPoll?.();
    if (Date.now() > deadline) {
      throw new AirflowError({
        code: "timeout",
        message: `not healthy after ${Math.round(withinMs / 1000)} s: ${unhealthy.join(", ")}`,
      });
    }
    unhealthy = await findUnhealthy(rest, since).catch((error) => {
      if (error instanceof AirflowError && error.code === "rest") return ["api server"];
      throw error;
    });
    if (unhealthy.length > 0) await pause(250);
  }
}
