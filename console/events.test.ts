/** Server-sent events by real HTTP: who is told of what, and when a stream ends. */
import { Script } from "node:vm";
import { expect, test } from "vitest";
import { createTestDatabase, type TestWarehouse } from "../db/testing/database.ts";
import { makeFolder } from "../db/testing/folder.ts";
import { until } from "../db/testing/own_server.ts";
import { loginAs } from "../db/testing/roles.ts";
import { closePeriod } from "../etl/closings/close.ts";
import { dismissRejects } from "../etl/load/dismiss.ts";
import { loadDrop } from "../etl/load/load.ts";
import { refreshPartitions } from "../etl/refresh/refresh.ts";
import { invoiceId, writeDrop } from "../etl/testing/lines.ts";
import { undo } from "../etl/undo/undo.ts";
import { verifyWarehouse } from "../etl/verify/verify.ts";
import { LIVE_SCRIPT } from "./live.ts";
import { openSite, type Site, startSite } from "./testing/site.ts";

const SOON = { lookEveryMs: 20 };

/** A browser that listens: what it was told, until it leaves. */
async function listen(site: Pick<Site, "url">, headers: Readonly<Record<string, string>> = {}) {
  const leaving = new AbortController();
  const response = await fetch(new URL("/events", site.url), { headers, signal: leaving.signal });
  expect(response.status).toBe(200);
  const told: string[] = [];
  const ended = (async () => {
    for await (const text of response.body?.pipeThrough(new TextDecoderStream()) ?? [])
      told.push(
        ...[...text.matchAll(/^event: revision\ndata: ([0-9a-f]{16})$/gm)].map(([, data = ""]) => data),
      );
  })().catch(() => {});
  return { told, headers: response.headers, leave: () => leaving.abort(), ended };
}

const listeners = async (warehouse: TestWarehouse) =>
  (
    await warehouse.query<{ count: string }>(
      "select count(*) from pg_stat_activity where application_name = 'rollbook serve' and datname = current_database()",
    )
  )[0]?.count;

test("whatever happens in the warehouse is told once, and nothing else", async () => {
  const warehouse = await createTestDatabase({ roles: true });
  const { database, settings } = warehouse;
  const folder = makeFolder();
  const load = (day: number, ...lines: readonly string[]) =>
    loadDrop({ ...warehouse, path: writeDrop(folder, `a_2026-10-0${day}.csv`, lines), maxRejects: 1 });
  const site = await openSite(await loginAs(warehouse, "reader"), SOON);
  const { told, headers } = await listen(site);
  expect(Object.fromEntries(headers)).toMatchObject({
    "content-type": "text/event-stream",
    "cache-control": "private, no-store",
    "x-accel-buffering": "no",
  });
  await until("the present is told", async () => told.length === 1);
  const acts: Readonly<Record<string, () => Promise<unknown>>> = {
    load: () => load(5, `bar,${invoiceId(1)},2026-09-04,1.00`),
    refresh: () => refreshPartitions({ database }),
    "a load that rejects a line": () => load(6, `bar,${invoiceId(2)},2026-10-04,1.00`, "bar,bad,never,1.00"),
    "a load that is refused": () =>
      loadDrop({ ...warehouse, path: writeDrop(folder, "b_2026-10-07.csv", ["bad", "bad"]), maxRejects: 0 }),
    dismissal: () => dismissRejects({ database, loadId: 2, reason: "bad_uuid", because: "a test" }),
    closing: () =>
      closePeriod({ database, settings, period: { name: "2026-09", from: "2026-09-01", to: "2026-10-01" } }),
    proof: () => verifyWarehouse(warehouse),
    undo: () => undo({ database, settings, loadId: 1, because: "a test" }),
  };
  for (const [act, run] of Object.entries(acts)) {
    const before = told.length;
    await run();
    await until(`${act} is told`, async () => told.length > before);
  }
  expect(new Set(told).size).toBe(told.length);
  const { length } = told;
  await site.show("/loads");
  expect(told).toHaveLength(length);
  expect(site.problems).toEqual([]);
});

test("a page has the revision of what it shows, and other pages have none", async () => {
  const warehouse = await createTestDatabase();
  const site = await openSite(warehouse, SOON);
  const revision = async (path: string) => /data-revision="([0-9a-f]{16})"/.exec(await site.show(path))?.[1];
  const { told } = await listen(site);
  await until("the present is told", async () => told.length === 1);
  for (const path of ["/", "/loads", "/partitions", "/quarantine"])
    expect(await revision(path)).toBe(told[0]);
  expect(await revision("/totals")).toBeUndefined();
  const path = writeDrop(makeFolder(), "a_2026-10-05.csv", [`bar,${invoiceId(1)},2026-10-04,1.00`]);
  await loadDrop({ ...warehouse, path });
  await until("the load is told", async () => told.length === 2);
  expect(await revision("/loads")).toBe(told[1]);
});

test("a listener holds no connection to the database, and is forgotten when it leaves", async () => {
  const warehouse = await createTestDatabase();
  const site = await openSite(warehouse, { lookEveryMs: 600_000 });
  const all = await Promise.all(Array.from({ length: 50 }, () => listen(site)));
  await until("all are told", async () => all.every(({ told }) => told.length === 1));
  expect(Number(await listeners(warehouse))).toBe(1);
  await site.show("/loads");
  const more = await site.request("/events");
  expect({ status: more.status, after: more.headers["retry-after"] }).toEqual({ status: 429, after: "60" });
  for (const { leave } of all.slice(0, 30)) leave();
  await until("there is room again", async () => {
    const response = await fetch(new URL("/events", site.url));
    await response.body?.cancel();
    return response.status === 200;
  });
  expect(site.problems).toEqual([]);
});

test("a stream ends when the console stops", async () => {
  const site = await openSite(await createTestDatabase(), SOON);
  const { told, ended } = await listen(site);
  await until("the present is told", async () => told.length === 1);
  await site.console.close();
  await ended;
});

test("HEAD says what it is, and whoever may not look is told nothing", async () => {
  const site = await openSite(await createTestDatabase(), SOON);
  const { status, headers, text } = await site.request("/events", { method: "HEAD" });
  expect({ status, type: headers["content-type"], text }).toEqual({
    status: 200,
    type: "text/event-stream",
    text: "",
  });
  expect((await site.request("/events", { headers: { host: "evil.example" } })).status).toBe(421);
  expect((await (await startSite()).request("/events")).status).toBe(503);
});

test("the script is JavaScript", () => {
  expect(() => new Script(LIVE_SCRIPT)).not.toThrow();
});
