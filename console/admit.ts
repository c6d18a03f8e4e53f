/** Whom the console answers, before it looks at what they ask for. */
import type { HttpBindings } from "@hono/node-server";
import type { Context, MiddlewareHandler } from "hono";
import { basicAuth } from "hono/basic-auth";
import { auth } from "hono/utils/basic-auth";
import { type Access, plainAddress } from "./access.ts";
import { fail, tooMany } from "./answers.ts";
import { createLimit, networkOf, type Rate } from "./limits.ts";

export interface Environment {
  readonly Bindings: HttpBindings;
  /** `network`: whence it comes. */
  readonly Variables: { network: string; user: string | undefined };
}

/** Wrong passwords from one place: ten at once, then two a minute. */
const GUESSES: Rate = { burst: 10, perSecond: 1 / 30 };
export const onlyReads: MiddlewareHandler<Environment> = async (c, next) => {
  if (c.req.method === "GET" || c.req.method === "HEAD") return next();
  c.header("Allow", "GET, HEAD");
  return fail(c, {
    status: 405,
    code: "method_not_allowed",
    title: "Nothing can be changed here",
    message: "The console only reads: GET and HEAD.",
  });
};

/** Refuses what comes past the proxy, what names another host, and what comes too often. */
export function admit(access: Access, rate: Rate): MiddlewareHandler<Environment> {
  const requests = createLimit(rate);
  return async (c, next) => {
    const socket = plainAddress(c.env.incoming.socket.remoteAddress);
    if (!access.allowsHost(c.req.header("host")))
      return fail(c, {
        status: 421,
        code: "other_host",
        title: "This console has another name",
        message: "Without a password it answers as localhost only.",
      });
    if (isFromOtherSite(c))
      return fail(c, {
        status: 403,
        code: "other_site",
        title: "Open the console itself",
        message: "A page of another site asks. It can lead here by a link, and no more.",
      });
    const { proxy } = access;
    const user = proxy && c.req.header(proxy.userHeader);
    if (proxy !== undefined && !(proxy.isProxy(socket) && user))
      return fail(c, {
        status: 403,
        code: "not_by_proxy",
        title: "Come through the proxy",
        message: `The console answers a proxy that it trusts, and that says in ${proxy.userHeader} who asks.`,
      });
    c.set("user", user);
    c.set("network", networkOf(socket));
    if (requests.take(whoAsks(c))) return next();
    return tooMany(c, "Too many requests", 1);
  };
}

/** For limits: a user of the proxy or of a password, else whence it comes. */
export function whoAsks(c: Context<Environment>): string {
  return c.get("user") ?? c.get("network");
}

/**
 * Whether a page of another site asks. It cannot read the answer, but it could measure how long it takes, and keep the console busy in the name
 * of whoever looks at that page. To follow a link is not that. Old browsers and programs do not say it.
 */
function isFromOtherSite(c: Context): boolean {
  const site = c.req.header("sec-fetch-site");
  if (site === undefined || site === "same-origin" || site === "none") return false;
  return c.req.header("sec-fetch-mode") !== "navigate" || c.req.header("sec-fetch-dest") !== "document";
}

export function askPassword(
  isRight: (user: string, password: string) => boolean,
): MiddlewareHandler<Environment> {
  const guesses = createLimit(GUESSES);
  const regulars = createRegulars();
  const ask = basicAuth({
    realm: "Rollbook",
    verifyUser: (user, password, c: Context<Environment>) => {
      const network = c.get("network");
      if (!isRight(user, password)) {
        guesses.take(regulars.placeOf(network, user));
        return false;
      }
      regulars.add(network, user);
      c.set("user", user);
      return true;
    },
  });
  // A right password is not tried either when there were too many wrong ones, or guessing would go on.
  return async (c, next) => {
    const place = regulars.placeOf(c.get("network"), auth(c.req.raw)?.username);
    return guesses.has(place) ? ask(c, next) : tooMany(c, "Too many wrong passwords", 30);
  };
}

/** Users and networks that are remembered at most. */
const MOST_REGULARS = 10_000;

/**
 * Who has been right from a network has guesses of its own there: so who guesses behind the same address, or has an old password, does not
 * keep the others out.
 */
function createRegulars() {
  const known = new Set<string>();
  const keyOf = (network: string, user: string) => `${network} ${user}`;
  return {
    add: (network: string, user: string) => {
      const key = keyOf(network, user);
      // The oldest is first.
      known.delete(key);
      known.add(key);
      if (known.size > MOST_REGULARS) known.delete(known.values().next().value ?? "");
    },
    placeOf: (network: string, user: string | undefined) => {
      const key = user === undefined ? network : keyOf(network, user);
      return known.has(key) ? key : network;
    },
  };
}
