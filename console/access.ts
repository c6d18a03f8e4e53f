/** Who may look: whoever is on this machine, whoever knows a password, or whomever a proxy vouches for. */
import { createHash, timingSafeEqual } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { BlockList, isIP } from "node:net";
import { RollbookError } from "../db/errors.ts";

export interface AccessOptions {
  /** Where the console listens: a name or an address. */
  readonly host: string;
  /** A file of lines `NAME:PASSWORD`. */
  readonly passwordFile?: string | undefined;
  /** Addresses or networks of a proxy that has asked who it is. */
  readonly trustProxy?: readonly string[] | undefined;
  /** The header in which the proxy says it. */
  readonly userHeader?: string | undefined;
}

export interface Access {
  /** Whether a request may name this host. Every name is right where people say who they are. */
  readonly allowsHost: (host: string | undefined) => boolean;
  /** Whether to ask for a name and a password, and if they are right. */
  readonly passwords: ((user: string, password: string) => boolean) | undefined;
  readonly proxy: TrustedProxy | undefined;
}

export interface TrustedProxy {
  readonly isProxy: (address: string) => boolean;
  readonly userHeader: string;
}

const USER_HEADER = "x-forwarded-user";

/** @throws RollbookError `usage` */
export function openAccess(options: AccessOptions): Access {
  const { host, passwordFile, trustProxy, userHeader = USER_HEADER } = options;
  if (passwordFile !== undefined && trustProxy !== undefined)
    throw usage(
      "give --password-file or --trust-proxy, not both: either the console asks who it is, or the proxy does.",
    );
  if (passwordFile === undefined && trustProxy === undefined && !isLoopback(host)) {
    throw usage(
      `${host} is not only this machine. Whoever reaches the console sees all totals: give --password-file, or --trust-proxy behind a proxy that asks who it is, or leave --host out.`,
    );
  }
  const isOpen = passwordFile === undefined && trustProxy === undefined;
  return {
    allowsHost: isOpen ? isLoopbackHost : () => true,
    passwords: passwordFile === undefined ? undefined : readPasswords(passwordFile),
    proxy: trustProxy && {
      isProxy: readNetworks(trustProxy),
      userHeader: userHeader.toLowerCase(),
    },
  };
}

function usage(message: string): RollbookError {
  return new RollbookError({ code: "usage", message });
}

export function isLoopback(host: string): boolean {
  return host === "localhost" || /^127(\.\d{1,3}){3}$/.test(host) || host === "::1";
}

/** Of the header Host. A page of the web can have its name lead to this machine; it cannot make the browser say "localhost". */
function isLoopbackHost(host: string | undefined): boolean {
  if (host === undefined) return false;
  return isLoopback(host.replace(/:\d+$/, "").replace(/^\[(.*)\]$/, "$1"));
}

/** As a socket gives it; an IPv4 address of a socket for both is written as one. */
export function plainAddress(address: string | undefined): string {
  return (address ?? "").replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i, "");
}

function readNetworks(given: readonly string[]): (address: string) => boolean {
  const list = new BlockList();
  for (const text of given) {
    const [address = "", bits] = text.split("/");
    const family = isIP(address);
    const most = family === 6 ? 128 : 32;
    const length = bits === undefined ? most : Number(bits);
    if (family === 0 || (bits !== undefined && !/^\d{1,3}$/.test(bits)) || length > most)
      throw usage(`--trust-proxy ${text}: give addresses, or networks such as 10.0.0.0/8.`);
    list.addSubnet(address, length, family === 6 ? "ipv6" : "ipv4");
  }
  return (address) => isIP(address) > 0 && list.check(address, isIP(address) === 6 ? "ipv6" : "ipv4");
}

const digest = (text: string) => createHash("sha256").update(text).digest();

function readPasswords(file: string): (user: string, password: string) => boolean {
  const known = new Map(readLines(file));
  // Who is not known is compared, too: the time tells nobody which names there are.
  const nobody = digest("");
  return (user, password) => {
    const right = known.get(user);
    return timingSafeEqual(digest(password), right ?? nobody) && right !== undefined;
  };
}

function readLines(file: string): readonly (readonly [user: string, password: Buffer])[] {
  let text: string;
  try {
    const { mode } = statSync(file);
    if (process.platform !== "win32" && (mode & 0o077) !== 0)
      throw usage(`--password-file ${file}: others may read it. Run: chmod 0600 ${file}`);
    text = readFileSync(file, "utf8");
  } catch (error) {
    if (error instanceof RollbookError) throw error;
    throw usage(`--password-file ${file}: it cannot be read (${(error as NodeJS.ErrnoException).code}).`);
  }
  const lines = text.split(/\r?\n/).map((line, index) => ({ line, number: index + 1 }));
  const pairs = lines
    .filter(({ line }) => line.trim() !== "" && !line.startsWith("#"))
    .map(({ line, number }): [string, Buffer] => {
      const colon = line.indexOf(":");
      if (colon < 1 || colon === line.length - 1)
        throw usage(`--password-file ${file}, line ${number}: give NAME:PASSWORD.`);
      return [line.slice(0, colon), digest(line.slice(colon + 1))];
    });
  if (pairs.length === 0) throw usage(`--password-file ${file}: it names nobody. Give lines NAME:PASSWORD.`);
  return pairs;
}
