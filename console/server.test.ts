/** The console by real HTTP: who may ask, what is refused, and what is said when there is nothing to show. */
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { connect } from "node:net";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { createTestDatabase } from "../db/testing/database.ts";
import { makeFolder } from "../db/testing/folder.ts";
import { openOwnServer, until } from "../db/testing/own_server.ts";
import { loginAs } from "../db/testing/roles.ts";
import { startRollbook } from "../etl/testing/cli.ts";
import { apiPath } from "./page.ts";
import { PAGES } from "./pages.ts";
import { startConsole } from "./server.ts";
import { fillWarehouse } from "./testing/fill.ts";
import { openSite, type Site, startSite } from "./testing/site.ts";

const own = (path: string) => !path.includes(":");
/** The one that brings a page up to date. */
const OWN_SCRIPT = /<script src="\/live-[0-9a-f]{12}\.js" defer><\/script>/;

test("every page and its answer are there, and none may be kept by a cache", async () => {
  const warehouse = await createTestDatabase();
  const site = await openSite(warehouse);
  const fill = () => fillWarehouse(warehouse, { folder: makeFolder() });
  for (const prepare of [async () => {}, fill]) {
    await prepare();
    for (const page of PAGES.filter(({ path }) => own(path))) {
      const { status, headers, text } = await site.request(page.path);
      expect({ page: page.path, status }).toEqual({ page: page.path, status: 200 });
      expect(text).toContain('<main id="content"');
      expect(headers).toMatchObject({
        "cache-control": "private, no-store",
        "content-security-policy": expect.stringContaining(
          "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'",
        ),
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
      });
      expect(text.replace(OWN_SCRIPT, "")).not.toMatch(/<script|\sstyle=|\son\w+=|undefined|\[object|NaN/);
      expect(OWN_SCRIPT.test(text)).toBe(page.isLive);
      await site.ask(apiPath(page));
    }
  }
  expect(site.problems).toEqual([]);
});

test.each(["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"])(
  "%s is refused, wherever it goes",
  async (method) => {
    const site = await openSite(await createTestDatabase());
    for (const path of ["/loads", "/api/loads", "/nowhere"]) {
      const { status, headers } = await site.request(path, { method });
      expect({ path, status, allow: headers.allow }).toEqual({ path, status: 405, allow: "GET, HEAD" });
    }
  },
);

test("HEAD says what GET says, without the text", async () => {
  const site = await openSite(await createTestDatabase());
  const { status, headers, text } = await site.request("/loads", { method: "HEAD" });
  expect({ status, text }).toEqual({ status: 200, text: "" });
  expect(headers["content-type"]).toMatch("text/html");
});

test("what an address cannot mean is said, and nothing is guessed", async () => {
  const site = await openSite(await createTestDatabase());
  const refused = await site.request("/api/loads?status=lost&statsu=loaded");
  expect(refused.status).toBe(400);
  expect(JSON.parse(refused.text).error.message).toBe(
    "status: give one of loaded, rejected, failed, repair, retry, undo, undone; statsu: nothing is called so here",
  );
  expect((await site.request("/loads?status=lost")).text).toContain("give one of loaded");
  expect((await site.request("/loads?status=loaded&status=failed")).status).toBe(400);
  expect((await site.request("/loads?status=")).status).toBe(200);
  for (const path of [
    "/nowhere",
    "/../etc/passwd",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/loads/%00",
    "/loads%0d%0aX: y",
  ])
    expect({ path, status: (await site.request(path)).status }).toEqual({
      path,
      status: expect.toSatisfy((status: number) => status === 404 || status === 400),
    });
});

test("without a password it answers as this machine only, so that no page of the web can read it", async () => {
  const site = await openSite(await createTestDatabase());
  const { port } = new URL(site.url);
  const statusOf = async (host: string) => (await site.request("/loads", { headers: { host } })).status;
  for (const host of [
    "evil.example",
    `evil.example:${port}`,
    "localhost.evil.example",
    "127.0.0.1.evil.example",
  ])
    expect({ host, status: await statusOf(host) }).toEqual({ host, status: 421 });
  for (const host of ["localhost", `localhost:${port}`, "127.0.0.1", `[::1]:${port}`])
    expect({ host, status: await statusOf(host) }).toEqual({ host, status: 200 });
});

test("a client that asks too often is told to wait", async () => {
  const requests = { burst: 3, perSecond: 0.001 };
  const site = await openSite(await createTestDatabase(), { requests });
  const statuses: number[] = [];
  for (let time = 0; time < 5; time += 1) statuses.push((await site.request("/nowhere")).status);
  expect(statuses).toEqual([404, 404, 404, 429, 429]);
  expect((await site.request("/loads")).headers["retry-after"]).toBe("1");
});

test("of many requests that are sent at once on a connection, those after the first that is too many are not answered", async () => {
  const site = await openSite(await createTestDatabase(), { requests: { burst: 3, perSecond: 0.001 } });
  const socket = connect({ host: "127.0.0.1", port: Number(new URL(site.url).port) });
  let answers = "";
  socket.setEncoding("utf8").on("data", (text: string) => {
    answers += text;
  });
  socket.write("GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(100));
  await once(socket, "close");
  const statuses = [...answers.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status);
  expect(statuses).toEqual(["404", "404", "404", "429"]);
});

test("a request that is too large, or never ends, is cut off", async () => {
  const site = await openSite(await createTestDatabase());
  expect((await site.request(`/loads?file=${"x".repeat(9000)}`)).status).toBe(431);
  expect((await site.request(`/loads?file=${"x".repeat(300)}`)).status).toBe(400);
  const socket = connect({ host: "127.0.0.1", port: Number(new URL(site.url).port) });
  socket.write("GET /loads HTTP/1.1\r\nHost: localhost\r\n");
  const [answer] = await once(socket.setEncoding("utf8"), "data");
  expect(answer).toMatch(/^HTTP\/1\.1 408 /);
  socket.destroy();
});

const openSocket = async (site: Pick<Site, "url">, localAddress = "127.0.0.1") => {
  const socket = connect({ host: "127.0.0.1", port: Number(new URL(site.url).port), localAddress });
  onTestFinished(() => void socket.destroy());
  socket.on("error", () => {});
  await once(socket, "connect");
  return socket;
};

test("one address cannot take all connections", async () => {
  const site = await startSite();
  const sockets = await Promise.all(Array.from({ length: 256 }, () => openSocket(site)));
  await once((await openSocket(site)).resume(), "close");
  expect(sockets.filter(({ closed }) => closed)).toEqual([]);
  // Other systems have only one such address.
  if (process.platform === "linux") {
    const other = await openSocket(site, "127.0.0.2");
    other.write("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    const [answer] = await once(other.setEncoding("utf8"), "data");
    expect(answer).toMatch(/^HTTP\/1\.1 503 /);
  }
  sockets[0]?.destroy();
  await until("there is room again", async () => {
    const status = await site.request("/health").then(
      (reply) => reply.status,
      () => undefined,
    );
    return status === 503;
  });
});

test("a client that reads no answer is cut off", async () => {
  const site = await startSite({ silentMs: 200 });
  const socket = (await openSocket(site)).pause();
  // More than the system keeps for a reader.
  const asked = "GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(50_000);
  await new Promise((resolve) => socket.write(asked, resolve));
  await once(socket.resume(), "close");
});

test("a page of another site can lead here, and ask nothing", async () => {
  const site = await openSite(await createTestDatabase());
  const ask = async (from: string, mode: string, dest: string, path = "/loads") => {
    const headers = { "sec-fetch-site": from, "sec-fetch-mode": mode, "sec-fetch-dest": dest };
    return (await site.request(path, { headers })).status;
  };
  for (const from of ["cross-site", "same-site"]) {
    expect(await ask(from, "navigate", "document")).toBe(200);
    expect(await ask(from, "navigate", "iframe")).toBe(403);
    expect(await ask(from, "no-cors", "image")).toBe(403);
    expect(await ask(from, "cors", "empty", "/api/loads")).toBe(403);
    expect(await ask(from, "cors", "empty", "/events")).toBe(403);
  }
  for (const from of ["same-origin", "none"]) expect(await ask(from, "cors", "empty")).toBe(200);
});

test("it reads as the reader, and cannot change anything", async () => {
  const warehouse = await createTestDatabase({ roles: true });
  await fillWarehouse(warehouse, { folder: makeFolder() });
  expect((await openSite(warehouse)).role).toBe("rollbook_reader");
  const site = await openSite(await loginAs(warehouse, "reader"));
  expect(site.role).toBe("rollbook_reader");
  for (const { path } of PAGES.filter((page) => own(page.path))) await site.show(path);
});

test("where a right is missing, the page names it", async () => {
  const warehouse = await createTestDatabase({ roles: true });
  const site = await openSite(await loginAs(warehouse, "reader"));
  await warehouse.query("revoke select on reports.load_history from rollbook_reader");
  const { status, text } = await site.request("/loads");
  expect(status).toBe(403);
  expect(text).toContain("permission denied for view load_history");
  expect(text).toContain("rollbook init --roles");
  expect(JSON.parse((await site.request("/api/loads")).text).error.code).toBe("permission");
});

test("before the warehouse is open a page says so, and asks the browser to come again", async () => {
  const site = await startSite();
  const { status, headers, text } = await site.request("/loads");
  expect({ status, refresh: headers.refresh }).toEqual({ status: 503, refresh: "1" });
  expect(text).toContain("The warehouse is being opened");
});

test("while the server is away a page says so, and the next one is there again", async () => {
  const server = await openOwnServer();
  onTestFinished(() => server.close());
  const warehouse = await server.makeWarehouse();
  const site = await openSite(warehouse);
  await site.show("/loads");
  server.kill();
  const { status, headers, text } = await site.request("/loads");
  expect({ status, after: headers["retry-after"] }).toEqual({ status: 503, after: "5" });
  expect(text).toContain("The server is away");
  await until("the server is back", async () => (await site.request("/loads")).status === 200);
});

test("when the browser leaves, its query ends", async () => {
  const warehouse = await createTestDatabase();
  const site = await openSite(warehouse, { statementTimeoutMs: 60_000 });
  const holder = await warehouse.database.pool.connect();
  await holder.query("begin; lock table warehouse.loads in access exclusive mode");
  const waiting = async () =>
    (
      await warehouse.query(
        "select from pg_stat_activity where application_name = 'rollbook serve' and wait_event_type = 'Lock' and datname = current_database()",
      )
    ).length;
  const leaving = new AbortController();
  const left = fetch(new URL("/loads", site.url), { signal: leaving.signal }).catch(() => "left");
  await until("the query waits", async () => (await waiting()) === 1);
  leaving.abort();
  expect(await left).toBe("left");
  await until("the query has ended", async () => (await waiting()) === 0);
  await holder.query("rollback");
  holder.release();
  await site.show("/loads");
});

test("a query that takes too long is cut off, and the page says so", async () => {
  const warehouse = await createTestDatabase();
  const site = await openSite(warehouse, { statementTimeoutMs: 200 });
  const holder = await warehouse.database.pool.connect();
  await holder.query("begin; lock table warehouse.loads in access exclusive mode");
  const { status, text } = await site.request("/loads");
  await holder.query("rollback");
  holder.release();
  expect(status).toBe(504);
  expect(text).toContain("within 0.2 seconds");
});

test("a port that is taken is said with who holds it, before anything is started", async () => {
  const other = createServer().listen(0, "127.0.0.1");
  await once(other, "listening");
  onTestFinished(() => void other.close());
  const { port } = other.address() as AddressInfo;
  expect(await startConsole({ host: "127.0.0.1", port, onProblem: () => {} })).toEqual({
    outcome: "refused",
    message: expect.stringMatching(
      process.platform === "linux"
        ? new RegExp(`port ${port} is taken by .+ \\(pid ${process.pid}\\)`)
        : "is taken",
    ),
  });
  const folder = makeFolder();
  const { code, stderr } = await startRollbook(["serve", "--port", String(port)], { folder, environment: {} })
    .ended;
  expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining(`port ${port} is taken by`) });
});

test("the command serves until it is ended, and says where", async () => {
  const { environment } = await createTestDatabase();
  const { child, ended } = startRollbook(["serve", "--port", "0", "--json"], {
    environment,
    folder: makeFolder(),
  });
  const [line] = await once(child.stdout, "data");
  const { url, role } = JSON.parse(String(line));
  expect(role).toBeNull();
  const page = await fetch(new URL("loads", url));
  expect({ status: page.status, text: await page.text() }).toEqual({
    status: 200,
    text: expect.stringContaining("Nothing is loaded yet"),
  });
  child.kill("SIGTERM");
  expect((await ended).code).toBe(143);
});

test("a source that is wrong keeps nobody from the pages, unless a flag names it", async () => {
  const { environment } = await createTestDatabase();
  const folder = makeFolder();
  mkdirSync(join(folder, "inbox"));
  mkdirSync(join(folder, "sources"));
  writeFileSync(join(folder, "sources", "till.yaml"), "files: [");
  const serve = ["serve", "--port", "0", "--json", "--inbox", "inbox"];
  const { child, ended } = startRollbook(serve, { environment, folder });
  const [line] = await once(child.stdout, "data");
  expect((await fetch(new URL("loads", JSON.parse(String(line)).url))).status).toBe(200);
  child.kill("SIGTERM");
  expect((await ended).stderr).toMatch(/warning: .*till\.yaml:1: is not YAML/);
  const named = await startRollbook([...serve, "--sources", "sources"], { environment, folder }).ended;
  expect(named).toMatchObject({ code: 2, stderr: expect.stringContaining("till.yaml:1: is not YAML") });
});

test("metrics are there as soon as the warehouse is open, and say when it is away", async () => {
  const site = await startSite();
  expect((await site.request("/metrics")).status).toBe(503);
  const warehouse = await createTestDatabase({ roles: true });
  const open = await openSite(warehouse);
  const { status, headers, text } = await open.request("/metrics");
  expect({ status, role: open.role }).toEqual({ status: 200, role: "rollbook_reader" });
  expect(headers).toMatchObject({
    "content-type": "text/plain; version=0.0.4; charset=utf-8",
    "cache-control": "private, no-store",
  });
  expect(text).toContain("\nrollbook_invoices 0\n");
  expect(text.match(/^rollbook_topic_ok\S+ 1$/gm)).toHaveLength(7);
  expect([...site.problems, ...open.problems]).toEqual([]);
});
