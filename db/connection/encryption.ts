/**
 * How a connection is encrypted: libpq's settings, translated for the driver. A setting is kept or refused,
 * and never weakened silently. The table of their meanings is in docs/security.md, "Encrypted connections".
 */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { existsSync, readFileSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { createSecureContext } from "node:tls";
import type pg from "pg";
import { errorState } from "../errors.ts";
import { type Environment, homeOf } from "./environment.ts";
import type { Given, Parameters } from "./parameters.ts";

type Mode = "disable" | "no-verify" | "verify-ca" | "verify-full";

/** The settings, with absolute paths, so that they can be handed to another process. */
export interface Encryption {
  readonly mode: Mode;
  /** A file of certificates that are trusted, or `system`. */
  readonly rootCertificate?: string;
  /** Files of a certificate of our own, and its key. */
  readonly certificate?: string;
  readonly key?: string;
  readonly leastProtocol?: string;
  readonly negotiation: "postgres" | "direct";
}

/** libpq's modes, and the driver's `no-verify`. `require` verifies as well, which is more than libpq does. */
const MODES: Readonly<Record<string, Mode>> = {
  disable: "disable",
  "no-verify": "no-verify",
  require: "verify-full",
  "verify-ca": "verify-ca",
  "verify-full": "verify-full",
};

const SYSTEM = "system";
const PROTOCOLS: readonly string[] = ["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"];

export interface EncryptionOptions {
  readonly parameters: Parameters;
  readonly environment: Environment;
  /** What relative paths are relative to. */
  readonly folder: string;
}

/** Reads and checks the settings. */
export function readEncryption(options: EncryptionOptions, problems: string[]): Encryption {
  const { parameters, folder } = options;
  const path = (given: Given | undefined) => given && resolve(folder, given.value);
  const root = parameters("sslrootcert") ?? ownFile(options, "root.crt");
  const certificate = parameters("sslcert") ?? ownFile(options, "postgresql.crt");
  const key = certificate && (parameters("sslkey") ?? ownFile(options, "postgresql.key"));
  // A user who names a certificate wants an encrypted connection. A file that only lies in the home asks for
  // nothing.
  const asked =
    parameters("sslrootcert") ??
    parameters("sslcert") ??
    parameters("sslkey") ??
    parameters("ssl_min_protocol_version") ??
    (parameters("sslnegotiation")?.value === "direct" ? parameters("sslnegotiation") : undefined);
  const mode = readMode(parameters("sslmode"), asked, problems);
  const negotiation = readNegotiation(parameters("sslnegotiation"), problems);
  if (mode === "disable") {
    if (negotiation === "direct") problems.push("sslnegotiation is direct, and sslmode disable");
    return { mode, negotiation };
  }
  const system = root?.value === SYSTEM;
  if (mode === "verify-ca" && (root === undefined || system)) {
    problems.push(
      "sslmode verify-ca needs a certificate authority of your own in sslrootcert (PGSSLROOTCERT): a public one vouches for anybody's server. Or say verify-full.",
    );
  }
  const protocol = parameters("ssl_min_protocol_version");
  if (protocol !== undefined && !PROTOCOLS.includes(protocol.value)) {
    problems.push(`${protocol.origin} must be one of ${PROTOCOLS.join(", ")}`);
  }
  if (parameters("sslkey") !== undefined && certificate === undefined) {
    problems.push(`${parameters("sslkey")?.origin} is set without the certificate in sslcert (PGSSLCERT)`);
  }
  const rootCertificate = system ? SYSTEM : path(root);
  const certificateFile = path(certificate);
  const keyFile = path(key);
  if (mode !== "no-verify" && root !== undefined && !system) checkCertificates(root, folder, problems);
  if (certificate !== undefined) checkOwn(certificate, key, folder, problems);
  return {
    mode,
    negotiation,
    ...(rootCertificate !== undefined && { rootCertificate }),
    ...(certificateFile !== undefined && { certificate: certificateFile }),
    ...(keyFile !== undefined && { key: keyFile }),
    ...(protocol !== undefined && { leastProtocol: protocol.value }),
  };
}

/**
 * The driver's options. As with libpq, a connection through a Unix socket, to a server on the same machine,
 * is not encrypted.
 */
export function driverOptions(
  encryption: Encryption,
  host: string,
): Pick<pg.ClientConfig, "ssl" | "sslnegotiation"> {
  const { mode, rootCertificate, certificate, key, leastProtocol, negotiation } = encryption;
  if (mode === "disable" || host.startsWith("/")) return { ssl: false, sslnegotiation: "postgres" };
  const verified = mode !== "no-verify";
  const trusted = verified && rootCertificate !== undefined && rootCertificate !== SYSTEM;
  return {
    sslnegotiation: negotiation,
    ssl: {
      rejectUnauthorized: verified,
      ...(trusted && { ca: readFileSync(rootCertificate, "utf8") }),
      ...(mode === "verify-ca" && { checkServerIdentity: () => undefined }),
      ...(certificate !== undefined && { cert: readFileSync(certificate, "utf8") }),
      ...(key !== undefined && { key: readFileSync(key, "utf8") }),
      ...(leastProtocol !== undefined && { minVersion: leastProtocol as "TLSv1.2" }),
    },
  };
}

type EncryptionParameter =
  | "sslmode"
  | "sslrootcert"
  | "sslcert"
  | "sslkey"
  | "ssl_min_protocol_version"
  | "sslnegotiation";

/** The same as libpq's parameters, for another process. */
export function encryptionParameters(
  encryption: Encryption,
): readonly (readonly [EncryptionParameter, string])[] {
  const { mode, rootCertificate, certificate, key, leastProtocol, negotiation } = encryption;
  const parameters: readonly (readonly [EncryptionParameter, string | undefined])[] = [
    ["sslmode", mode],
    ["sslrootcert", rootCertificate],
    ["sslcert", certificate],
    ["sslkey", key],
    ["ssl_min_protocol_version", leastProtocol],
    ["sslnegotiation", negotiation === "direct" ? negotiation : undefined],
  ];
  return parameters.flatMap(([name, value]) => (value === undefined ? [] : [[name, value] as const]));
}

function readMode(given: Given | undefined, asked: Given | undefined, problems: string[]): Mode {
  if (given === undefined) return asked === undefined ? "disable" : "verify-full";
  const mode = MODES[given.value];
  if (mode === undefined) {
    const modes = Object.keys(MODES).join(", ");
    const why = ["allow", "prefer"].includes(given.value)
      ? `cannot be ${given.value}, which lets whoever sits in between turn encryption off. Say one of ${modes}`
      : `must be one of ${modes}`;
    problems.push(`${given.origin} ${why}`);
    return "verify-full";
  }
  return mode;
}

function readNegotiation(given: Given | undefined, problems: string[]): "postgres" | "direct" {
  if (given === undefined || given.value === "postgres") return "postgres";
  if (given.value !== "direct") problems.push(`${given.origin} must be postgres or direct`);
  return "direct";
}

/** A file that libpq takes by default. */
function ownFile({ environment }: EncryptionOptions, name: string): Given | undefined {
  const value = join(homeOf(environment), ".postgresql", name);
  return existsSync(value) ? { value, origin: "the default" } : undefined;
}

/** The text of a file, or undefined and a problem that names the setting and the file. */
export function readText(given: Given, folder: string, problems: string[]): string | undefined {
  const file = resolve(folder, given.value);
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    problems.push(`${given.origin}: ${file} cannot be read (${errorState(error) ?? String(error)})`);
    return undefined;
  }
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g;

/**
 * Checks a file of certificates. Node would take a file without any for one that trusts nobody, and fail only
 * when it connects.
 */
function checkCertificates(given: Given, folder: string, problems: string[]): string | undefined {
  const text = readText(given, folder, problems);
  if (text === undefined) return undefined;
  const found = text.match(CERTIFICATE) ?? [];
  if (found.length > 0 && found.every(isCertificate)) return text;
  problems.push(`${given.origin}: ${resolve(folder, given.value)} holds no valid certificate in PEM form`);
  return undefined;
}

function isCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem).subject !== "";
  } catch {
    return false;
  }
}

function checkOwn(certificate: Given, key: Given | undefined, folder: string, problems: string[]): void {
  const cert = checkCertificates(certificate, folder, problems);
  if (key === undefined) {
    problems.push(`${certificate.origin} is set without its private key in sslkey (PGSSLKEY)`);
    return;
  }
  const pem = readText(key, folder, problems);
  if (pem === undefined) return;
  const file = resolve(folder, key.value);
  const { mode, uid } = statSync(file);
  // As in libpq: only the owner may read it; a file of root may be readable for a group.
  if ((mode & (uid === 0 ? 0o037 : 0o077)) !== 0) {
    problems.push(`${key.origin}: others may read ${file}. Run: chmod 0600 ${file}`);
  }
  const problem = keyProblem(pem, cert);
  if (problem !== undefined) problems.push(`${key.origin}: ${file} ${problem}`);
}

function keyProblem(key: string, cert: string | undefined): string | undefined {
  // An encrypted key has two forms: PKCS #8, and the older one with a header.
  if (/^(-----BEGIN ENCRYPTED PRIVATE KEY-----|Proc-Type: 4,ENCRYPTED)/m.test(key)) {
    return "is encrypted; a program that runs unattended needs one without a passphrase";
  }
  try {
    createPrivateKey(key);
  } catch {
    return "holds no valid private key in PEM form";
  }
  if (cert === undefined) return undefined;
  try {
    createSecureContext({ cert, key });
    return undefined;
  } catch {
    return "is not the key of the certificate in sslcert";
  }
}
