/** Encrypted connections, against a PostgreSQL with TLS on: what is asked for is kept, or nothing is sent. */
import { once } from "node:events";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { openDatabase } from "../../../db/client.ts";
import { readConfig } from "../../../db/connection/config.ts";
import type { Environment } from "../../../db/connection/environment.ts";
import { type Certificate, makeCertificate } from "../../../db/testing/certificates.ts";
import { makeFolder } from "../../../db/testing/folder.ts";
import {
  ADDRESS,
  CERTIFIED,
  openTlsServer,
  SSL_REQUEST,
  type TlsServer,
} from "../../../db/testing/tls_server.ts";
import { type Run, rollbook, rollbookHere } from "../cli.ts";

const PASSWORD = "c@nary:of/encryption";
const VERIFYING = ["require", "verify-ca", "verify-full"] as const;

let server: TlsServer;
const stranger = makeCertificate({ name: "a stranger" });

beforeAll(async () => {
  server = await openTlsServer();
  await server.query(`create role clerk login password '${PASSWORD}'; create role ${CERTIFIED} login`);
  await server.query("create database shop template template0 owner clerk");
});

afterAll(() => server?.close());

/** Writes a PEM file that only its owner may read, and returns its path. */
function pemFile(text: string, mode = 0o600): string {
  const file = join(makeFolder(), "file.pem");
  writeFileSync(file, text);
  chmodSync(file, mode);
  return file;
}

const trusted = (authority: Certificate = server.authority) => pemFile(authority.certificate);

/** PG* variables for the server. Neither home nor anything else of the machine's has a say. */
function variables(more: Readonly<Record<string, string>>): Record<string, string> {
  return {
    HOME: makeFolder(),
    PGHOST: ADDRESS,
    PGPORT: String(server.port),
    PGUSER: "clerk",
    PGPASSWORD: PASSWORD,
    PGDATABASE: "shop",
    ...more,
  };
}

function url(parameters: Readonly<Record<string, string>>): Record<string, string> {
  const query = Object.entries(parameters).map(([name, value]) => `${name}=${encodeURIComponent(value)}`);
  const login = `clerk:${encodeURIComponent(PASSWORD)}`;
  return {
    HOME: makeFolder(),
    DATABASE_URL: `postgresql://${login}@${ADDRESS}:${server.port}/shop?${query.join("&")}`,
  };
}

function service(parameters: Readonly<Record<string, string>>): Record<string, string> {
  const lines = Object.entries(parameters).map(([name, value]) => `${name}=${value}`);
  const file = join(makeFolder(), "services");
  writeFileSync(
    file,
    [
      ...["[shop]", `host=${ADDRESS}`, `port=${server.port}`, "user=clerk"],
      ...[`password=${PASSWORD}`, "dbname=shop", ...lines, ""],
    ].join("\n"),
  );
  return { HOME: makeFolder(), PGSERVICE: "shop", PGSERVICEFILE: file };
}

/** What the server says of the connection. */
async function connectionOf(
  environment: Environment,
  folder = makeFolder(),
): Promise<Record<string, unknown>> {
  const config = readConfig({ environment, folder });
  if (config.kind !== "server") throw new Error("not a server");
  const { pool } = openDatabase({ connection: config.connection, max: 1 });
  try {
    const { rows } = await pool.query(
      "select ssl, version, client_dn, current_user as role from pg_stat_ssl where pid = pg_backend_pid()",
    );
    return rows[0];
  } finally {
    await pool.end();
  }
}

/** Runs `status`, which must refuse to connect, say where and why, and keep the password to itself. */
async function refusal(environment: Record<string, string>): Promise<string> {
  const { code, stdout, stderr }: Run = await rollbookHere(["status"], {
    environment,
    folder: makeFolder(),
  });
  expect([code, stdout]).toEqual([2, ""]);
  expect(stderr).toContain("cannot connect to the database shop at");
  expect(stderr).not.toContain(PASSWORD);
  expect(stderr).not.toContain(encodeURIComponent(PASSWORD));
  return stderr;
}

test.each([
  ["DATABASE_URL", url],
  ["a service", service],
  [
    "PG* variables",
    ({ sslmode = "", sslrootcert = "" }) => variables({ PGSSLMODE: sslmode, PGSSLROOTCERT: sslrootcert }),
  ],
] as const)("with %s every mode that can be had is encrypted", async (_, environmentOf) => {
  for (const sslmode of [...VERIFYING, ""]) {
    const environment = environmentOf({ sslmode, sslrootcert: trusted() });
    expect(await connectionOf(environment)).toMatchObject({ ssl: true, role: "clerk" });
  }
  expect(await connectionOf(environmentOf({ sslmode: "no-verify" }))).toMatchObject({ ssl: true });
});

test("the command makes a warehouse over an encrypted connection, and warns of nothing", async () => {
  const made = await rollbook(["init"], {
    environment: url({ sslmode: "verify-full", sslrootcert: trusted() }),
    folder: makeFolder(),
  });
  expect(made).toMatchObject({ code: 0, stderr: "" });
});

test("a relative path of a certificate is relative to the folder that the command runs in", async () => {
  const folder = makeFolder();
  writeFileSync(join(folder, "ca.pem"), server.authority.certificate);
  const environment = variables({ PGSSLMODE: "verify-full", PGSSLROOTCERT: "ca.pem" });
  expect(await connectionOf(environment, folder)).toMatchObject({ ssl: true });
});

test("a certificate authority in the home is trusted without being named, and none but it", async () => {
  const home = makeFolder();
  mkdirSync(join(home, ".postgresql"));
  const own = join(home, ".postgresql", "root.crt");
  writeFileSync(own, server.authority.certificate);
  const environment = variables({ HOME: home, PGSSLMODE: "verify-full" });
  expect(await connectionOf(environment)).toMatchObject({ ssl: true });
  writeFileSync(own, stranger.certificate);
  expect(await refusal(environment)).toContain("sslrootcert");
});

test("a certificate of a stranger is refused", async () => {
  for (const mode of VERIFYING) {
    const environment = variables({ PGSSLMODE: mode, PGSSLROOTCERT: trusted(stranger) });
    expect(await refusal(environment)).toContain("not signed by an authority that is trusted here");
  }
  for (const environment of [
    variables({ PGSSLMODE: "require" }),
    url({ ssl: "true" }),
    service({ sslmode: "verify-full" }),
  ]) {
    expect(await refusal(environment)).toContain("sslrootcert");
  }
});

test("a stranger who takes the name of the authority is refused", async () => {
  const impostor = makeCertificate({ name: server.authority.name });
  await presenting({ name: "server", hosts: [ADDRESS], issuer: impostor });
  expect(await refusal(variables({ PGSSLROOTCERT: trusted() }))).toContain("not signed by an authority");
});

test("a certificate for another host is refused, unless only its authority was asked for", async () => {
  await presenting({ name: "server", hosts: ["db.example.com", "127.0.0.2"], issuer: server.authority });
  for (const host of [ADDRESS, "localhost"]) {
    for (const mode of ["require", "verify-full", ""]) {
      const environment = variables({ PGHOST: host, PGSSLMODE: mode, PGSSLROOTCERT: trusted() });
      expect(await refusal(environment)).toContain("Connect by a host name that its certificate has");
    }
    const environment = variables({ PGHOST: host, PGSSLMODE: "verify-ca", PGSSLROOTCERT: trusted() });
    expect(await connectionOf(environment)).toMatchObject({ ssl: true });
  }
});

test("an expired certificate is refused", async () => {
  const yesterday = new Date(Date.now() - 24 * 60 * 60 * 1000);
  await presenting({ name: "server", hosts: [ADDRESS], issuer: server.authority, expires: yesterday });
  for (const mode of VERIFYING) {
    const environment = variables({ PGSSLMODE: mode, PGSSLROOTCERT: trusted() });
    expect(await refusal(environment)).toContain("Have the server's certificate renewed");
  }
});

const usual = () =>
  makeCertificate({ name: "server", hosts: ["localhost", ADDRESS], issuer: server.authority });

/** Has the server present a certificate until the test has finished. */
async function presenting(options: Parameters<typeof makeCertificate>[0]): Promise<void> {
  onTestFinished(() => server.present(usual()));
  await server.present(makeCertificate(options));
}

test("a server without encryption is refused when encryption is asked for", async () => {
  onTestFinished(() => server.offer(true));
  await server.offer(false);
  for (const mode of [...VERIFYING, "no-verify", ""]) {
    const environment = variables({
      PGSSLMODE: mode,
      ...(mode !== "no-verify" && { PGSSLROOTCERT: trusted() }),
    });
    expect(await refusal(environment)).toContain("Encryption was asked for (sslmode), so nothing was sent");
  }
});

test("somebody in between who says no to encryption, or anything else, gets neither password nor name", async () => {
  for (const answer of ["N", "E", "?"]) {
    const got: Buffer[] = [];
    const between = createServer((socket: Socket) => {
      socket.on("error", () => {});
      socket.on("data", (data) => {
        got.push(data);
        socket.write(answer);
      });
    });
    between.listen(0, ADDRESS);
    await once(between, "listening");
    const address = between.address();
    const port = typeof address === "object" ? String(address?.port) : "";
    const said = await refusal(variables({ PGPORT: port, PGSSLMODE: "require" }));
    expect(said).toContain("see who answers in its place");
    between.close();
    expect(Buffer.concat(got)).toEqual(SSL_REQUEST);
  }
});

test("a server that wants encryption is told from a wrong password, and how to get it", async () => {
  const said = await refusal(variables({}));
  expect(said).toContain("no encryption");
  expect(said).toContain("sslmode");
});

test("a certificate of our own opens the door, one of a stranger or none does not", async () => {
  const ours = makeCertificate({ name: CERTIFIED, issuer: server.authority });
  const theirs = makeCertificate({ name: CERTIFIED, issuer: stranger });
  const environmentOf = ({ certificate, key }: Certificate) => ({
    ...variables({ PGUSER: CERTIFIED, PGSSLMODE: "verify-full", PGSSLROOTCERT: trusted() }),
    PGSSLCERT: pemFile(certificate),
    PGSSLKEY: pemFile(key),
  });
  expect(await connectionOf(environmentOf(ours))).toMatchObject({
    ssl: true,
    role: CERTIFIED,
    client_dn: `/CN=${CERTIFIED}`,
  });
  const none = variables({ PGUSER: CERTIFIED, PGSSLMODE: "verify-full", PGSSLROOTCERT: trusted() });
  expect(await refusal(none)).toContain("sslcert, sslkey");
  expect(await refusal(environmentOf(theirs))).toMatch(/sslcert/);
});

test("the least version of the protocol and the direct way of opening reach the driver", async () => {
  const environment = variables({
    PGSSLROOTCERT: trusted(),
    PGSSLMINPROTOCOLVERSION: "TLSv1.3",
    PGSSLNEGOTIATION: "direct",
  });
  expect(await connectionOf(environment)).toMatchObject({ ssl: true, version: "TLSv1.3" });
  // Settings are read again together with the certificate.
  onTestFinished(async () => {
    await server.query("alter system reset ssl_max_protocol_version");
    await server.present(usual());
  });
  await server.query("alter system set ssl_max_protocol_version = 'TLSv1.2'");
  await server.present(usual());
  expect(await refusal(environment)).toContain("could not agree on encryption");
});
