import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { RollbookError } from "../db/errors.ts";
import { type Config, type Environment, readConfig } from "./config.ts";
import { makeFolder } from "./testing/warehouse.ts";

function configOf(environment: Environment, folder = "/somewhere"): Config {
  return readConfig({ environment, folder });
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
])("a DATABASE_URL that is none is refused, and its password not repeated: %s", (url) => {
  const problem = problemOf({ DATABASE_URL: url });
  expect(problem).toContain("DATABASE_URL");
  expect(problem).toContain("postgresql://");
  expect(problem).not.toContain("hunter2");
});

test("the PG* variables mean what they mean to libpq", () => {
  expect(
    connectionOf({ PGHOST: "h", PGPORT: "6000", PGUSER: "u", PGDATABASE: "d", PGPASSWORD: "p" }),
  ).toEqual({ host: "h", port: 6000, user: "u", database: "d", password: "p" });
  expect(connectionOf({ PGHOST: "h", PGUSER: "u" })).toEqual({
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
  ).toEqual({ host: "db", port: 5432, user: "u", database: "d" });
});

test("a service's sslmode is taken as the driver takes PGSSLMODE", () => {
  const ssl = (mode: string) =>
    connectionOf({ PGSERVICE: "s", PGSERVICEFILE: serviceFile(`[s]\nhost=db\nsslmode=${mode}\n`) }).ssl;
  expect(ssl("disable")).toBe(false);
  expect(ssl("verify-full")).toBe(true);
  expect(ssl("no-verify")).toEqual({ rejectUnauthorized: false });
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
  expect(problemOf({ PGSERVICE: "s", PGSERVICEFILE })).toContain("the port of the service");
});
