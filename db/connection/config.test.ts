import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { RollbookError } from "../errors.ts";
import { makeCertificate } from "../testing/certificates.ts";
import { makeFolder } from "../testing/folder.ts";
import { type Config, readConfig } from "./config.ts";
import type { Environment } from "./environment.ts";

/**
 * What the driver gets where nothing asks for encryption: it must not look for settings in the environment.
 */
const PLAIN = { ssl: false, sslnegotiation: "postgres" };

function configOf(environment: Environment, folder = "/somewhere"): Config {
  // No files of whoever runs the tests.
  return readConfig({ environment: { HOME: "/nonexistent", ...environment }, folder });
}

function connectionOf(environment: Environment) {
  const config = configOf(environment);
  if (config.kind !== "server") throw new Error("not a server");
  return config.connection;
}

function problemOf(environment: Environment): string {
  try {
    configOf(environment);
  } catch (error) {
    if (error instanceof RollbookError && error.code === "configuration") return error.message;
    throw error;
  }
  throw new Error("no problem");
}

function serviceFile(text: string): string {
  const file = join(makeFolder(), "services.conf");
  writeFileSync(file, text);
  return file;
}

test("without any variable it is the embedded server in .rollbook of the current folder", () => {
  expect(configOf({})).toEqual({ kind: "embedded", home: "/somewhere/.rollbook" });
  expect(configOf({ DATABASE_URL: "", PGHOST: "", PGSERVICE: "", ROLLBOOK_HOME: "" })).toEqual(configOf({}));
});

test("ROLLBOOK_HOME is a path, relative to the current folder or absolute", () => {
  expect(configOf({ ROLLBOOK_HOME: "data/home" })).toEqual({
    kind: "embedded",
    home: "/somewhere/data/home",
  });
  expect(configOf({ ROLLBOOK_HOME: "/data" })).toEqual({ kind: "embedded", home: "/data" });
});

test("DATABASE_URL comes before PGHOST, and both before ROLLBOOK_HOME", () => {
  const url = "postgresql://me:secret@db.example.com:6543/turnover";
  expect(connectionOf({ DATABASE_URL: url, PGHOST: "other", ROLLBOOK_HOME: "home" })).toMatchObject({
    host: "db.example.com",
    port: 6543,
    user: "me",
    password: "secret",
    database: "turnover",
  });
  expect(connectionOf({ PGHOST: "other", ROLLBOOK_HOME: "home" })).toMatchObject({ host: "other" });
});

test("DATABASE_URL may have an escaped password and a socket's folder", () => {
  expect(connectionOf({ DATABASE_URL: "postgres://me:p%40ss%2Fw%C3%B6rd@host/db" })).toMatchObject({
    password: "p@ss/wörd",
  });
  expect(connectionOf({ DATABASE_URL: "postgresql:///db?host=/run/postgresql" })).toMatchObject({
    host: "/run/postgresql",
    database: "db",
  });
});

test.each([
  "db.example.com",
  "mysql://me:hunter2@host/db",
  "postgres://me:hunter2@host:port/db",
  "postgres://me:hunter2@[::1/db",
  "postgres://me:5432/hunter2@host/db",
  "postgres://me:5432?hunter2@host/db",
  "postgres://me:5432?hunter2=x@host/db",
  "postgres://me:5432#hunter2@host/db",
  "postgres://me:x@hunter2@host/db",
  "postgres://me:hunter2%ff@host/db",
])("a DATABASE_URL that is none is refused, and its password not repeated: %s", (url) => {
  const problem = problemOf({ DATABASE_URL: url });
  expect(problem).toContain("DATABASE_URL");
  expect(problem).toContain("postgresql://");
  expect(problem).not.toContain("hunter2");
});

test("the PG* variables mean what they mean to libpq", () => {
  expect(
    connectionOf({ PGHOST: "h", PGPORT: "6000", PGUSER: "u", PGDATABASE: "d", PGPASSWORD: "p" }),
  ).toEqual({ ...PLAIN, host: "h", port: 6000, user: "u", database: "d", password: "p" });
  expect(connectionOf({ PGHOST: "h", PGUSER: "u" })).toEqual({
    ...PLAIN,
    host: "h",
    port: 5432,
    user: "u",
    database: "u",
  });
});

test.each(["0", "65536", "x", "54 32", "5432.5"])("PGPORT %s is refused", (PGPORT) => {
  expect(problemOf({ PGHOST: "h", PGPORT })).toContain("PGPORT");
});

test("a service is read as libpq reads it, its name with dots, its password with # and ;", () => {
  const PGSERVICEFILE = serviceFile(
    "# services\n[other]\nhost=wrong\n\n[a.b.c]\nhost = db\nport=6001\nuser=u\ndbname=d\npassword=p#a;s\"s = w'\n  # comment\n\n[a]\nhost=wrong\n",
  );
  expect(connectionOf({ PGSERVICE: "a.b.c", PGSERVICEFILE })).toEqual({
    ...PLAIN,
    host: "db",
    port: 6001,
    user: "u",
    database: "d",
    password: "p#a;s\"s = w'",
  });
});

test("what a service leaves open comes from the environment", () => {
  const PGSERVICEFILE = serviceFile("[s]\nhost=db\n");
  expect(
    connectionOf({ PGSERVICE: "s", PGSERVICEFILE, PGHOST: "ignored", PGUSER: "u", PGDATABASE: "d" }),
  ).toEqual({ ...PLAIN, host: "db", port: 5432, user: "u", database: "d" });
});

test("the services of PGSYSCONFDIR are looked up after the user's", () => {
  const PGSYSCONFDIR = makeFolder();
  writeFileSync(join(PGSYSCONFDIR, "pg_service.conf"), "[s]\nhost=system\n[both]\nhost=system\n");
  const PGSERVICEFILE = serviceFile("[both]\nhost=mine\n");
  expect(connectionOf({ PGSERVICE: "s", PGSERVICEFILE, PGSYSCONFDIR })).toMatchObject({ host: "system" });
  expect(connectionOf({ PGSERVICE: "both", PGSERVICEFILE, PGSYSCONFDIR })).toMatchObject({ host: "mine" });
});

test("a service that is not there is refused, with the files that were looked at, and so is its bad port", () => {
  const PGSERVICEFILE = serviceFile("[s]\nport=x\n");
  const problem = problemOf({ PGSERVICE: "nope", PGSERVICEFILE, PGPORT: "0" });
  expect(problem).toContain("nope");
  expect(problem).toContain(PGSERVICEFILE);
  expect(problem).toContain("PGPORT");
  expect(problemOf({ PGSERVICE: "s", PGSERVICEFILE })).toContain('port of the service "s"');
});

test("DATABASE_URL's parameters are libpq's, and what it leaves open comes from the PG* variables", () => {
  const DATABASE_URL =
    "postgresql://me@db/shop?application_name=a%20b+c&connect_timeout=7&options=-c%20jit%3Doff&keepalives=";
  expect(
    connectionOf({
      DATABASE_URL,
      PGPASSWORD: "p",
      PGPORT: "6000",
      PGOPTIONS: "other",
      PGCONNECT_TIMEOUT: "9",
    }),
  ).toEqual({
    ...PLAIN,
    ...{ host: "db", port: 6000, user: "me", database: "shop", password: "p" },
    ...{ application_name: "a b+c", connectionTimeoutMillis: 7000, options: "-c jit=off" },
  });
  expect(connectionOf({ DATABASE_URL: "postgres:///?host=h&user=u&dbname=d&password=p%2Fp" })).toMatchObject({
    host: "h",
    user: "u",
    database: "d",
    password: "p/p",
  });
});

test("a parameter that nobody knows is refused, for it may be a misspelt sslmode, and its value is not repeated", () => {
  const said = problemOf({ DATABASE_URL: "postgres://me@db/shop?sslmod=hunter2" });
  expect(said).toContain("DATABASE_URL sets sslmod, which Rollbook does not know");
  expect(said).not.toContain("hunter2");
  const PGSERVICEFILE = serviceFile("[s]\nhost=db\nssl_mode=verify-full\n");
  expect(problemOf({ PGSERVICE: "s", PGSERVICEFILE })).toContain("ssl_mode");
});

test.each([
  ["PGSSLCRL", "sslcrl", "/crl.pem"],
  ["PGSSLCRLDIR", "sslcrldir", "/crls"],
  ["PGCHANNELBINDING", "channel_binding", "require"],
  ["PGREQUIREAUTH", "require_auth", "scram-sha-256"],
  ["PGGSSENCMODE", "gssencmode", "require"],
  ["PGSSLMAXPROTOCOLVERSION", "ssl_max_protocol_version", "TLSv1.2"],
  ["PGREQUIRESSL", "requiressl", "1"],
])("a protection that the driver does not have is refused, not left out: %s", (variable, name, value) => {
  expect(problemOf({ PGHOST: "h", [variable]: value })).toContain(
    `${variable} is set, which Rollbook's driver`,
  );
  expect(problemOf({ DATABASE_URL: `postgres://h/d?${name}=${value}` })).toContain(
    `DATABASE_URL sets ${name}`,
  );
});

test("what asks for nothing is let pass", () => {
  const DATABASE_URL = "postgres://h/d?channel_binding=prefer&gssencmode=disable&client_encoding=UTF8";
  expect(connectionOf({ DATABASE_URL, PGGSSENCMODE: "require" })).toMatchObject(PLAIN);
});

test.each(["prefer", "allow", "verify_full", "VERIFY-FULL", "true"])(
  "sslmode %s is refused wherever it stands, for nothing weaker than what was asked for is made of it",
  (mode) => {
    const modes = "disable, no-verify, require, verify-ca, verify-full";
    expect(problemOf({ PGHOST: "h", PGSSLMODE: mode })).toMatch(/^PGSSLMODE /);
    expect(problemOf({ PGHOST: "h", PGSSLMODE: mode })).toContain(modes);
    expect(problemOf({ DATABASE_URL: `postgres://h/d?sslmode=${mode}` })).toContain(
      "sslmode of DATABASE_URL",
    );
    const PGSERVICEFILE = serviceFile(`[s]\nhost=h\nsslmode=${mode}\n`);
    expect(problemOf({ PGSERVICE: "s", PGSERVICEFILE })).toContain('sslmode of the service "s"');
  },
);

test("modes mean what docs/security.md says, in the URL before the variables", () => {
  const ca = pemFile(makeCertificate({ name: "ca" }).certificate);
  const sslOf = (mode: string, more: Environment = {}) =>
    connectionOf({ DATABASE_URL: `postgres://h/d?sslmode=${mode}`, PGSSLMODE: "disable", ...more }).ssl;
  expect(sslOf("disable")).toBe(false);
  expect(sslOf("disable", { PGSSLROOTCERT: ca })).toBe(false);
  expect(sslOf("no-verify")).toEqual({ rejectUnauthorized: false });
  for (const mode of ["require", "verify-full"]) {
    expect(sslOf(mode)).toEqual({ rejectUnauthorized: true });
    expect(sslOf(mode, { PGSSLROOTCERT: "system" })).toEqual({ rejectUnauthorized: true });
    expect(sslOf(mode, { PGSSLROOTCERT: ca })).toEqual({ rejectUnauthorized: true, ca: expect.any(String) });
  }
  expect(sslOf("verify-ca", { PGSSLROOTCERT: ca })).toEqual({
    rejectUnauthorized: true,
    ca: expect.any(String),
    checkServerIdentity: expect.any(Function),
  });
});

test("verify-ca with any public authority would trust anybody's server, and is refused", () => {
  for (const PGSSLROOTCERT of ["", "system"]) {
    const said = problemOf({ PGHOST: "h", PGSSLMODE: "verify-ca", PGSSLROOTCERT });
    expect(said).toContain("needs a certificate authority of your own");
  }
});

test("whoever names a certificate, a least protocol or the direct way wants encryption", () => {
  const ca = pemFile(makeCertificate({ name: "ca" }).certificate);
  for (const asking of [
    { PGSSLROOTCERT: ca },
    { PGSSLROOTCERT: "system" },
    { PGSSLMINPROTOCOLVERSION: "TLSv1.3" },
    { PGSSLNEGOTIATION: "direct" },
  ]) {
    expect(connectionOf({ PGHOST: "h", ...asking }).ssl).toMatchObject({ rejectUnauthorized: true });
  }
  expect(problemOf({ PGHOST: "h", PGSSLMINPROTOCOLVERSION: "1.3" })).toContain("TLSv1.3");
  expect(problemOf({ PGHOST: "h", PGSSLNEGOTIATION: "x" })).toContain("PGSSLNEGOTIATION");
  expect(problemOf({ PGHOST: "h", PGSSLNEGOTIATION: "direct", PGSSLMODE: "disable" })).toContain("disable");
});

test("a Unix socket is not encrypted, as with libpq", () => {
  expect(connectionOf({ PGHOST: "/run/postgresql", PGSSLMODE: "verify-full" })).toMatchObject(PLAIN);
});

function pemFile(text: string, mode = 0o600): string {
  const file = join(makeFolder(), "file.pem");
  writeFileSync(file, text);
  chmodSync(file, mode);
  return file;
}

test("files that cannot be used are named with their setting, all in one error", () => {
  const { certificate, key } = makeCertificate({ name: "me" });
  const folder = makeFolder();
  const base = { PGHOST: "h", PGSSLMODE: "verify-full" };
  const missing = problemOf({
    ...base,
    PGSSLROOTCERT: "/nowhere/ca",
    PGSSLCERT: folder,
    PGSSLKEY: "/nowhere/key",
  });
  expect(missing.split("\n")).toEqual([
    "PGSSLROOTCERT: /nowhere/ca cannot be read (ENOENT)",
    `PGSSLCERT: ${folder} cannot be read (EISDIR)`,
    "PGSSLKEY: /nowhere/key cannot be read (ENOENT)",
  ]);
  for (const text of [
    "",
    "hunter2",
    certificate.replace("MI", "XX"),
    `${certificate}${certificate.replace("MI", "XX")}`,
  ]) {
    const PGSSLROOTCERT = pemFile(text);
    const said = problemOf({ ...base, PGSSLROOTCERT });
    expect(said).toBe(`PGSSLROOTCERT: ${PGSSLROOTCERT} holds no valid certificate in PEM form`);
  }
  const PGSSLCERT = pemFile(certificate);
  const keyProblem = (PGSSLKEY: string) => problemOf({ ...base, PGSSLCERT, PGSSLKEY });
  expect(problemOf({ ...base, PGSSLCERT })).toContain("without its private key in sslkey");
  expect(problemOf({ ...base, PGSSLKEY: pemFile(key) })).toContain("without the certificate in sslcert");
  expect(keyProblem(pemFile(key, 0o660))).toContain("others may read");
  expect(keyProblem(pemFile(key, 0o604))).toContain("chmod 0600");
  expect(keyProblem(pemFile("hunter2"))).toContain("holds no valid private key in PEM form");
  expect(keyProblem(pemFile(makeCertificate({ name: "me" }).key))).toContain(
    "is not the key of the certificate",
  );
  const { signingKey } = makeCertificate({ name: "me" });
  const encrypted = signingKey.export({
    type: "pkcs8",
    format: "pem",
    cipher: "aes-256-cbc",
    passphrase: "x",
  });
  expect(keyProblem(pemFile(String(encrypted)))).toContain("is encrypted");
  expect(connectionOf({ ...base, PGSSLCERT, PGSSLKEY: pemFile(key) }).ssl).toMatchObject({
    cert: certificate,
    key,
  });
});

test("several problems of several kinds are reported at once", () => {
  const said = problemOf({
    PGHOST: "h",
    PGPORT: "x",
    PGSSLMODE: "prefer",
    PGSSLROOTCERT: "/nowhere",
    PGSSLCRL: "/crl",
  });
  for (const name of ["PGPORT", "PGSSLMODE", "PGSSLROOTCERT", "PGSSLCRL"]) expect(said).toContain(name);
});

test("the password file is read as libpq reads it", () => {
  const file = pemFile(
    "# comment\nother:*:*:*:wrong\nh:6000:*:*:wrong\nh:*:d\\:d:u:p\\:a\\\\s:s\n*:*:*:*:last\n/s:5432:d:u:sock\n",
  );
  const passwordOf = (more: Environment) =>
    connectionOf({ PGHOST: "h", PGUSER: "u", PGPASSFILE: file, ...more }).password;
  expect(passwordOf({ PGDATABASE: "d:d" })).toBe("p:a\\s:s");
  expect(passwordOf({ PGDATABASE: "d" })).toBe("last");
  expect(passwordOf({ PGPASSWORD: "given" })).toBe("given");
  expect(passwordOf({ PGHOST: "other" })).toBe("wrong");
  const local = pemFile("localhost:5432:d:u:local\n");
  expect(passwordOf({ PGHOST: "/run/postgresql", PGDATABASE: "d", PGPASSFILE: local })).toBe("local");
  expect(passwordOf({ PGHOST: "/elsewhere", PGDATABASE: "d", PGPASSFILE: local })).toBeUndefined();
  expect(connectionOf({ DATABASE_URL: `postgres://u@other/d?passfile=${file}` }).password).toBe("wrong");
});

test("a password file that others may read, or that is not there, is refused; that of the home need not be there", () => {
  const HOME = makeFolder();
  expect(connectionOf({ PGHOST: "h", HOME })).not.toHaveProperty("password");
  writeFileSync(join(HOME, ".pgpass"), "*:*:*:*:secret\n", { mode: 0o600 });
  expect(connectionOf({ PGHOST: "h", HOME }).password).toBe("secret");
  chmodSync(join(HOME, ".pgpass"), 0o644);
  expect(problemOf({ PGHOST: "h", HOME })).toContain(`chmod 0600 ${join(HOME, ".pgpass")}`);
  expect(connectionOf({ PGHOST: "h", HOME, PGPASSWORD: "given" }).password).toBe("given");
  expect(problemOf({ PGHOST: "h", PGPASSFILE: "/nowhere/pass" })).toContain("PGPASSFILE: /nowhere/pass");
});

test("certificates of the home are taken, as libpq takes them", () => {
  const HOME = makeFolder();
  mkdirSync(join(HOME, ".postgresql"));
  const { certificate, key } = makeCertificate({ name: "me" });
  const put = (name: string, text: string) =>
    writeFileSync(join(HOME, ".postgresql", name), text, { mode: 0o600 });
  put("root.crt", certificate);
  put("postgresql.crt", certificate);
  put("postgresql.key", key);
  // They ask for nothing.
  expect(connectionOf({ PGHOST: "h", HOME })).toMatchObject(PLAIN);
  expect(connectionOf({ PGHOST: "h", HOME, PGSSLMODE: "verify-full" }).ssl).toEqual({
    rejectUnauthorized: true,
    ca: certificate,
    cert: certificate,
    key,
  });
});
