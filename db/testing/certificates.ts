/**
 * X.509 certificates for tests, made anew each time, so that the repository holds no private key. Node.js
 * reads certificates but makes none. The few lines of DER that are needed here are cheaper than a dependency.
 * Source: RFC 5280, section 4.1.
 */
import { generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";
import { isIPv4 } from "node:net";

export interface Certificate {
  readonly certificate: string;
  readonly key: string;
  readonly name: string;
  readonly signingKey: KeyObject;
}

const DAY_MS = 24 * 60 * 60 * 1000;
/** ecdsa-with-SHA256 */
const SIGNATURE = sequence(oid([0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02]));

/** Makes a certificate. PEM texts. */
export function makeCertificate(options: {
  /** The common name: of a client, the role. */
  readonly name: string;
  /** Host names and IPv4 addresses. */
  readonly hosts?: readonly string[];
  /** Who signs. Default: itself, as a certificate authority. */
  readonly issuer?: Certificate;
  /** Default: a year from now. */
  readonly expires?: Date;
}): Certificate {
  const { name, hosts = [], issuer, expires = new Date(Date.now() + 365 * DAY_MS) } = options;
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const content = sequence(
    tagged(0xa0, tagged(0x02, Buffer.from([2]))),
    tagged(0x02, Buffer.concat([Buffer.from([1]), randomBytes(15)])),
    SIGNATURE,
    commonName(issuer?.name ?? name),
    sequence(time(new Date(Math.min(Date.now(), expires.getTime()) - 2 * DAY_MS)), time(expires)),
    commonName(name),
    publicKey.export({ type: "spki", format: "der" }),
    tagged(0xa3, sequence(...extensions(hosts, issuer === undefined))),
  );
  const signature = sign("sha256", content, issuer?.signingKey ?? privateKey);
  const der = sequence(content, SIGNATURE, tagged(0x03, Buffer.concat([Buffer.from([0]), signature])));
  const lines = der.toString("base64").match(/.{1,64}/g) ?? [];
  return {
    certificate: `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`,
    key: String(privateKey.export({ type: "pkcs8", format: "pem" })),
    name,
    signingKey: privateKey,
  };
}

function extensions(hosts: readonly string[], authority: boolean): readonly Buffer[] {
  const basic = authority ? sequence(tagged(0x01, Buffer.from([0xff]))) : sequence();
  const critical = tagged(0x01, Buffer.from([0xff]));
  const names = hosts.map((host) =>
    isIPv4(host) ? tagged(0x87, Buffer.from(host.split(".").map(Number))) : tagged(0x82, Buffer.from(host)),
  );
  return [
    // basicConstraints
    sequence(oid([0x55, 0x1d, 0x13]), critical, tagged(0x04, basic)),
    // subjectAltName
    ...(names.length === 0 ? [] : [sequence(oid([0x55, 0x1d, 0x11]), tagged(0x04, sequence(...names)))]),
  ];
}

function commonName(name: string): Buffer {
  return sequence(tagged(0x31, sequence(oid([0x55, 0x04, 0x03]), tagged(0x0c, Buffer.from(name)))));
}

/** UTCTime: the years until 2049. */
function time(date: Date): Buffer {
  return tagged(0x17, Buffer.from(`${date.toISOString().replace(/[-:T]/g, "").slice(2, 14)}Z`));
}

function oid(bytes: readonly number[]): Buffer {
  return tagged(0x06, Buffer.from(bytes));
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return tagged(0x30, Buffer.concat(parts));
}

function tagged(tag: number, content: Buffer): Buffer {
  const { length } = content;
  const size = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}
