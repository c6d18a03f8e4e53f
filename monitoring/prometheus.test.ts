/** A real Prometheus scrapes a real console, and its tool takes metrics, rules and configuration. */
import { copyFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { openSite } from "../console/testing/site.ts";
import { createTestDatabase } from "../db/testing/database.ts";
import { makeFolder } from "../db/testing/folder.ts";
import { until } from "../db/testing/own_server.ts";
import { refreshPartitions } from "../etl/refresh/refresh.ts";
import { findDivergences, load, writeInvoices } from "../etl/testing/invoices.ts";
import { readMonitoring, runPromtool, startPrometheus } from "./testing/prometheus.ts";

const place = (name: string) => fileURLToPath(new URL(name, import.meta.url));

/** promtool evaluates weeks of minutes, one by one. */
const WEEKS_WITHIN_MS = 600_000;

test("rules and configuration are valid, and each alert fires when it should", {
  timeout: WEEKS_WITHIN_MS,
}, () => {
  for (const args of [
    ["check", "rules", place("rules.yml")],
    ["check", "config", place("prometheus.yml")],
    ["test", "rules", place("rules.test.yml")],
  ]) {
    const { status, output } = runPromtool(args);
    expect({ args, status, output }).toMatchObject({ status: 0, output: expect.stringContaining("SUCCESS") });
  }
  const names = (text: string, pattern: RegExp) =>
    new Set([...text.matchAll(pattern)].map(([, name]) => name));
  expect(names(readMonitoring("rules.test.yml"), /alertname: (\w+)/g)).toEqual(
    names(readMonitoring("rules.yml"), /alert: (\w+)/g),
  );
});

test("Prometheus scrapes the console, and finds nothing wrong with what it gets", async () => {
  const warehouse = await createTestDatabase({ roles: true });
  await load(
    warehouse,
    writeInvoices(makeFolder(), 'a"b_2026-03-20.csv', [
      ["v", 1, "2026-01-10", "1.00"],
      ["v", 2, "2026-02-10", "2.00"],
    ]),
  );
  await warehouse.query(
    "update warehouse.loads set source_sha256 = sha256('s'), source = E'till \\\\ \"one\"\\n'",
  );
  await refreshPartitions({ database: warehouse.database });
  await findDivergences(warehouse);
  await warehouse.query("update warehouse.venue_day_rollup set total = 9 where created_on = '2026-01-10'");
  await findDivergences(warehouse);
  const site = await openSite(warehouse);
  const { text } = await site.request("/metrics");
  expect(runPromtool(["check", "metrics"], text)).toEqual({ status: 0, output: "" });

  const folder = makeFolder();
  copyFileSync(place("rules.yml"), join(folder, "rules.yml"));
  const configuration = join(folder, "prometheus.yml");
  writeFileSync(
    configuration,
    readMonitoring("prometheus.yml")
      .replace("localhost:8470", new URL(site.url).host)
      .replaceAll("30s", "1s"),
  );
  const prometheus = await startPrometheus(configuration);
  await until("it was scraped", async () => (await prometheus.ask("sum(up)"))["{}"] === 1);
  expect(await prometheus.ask("rollbook_topic_ok")).toEqual(
    Object.fromEntries(
      ["partitions", "proofs", "ledger", "refreshes", "rejects", "closings", "silence"].map((topic) => [
        JSON.stringify({ __name__: "rollbook_topic_ok", topic }),
        1,
      ]),
    ),
  );
  // PromQL quotes as JSON does.
  const source = JSON.stringify('till \\ "one"\n');
  expect(await prometheus.ask(`sum(rollbook_loads_total{outcome="loaded",source=${source}})`)).toEqual({
    "{}": 1,
  });
  expect(await prometheus.ask("rollbook_refresh_duration_seconds_count")).toMatchObject({
    [JSON.stringify({ __name__: "rollbook_refresh_duration_seconds_count" })]: 2,
  });
  expect(
    await prometheus.ask("histogram_quantile(1, sum by (le) (rollbook_load_duration_seconds_bucket))"),
  ).toEqual({
    "{}": expect.any(Number),
  });
  await until("the alert fires", async () => {
    const { data } = (await prometheus.get("/api/v1/alerts")) as {
      readonly data: {
        readonly alerts: readonly { readonly labels: Record<string, string>; readonly state: string }[];
      };
    };
    return data.alerts.some(
      ({ labels, state }) =>
        labels.alertname === "RollbookDiverged" && labels.subject === "partition" && state === "firing",
    );
  });
});
