/** Answers that are the same wherever they are given. */
import type { Context } from "hono";
import { toJson } from "../etl/escape.ts";
import type { Failure } from "./failure.ts";
import { frameFailure } from "./frame.ts";

export function answerJson(c: Context, answer: unknown, status: 200 | Failure["status"] = 200): Response {
  return c.body(`${toJson(answer)}\n`, status, { "Content-Type": "application/json; charset=utf-8" });
}

export function fail(c: Context, failure: Failure): Response | Promise<Response> {
  const { status, code, message, retryAfter } = failure;
  if (retryAfter !== undefined) c.header("Retry-After", String(retryAfter));
  if (c.req.path.startsWith("/api/")) return answerJson(c, { error: { code, message } }, status);
  // A browser knows it, and needs no script for it.
  if (retryAfter !== undefined && status === 503) c.header("Refresh", String(retryAfter));
  return c.html(frameFailure(failure), status);
}

/** What else was sent along on this connection is not answered: to refuse thousands of requests one by one takes time, too. */
export function tooMany(c: Context, title: string, retryAfter: number) {
  c.header("Connection", "close");
  return fail(c, { status: 429, code: "too_many_requests", title, message: "Wait a little.", retryAfter });
}
