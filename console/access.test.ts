/** Who may look, by real HTTP. */
import { spawnSync } from "node:child_process";
import { chmodSync, writeFileSync } from "node:fs";
import { request } from "node:https";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { expect, test } from "vitest";
import { createTestDatabase } from "../db/testing/database.ts";
import { makeFolder } from "../db/testing/folder.ts";
import { openAccess } from "./access.ts";
import { startConsole } from "./server.ts";
import { openSite } from "./testing/site.ts";

function writePasswords(lines: string, mode = 0o600): string {
  const file = join(makeFolder(), "passwords");
  writeFileSync(file, lines);
  chmodSync(file, mode);
  return file;
}

const basic = (user: string, password: string) => ({
  authorization: `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`,
});

test.each(["0.0.0.0", "::", "192.0.2.1", "example.com", "127.0.0.1.example.com"])(
  "%s is not listened on without a password or a proxy",
  (host) => {
    expect(() => openAccess({ host })).toThrow("give --password-file, or --trust-proxy");
  },
);

test("a password file that others may read, or that names nobody, is refused", () => {
  const refusal = (passwordFile: string) => {
    try {
      openAccess({ host: "127.0.0.1", passwordFile });
      return undefined;
    } catch (error) {
      return (error as Error).message;
    }
  };
  expect(refusal(writePasswords("ann:secret\n", 0o644))).toContain("chmod 0600");
  expect(refusal(writePasswords("# nobody\n\n"))).toContain("names nobody");
  expect(refusal(writePasswords("ann:secret\nbob\n"))).toContain("line 2: give NAME:PASSWORD");
  expect(refusal(writePasswords("ann:\n"))).toContain("line 1");
  expect(refusal(join(makeFolder(), "none"))).toContain("ENOENT");
  expect(refusal(writePasswords("ann:secret\r\n# bob:x\r\n"))).toBeUndefined();
});

test("with a password file all but who knows a password is refused, styles too", async () => {
  const warehouse = await createTestDatabase();
  const passwordFile = writePasswords("ann:secret: with a colon\nbøb:pä55\n");
  const site = await openSite(warehouse, { passwordFile });
  const statusOf = async (headers: Readonly<Record<string, string>>, path = "/loads") =>
    (await site.request(path, { headers })).status;
  const asked = await site.request("/loads");
  expect({ status: asked.status, by: asked.headers["www-authenticate"] }).toEqual({
    status: 401,
    by: expect.stringContaining("Basic"),
  });
  expect(asked.text).not.toContain("Loads");
  expect(await site.request("/health")).toMatchObject({ status: 200, text: "up" });
  for (const path of ["/api/loads", "/api/openapi.json", "/nowhere", "/style-0.css"])
    expect({ path, status: await statusOf({}, path) }).toEqual({ path, status: 401 });
  expect(await statusOf(basic("ann", "secret: with a colon"))).toBe(200);
  expect(await statusOf(basic("bøb", "pä55"))).toBe(200);
  expect(await statusOf(basic("ann", "secret"))).toBe(401);
  expect(await statusOf(basic("", ""))).toBe(401);
  expect(await statusOf({ authorization: "Basic !!!" })).toBe(401);
  expect(await statusOf({ ...basic("ann", "secret: with a colon"), host: "console.example" })).toBe(200);
  const page = await site.request("/loads", { headers: basic("bøb", "pä55") });
  expect(page.text).toContain("Signed in as bøb");
});

test("who guesses passwords has to wait, also for the right one", async () => {
  const site = await openSite(await createTestDatabase(), { passwordFile: writePasswords("ann:secret\n") });
  const statuses: number[] = [];
  for (let guess = 0; guess < 12; guess += 1)
    statuses.push((await site.request("/loads", { headers: basic("ann", `guess ${guess}`) })).status);
  expect(statuses).toEqual([...Array(10).fill(401), 429, 429]);
  const right = await site.request("/loads", { headers: basic("ann", "secret") });
  expect({ status: right.status, after: right.headers["retry-after"] }).toEqual({ status: 429, after: "30" });
});

test("who guesses keeps nobody out who has been right from the same address", async () => {
  const passwordFile = writePasswords("ann:secret\nbob:other\n");
  const site = await openSite(await createTestDatabase(), { passwordFile });
  const ask = async (user: string, password: string) =>
    (await site.request("/loads", { headers: basic(user, password) })).status;
  expect(await ask("bob", "other")).toBe(200);
  for (let guess = 0; guess < 10; guess += 1) expect(await ask("ann", `guess ${guess}`)).toBe(401);
  // Nobody learns which of the others there are.
  expect([await ask("ann", "secret"), await ask("nobody", "x")]).toEqual([429, 429]);
  for (let guess = 0; guess < 10; guess += 1) {
    expect(await ask("bob", "other")).toBe(200);
    expect(await ask("bob", `guess ${guess}`)).toBe(401);
  }
  expect(await ask("bob", "other")).toBe(429);
});

test("behind a proxy only the proxy is answered, and only when it says who asks", async () => {
  const warehouse = await createTestDatabase();
  const site = await openSite(warehouse, { trustProxy: ["127.0.0.0/8", "::1"] });
  const headers = { "x-forwarded-user": "ann <b>", host: "rollbook.example" };
  const page = await site.request("/loads", { headers });
  expect(page.status).toBe(200);
  expect(page.text).toContain("Signed in as ann &lt;b&gt;");
  expect((await site.request("/loads")).status).toBe(403);
  expect((await site.request("/loads", { headers: { "x-forwarded-user": "" } })).status).toBe(403);
  const others = await openSite(warehouse, { trustProxy: ["192.0.2.7"] });
  expect((await others.request("/loads", { headers })).status).toBe(403);
  const named = await openSite(warehouse, { trustProxy: ["127.0.0.1"], userHeader: "Remote-User" });
  expect((await named.request("/loads", { headers })).status).toBe(403);
  expect((await named.request("/loads", { headers: { "remote-user": "ann" } })).status).toBe(200);
});

test.each(["", "proxy.example", "10.0.0.0/33", "10.0.0.0/x", "::1/129", "10.0.0"])(
  "%j is no address of a proxy",
  (address) => {
    expect(() => openAccess({ host: "127.0.0.1", trustProxy: [address] })).toThrow(
      "give addresses, or networks",
    );
  },
);

test("with a certificate it speaks TLS, and with a wrong one it does not start", async () => {
  const folder = makeFolder();
  const [cert, key] = [join(folder, "cert.pem"), join(folder, "key.pem")];
  const made = spawnSync("openssl", [
    ..."req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -addext subjectAltName=DNS:localhost".split(
      " ",
    ),
    ...["-keyout", key, "-out", cert],
  ]);
  expect(made.status).toBe(0);
  const site = await openSite(await createTestDatabase(), { tls: { cert, key } });
  expect(site.url).toMatch(/^https:/);
  const status = await new Promise((resolve, reject) => {
    request(new URL("/loads", site.url), { rejectUnauthorized: false, agent: false }, async (incoming) => {
      await text(incoming);
      resolve([incoming.statusCode, incoming.headers["strict-transport-security"]]);
    })
      .on("error", reject)
      .end();
  });
  expect(status).toEqual([200, "max-age=31536000"]);
  const wrong = { host: "127.0.0.1", port: 0, onProblem: () => {} };
  for (const tls of [
    { cert: key, key: cert },
    { cert, key: join(folder, "none") },
  ])
    expect(await startConsole({ ...wrong, tls })).toMatchObject({ outcome: "refused" });
  chmodSync(key, 0o644);
  expect(await startConsole({ ...wrong, tls: { cert, key } })).toMatchObject({
    outcome: "refused",
    message: expect.stringContaining("everybody may read it"),
  });
});
