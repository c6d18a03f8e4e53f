/** What a receiver of lineage gets from real commands, and what becomes of the commands when it takes nothing. */
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import { makeCertificate } from "../../db/testing/certificates.ts";
import { createTestDatabase } from "../../db/testing/database.ts";
import { makeFolder } from "../../db/testing/folder.ts";
import { until } from "../../db/testing/own_server.ts";
import { jsonLines, rollbook, startRollbook } from "../testing/cli.ts";
import { writeInvoices } from "../testing/invoices.ts";
import { invoiceId, writeDrop } from "../testing/lines.ts";
import type { Dataset, RunEvent } from "./event.ts";
import { openReceiver } from "./testing/receiver.ts";

const API_KEY = "key-that-no-event-holds";
const PASSWORD = "password-that-no-event-holds";

async function setScene(lineage: Readonly<Record<string, string>>) {
  const warehouse = await createTestDatabase();
  const folder = makeFolder();
  const environment = {
    ...warehouse.environment,
    // The server of the tests asks for none.
    PGPASSWORD: PASSWORD,
    ROLLBOOK_OPENLINEAGE_API_KEY: API_KEY,
    ...lineage,
  };
  const run = (...args: string[]) => rollbook(args, { environment, folder });
  const { PGHOST = "", PGPORT = "", PGDATABASE = "" } = warehouse.environment;
  return {
    warehouse,
    folder,
    environment,
    run,
    server: { host: PGHOST, port: PGPORT, database: PGDATABASE },
  };
}

const drop = (folder: string) =>
  writeInvoices(folder, "a_2026-10-05.csv", [
    ["v", 1, "2026-09-30", "1.00"],
    ["v", 2, "2026-10-01", "2.00"],
    ["w", 3, "2026-10-02", "3.00"],
  ]);

/** The last parts of the names, and the rows that are said to be written. */
const rowsOf = (datasets: readonly Dataset[]) =>
  Object.fromEntries(
    datasets.map(({ name, outputFacets }) => [
      name.split(".").at(-1),
      outputFacets?.outputStatistics?.rowCount ?? null,
    ]),
  );

/** Whether each assertion about a dataset holds. */
const successesOf = ({ inputFacets }: Dataset) => {
  const assertions = (inputFacets?.dataQualityAssertions?.assertions ?? []) as readonly {
    success: boolean;
  }[];
  return assertions.map(({ success }) => success);
};

const namesOf = (datasets: readonly Dataset[]) => datasets.map(({ name }) => name.split(".").at(-1));

/** The runs in the order in which they ended, each by the event that says so; each has begun before, and once. */
function endsOf(events: readonly RunEvent[]): readonly RunEvent[] {
  const ends = events.filter(({ eventType }) => eventType !== "START");
  const starts = events.filter(({ eventType }) => eventType === "START");
  expect(starts.map(({ run }) => run.runId).toSorted()).toEqual(ends.map(({ run }) => run.runId).toSorted());
  for (const end of ends) {
    const start = starts.find(({ run }) => run.runId === end.run.runId);
    expect(start).toMatchObject({ job: end.job, inputs: [], outputs: [] });
    expect(events.indexOf(start as RunEvent)).toBeLessThan(events.indexOf(end));
    expect(Date.parse(start?.eventTime ?? "")).toBeLessThanOrEqual(Date.parse(end.eventTime));
  }
  return ends.toSorted((a, b) => (a.eventTime < b.eventTime ? -1 : 1));
}

test("a load, its refresh, an undo and a proof are told, with what they read and wrote", async () => {
  const receiver = await openReceiver();
  const { folder, run, server } = await setScene({
    ROLLBOOK_OPENLINEAGE_URL: `${receiver.url}/base/`,
    ROLLBOOK_OPENLINEAGE_NAMESPACE: "tills",
    ROLLBOOK_OPENLINEAGE_PARENT: "airflow/dag.task/0195d2b2-1111-7222-8333-444444444444",
  });
  const path = drop(folder);
  expect(await run("load", path)).toMatchObject({ code: 0, stderr: "" });
  expect((await run("undo", "1", "--because", "a test", "--no-refresh")).code).toBe(0);
  expect((await run("verify")).code).toBe(0);

  const [load, refresh, undo, verify, ...more] = endsOf(receiver.events);
  expect(more).toEqual([]);
  const jobs = [load, refresh, undo, verify].map((end) => [
    end?.eventType,
    end?.job.namespace,
    end?.job.name,
  ]);
  expect(jobs).toEqual(
    ["load", "refresh", "undo", "verify"].map((job) => ["COMPLETE", "tills", `${server.database}.${job}`]),
  );
  expect(load?.run.facets).toMatchObject({
    processing_engine: { name: "Rollbook" },
    parent: {
      run: { runId: "0195d2b2-1111-7222-8333-444444444444" },
      job: { namespace: "airflow", name: "dag.task" },
    },
    rollbook_run: { loadId: 1, outcome: "loaded", syncedOn: "2026-10-05", rows: { read: 3, inserted: 3 } },
  });
  expect(load?.inputs).toMatchObject([
    {
      namespace: "file",
      name: path,
      facets: {
        version: { datasetVersion: expect.stringMatching(/^[\da-f]{64}$/) },
        schema: { fields: { length: 4 } },
      },
      inputFacets: {
        inputStatistics: { rowCount: 3, size: readFileSync(path).length, fileCount: 1 },
        dataQualityAssertions: {
          assertions: [{ success: true }, { assertion: "no_rejected_lines", success: true }],
        },
      },
    },
  ]);
  expect(rowsOf(load?.outputs ?? [])).toEqual({
    invoices: 3,
    invoices_2026_09: null,
    invoices_2026_10: null,
  });
  for (const { namespace, name } of load?.outputs ?? []) {
    if (!server.host.startsWith("/")) expect(namespace).toBe(`postgres://${server.host}:${server.port}`);
    expect(namespace).toMatch(new RegExp(`^postgres://[^/]+:${server.port}$`));
    expect(name).toMatch(new RegExp(`^${server.database}\\.warehouse\\.invoices`));
  }
  expect(namesOf(refresh?.inputs ?? [])).toEqual(namesOf(load?.outputs ?? []));
  expect(rowsOf(refresh?.outputs ?? [])).toEqual({
    venue_day_rollup: 3,
    venue_day_rollup_2026_09: 1,
    venue_day_rollup_2026_10: 2,
  });
  expect(undo?.run.facets.rollbook_run).toMatchObject({ loadId: 2, undoOf: 1, rows: { removed: 3 } });
  expect(namesOf(undo?.outputs ?? [])).toEqual(["invoices", "invoices_2026_09", "invoices_2026_10"]);
  expect(verify?.inputs.map(({ inputFacets }) => inputFacets?.dataQualityAssertions?.assertions)).toEqual(
    Array(4).fill([expect.objectContaining({ success: true, actual: "0" })]),
  );
  expect(namesOf(verify?.inputs ?? [])).toEqual([
    "invoices",
    "venue_day_rollup",
    "venue_day_rollup_2026_09",
    "venue_day_rollup_2026_10",
  ]);

  for (const { path: asked, headers, body } of receiver.requests) {
    expect(asked).toBe("/base/api/v1/lineage");
    expect(headers).toMatchObject({ "content-type": "application/json", authorization: `Bearer ${API_KEY}` });
    expect(body).not.toContain(API_KEY);
    expect(body).not.toContain(PASSWORD);
  }
});

test("what was refused or failed is told as failed, what is in already with where it is", async () => {
  const receiver = await openReceiver();
  const { warehouse, folder, run } = await setScene({ ROLLBOOK_OPENLINEAGE_URL: receiver.url });
  const path = drop(folder);
  const bad = writeDrop(folder, "b_2026-10-05.csv", [
    `v,${invoiceId(9)},2026-10-01T12:00:00,1.00`,
    "v,bad,never,1.00",
  ]);
  expect((await run("load", path, "--no-refresh")).code).toBe(0);
  expect((await run("load", path, "--no-refresh")).code).toBe(0);
  expect((await run("load", bad, "--no-refresh")).code).toBe(3);
  expect((await run("load", bad, "--no-refresh", "--max-rejects", "0.5")).code).toBe(0);
  expect((await run("refresh", "--partition", "2020-01")).code).toBe(2);
  await warehouse.query(
    "update warehouse.venue_day_pending set total = total + 1 where created_on = '2026-10-02'",
  );
  expect((await run("verify")).code).toBe(1);

  const [first, again, rejected, loaded, refresh, verify, ...more] = endsOf(receiver.events);
  expect(more).toEqual([]);
  expect(again?.eventType).toBe("COMPLETE");
  expect(again?.inputs[0]?.name).toBe(path);
  expect(namesOf(again?.outputs ?? [])).toEqual(namesOf(first?.outputs ?? []));
  expect(again?.run.facets.rollbook_run).toMatchObject({ loadId: 1, outcome: "already_loaded" });
  expect(rejected).toMatchObject({
    eventType: "FAIL",
    outputs: [],
    run: { facets: { errorMessage: { message: expect.stringMatching(/^too_many_rejects: /) } } },
  });
  expect(rejected?.inputs[0]?.inputFacets?.dataQualityAssertions?.assertions).toEqual([
    { assertion: "taken", success: false, actual: "too_many_rejects", severity: "error" },
    { assertion: "no_rejected_lines", success: false, actual: "1", severity: "error" },
    { assertion: "no_bad_uuid", success: false, actual: "1", column: "invoice_id", severity: "error" },
  ]);
  expect(loaded?.inputs[0]?.inputFacets?.dataQualityAssertions?.assertions).toMatchObject([
    { assertion: "taken", success: true },
    { assertion: "no_rejected_lines", success: false, severity: "warn" },
    { assertion: "no_bad_uuid", severity: "warn" },
  ]);
  // One partition: its rows are known.
  expect(rowsOf(loaded?.outputs ?? [])).toEqual({ invoices: 1, invoices_2026_10: 1 });
  expect(refresh).toMatchObject({
    eventType: "FAIL",
    run: { facets: { errorMessage: { message: expect.stringContaining("2020-01") } } },
  });
  expect(verify).toMatchObject({
    eventType: "COMPLETE",
    run: { facets: { rollbook_run: { divergences: 1 } } },
  });
  const bySuccess = verify?.inputs.map((input) => [input.name.split(".").at(-1), successesOf(input)]);
  expect(bySuccess).toEqual([
    ["invoices", [false, false]],
    ["venue_day_rollup", [false, false]],
    ["venue_day_rollup_2026_09", [true]],
    ["venue_day_rollup_2026_10", [false]],
  ]);
});

test("each file of a round of an inbox is a run of its own", async () => {
  const receiver = await openReceiver();
  const { folder: inbox, run } = await setScene({ ROLLBOOK_OPENLINEAGE_URL: receiver.url });
  const paths = Array.from({ length: 20 }, (_, index) =>
    writeInvoices(inbox, `${index}_2026-10-05.csv`, [["v", 100 + index, "2026-10-01", "1.00"]]),
  );
  expect(await run("inbox", "take", inbox, "--settle", "0", "--json")).toMatchObject({ code: 0, stderr: "" });
  const ends = endsOf(receiver.events);
  expect(
    ends
      .filter(({ job }) => job.name.endsWith(".load"))
      .map(({ inputs }) => inputs[0]?.name)
      .toSorted(),
  ).toEqual(paths.toSorted());
  expect(ends.filter(({ job }) => job.name.endsWith(".refresh"))).toHaveLength(1);
});

test("without a receiver events are appended to a file", async () => {
  const folder = makeFolder();
  const file = join(folder, "lineage of tills.jsonl");
  const { folder: drops, run } = await setScene({ ROLLBOOK_OPENLINEAGE_URL: pathToFileURL(file).href });
  await run("load", drop(drops), "--no-refresh");
  await run("load", drop(drops));
  const events = jsonLines(readFileSync(file, "utf8")) as unknown as RunEvent[];
  expect(endsOf(events).map(({ job }) => job.name.split(".").at(-1))).toEqual(["load", "load", "refresh"]);
});

/** A port that nobody listens on. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const address = server.address();
  await new Promise((done) => server.close(done));
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

test("a receiver that speaks TLS gets events if its certificate can be verified", async () => {
  const authority = makeCertificate({ name: "authority" });
  const certificate = makeCertificate({ name: "receiver", hosts: ["127.0.0.1"], issuer: authority });
  const receiver = await openReceiver(() => 201, certificate);
  const file = join(makeFolder(), "authority.pem");
  writeFileSync(file, authority.certificate);
  const told = await setScene({ ROLLBOOK_OPENLINEAGE_URL: receiver.url, NODE_EXTRA_CA_CERTS: file });
  expect(await told.run("load", drop(told.folder), "--no-refresh")).toMatchObject({ code: 0, stderr: "" });
  expect(endsOf(receiver.events)).toHaveLength(1);

  const unknown = await setScene({ ROLLBOOK_OPENLINEAGE_URL: receiver.url });
  const { code, stderr } = await unknown.run("load", drop(unknown.folder), "--no-refresh");
  expect(code).toBe(0);
  expect(stderr).toMatch(/^warning: lineage does not arrive at https:.*: unable to verify/);
  expect(receiver.events).toHaveLength(2);
});

const never = () => new Promise<number>(() => {});

test("a load and its refresh do not wait for a receiver", async () => {
  let answer = (_status: number) => {};
  const answered = new Promise<number>((resolve) => {
    answer = resolve;
  });
  const receiver = await openReceiver(() => answered);
  const { warehouse, folder, run } = await setScene({ ROLLBOOK_OPENLINEAGE_URL: receiver.url });
  const running = run("load", drop(folder));
  await until("the load is refreshed", async () => {
    const groups = await warehouse.query("select from warehouse.venue_day_rollup");
    return groups.length === 3;
  });
  // The first one is not answered yet, so no other event of the load was sent.
  expect(receiver.events.filter(({ job }) => job.name.endsWith(".load")).length).toBeLessThan(2);
  answer(201);
  expect(await running).toMatchObject({ code: 0, stderr: "" });
  expect(endsOf(receiver.events)).toHaveLength(2);
});

test("a watch that is ended tells what it has loaded, and does not wait for who does not answer", async () => {
  const receiver = await openReceiver(never);
  const {
    warehouse,
    folder: inbox,
    environment,
  } = await setScene({ ROLLBOOK_OPENLINEAGE_URL: receiver.url });
  drop(inbox);
  const { child, ended } = startRollbook(["watch", inbox, "--settle", "0"], { environment, folder: inbox });
  await until("the load is told", () => receiver.events.length > 0);
  child.kill("SIGTERM");
  const { code, stderr } = await ended;
  expect(code).toBe(143);
  expect(stderr).toContain("warning: lineage does not arrive");
  expect(await warehouse.query("select status from warehouse.loads")).toEqual([{ status: "loaded" }]);
});

test.each([
  ["answers with an error", async () => (await openReceiver(() => 500)).url, "it answers with 500"],
  ["sends elsewhere", async () => (await openReceiver(() => 302)).url, "it answers with 302"],
  ["never answers", async () => (await openReceiver(never)).url, "it takes too long to answer"],
  ["is away", async () => `http://127.0.0.1:${await freePort()}`, /ECONNREFUSED/],
  ["is a file that cannot be written", async () => "file:///nonexistent/lineage.jsonl", /ENOENT/],
])("a load goes on, and warns once, when the receiver %s", async (_name, open, why) => {
  const { warehouse, folder, run } = await setScene({ ROLLBOOK_OPENLINEAGE_URL: await open() });
  const { code, stdout, stderr } = await run("load", drop(folder), "--json");
  expect(code).toBe(0);
  expect(jsonLines(stdout)).toMatchObject([{ outcome: "loaded" }]);
  expect(stderr.match(/^warning: lineage does not arrive at /gm)).toHaveLength(1);
  expect(stderr).toMatch(why);
  expect(stderr).not.toContain(API_KEY);
  expect(await warehouse.query("select status from warehouse.loads")).toEqual([{ status: "loaded" }]);
  expect(await warehouse.query("select from warehouse.venue_day_pending")).toEqual([]);
});

test("a pipe that nobody reads keeps no load from its end", async () => {
  const pipe = join(makeFolder(), "pipe");
  expect(spawnSync("mkfifo", [pipe]).status).toBe(0);
  const { folder, run } = await setScene({ ROLLBOOK_OPENLINEAGE_URL: pathToFileURL(pipe).href });
  const { code, stderr } = await run("load", drop(folder), "--no-refresh");
  expect(code).toBe(0);
  expect(stderr).toMatch(/^warning: lineage does not arrive at file:.*: ENXIO/);
  const device = await setScene({ ROLLBOOK_OPENLINEAGE_URL: "file:///dev/null" });
  const { stderr: said } = await device.run("load", drop(device.folder), "--no-refresh");
  expect(said).toContain("it is no regular file");
});

test("an answer that never ends is not read", async () => {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", () => {
      socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n");
    });
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo;
  const { folder, run } = await setScene({ ROLLBOOK_OPENLINEAGE_URL: `http://127.0.0.1:${port}` });
  expect(await run("load", drop(folder), "--no-refresh")).toMatchObject({ code: 0, stderr: "" });
});

const SECRET = "s3cret";

test.each([
  [
    { ROLLBOOK_OPENLINEAGE_URL: `${SECRET}.example.com:5000` },
    /URL is no URL of http, https or file.*example/,
  ],
  [{ ROLLBOOK_OPENLINEAGE_URL: `kafka://${SECRET}` }, /URL is no URL of http, https or file/],
  [
    { ROLLBOOK_OPENLINEAGE_URL: `http://user:${SECRET}@localhost` },
    /Give a key in ROLLBOOK_OPENLINEAGE_API_KEY/,
  ],
  [{ ROLLBOOK_OPENLINEAGE_URL: `file://${SECRET}/lineage.jsonl` }, /names a host before the file/],
  [{ ROLLBOOK_OPENLINEAGE_API_KEY: `${SECRET} two` }, /API_KEY holds a blank/],
  [{ ROLLBOOK_OPENLINEAGE_PARENT: `dag/${SECRET}` }, /PARENT is not of the form/],
])("with %j nothing is loaded", async (lineage, said) => {
  const { warehouse, folder, run } = await setScene({
    ROLLBOOK_OPENLINEAGE_URL: "http://localhost:1",
    ...lineage,
  });
  const { code, stdout, stderr } = await run("load", drop(folder));
  expect([code, stdout]).toEqual([2, ""]);
  expect(stderr).toMatch(said);
  expect(stderr).not.toContain(SECRET);
  expect(await warehouse.query("select from warehouse.loads")).toEqual([]);
});
