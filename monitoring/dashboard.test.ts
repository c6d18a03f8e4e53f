import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { openMetrics } from "../console/metrics.ts";
import { createTestDatabase } from "../db/testing/database.ts";
import { dashboardText, makeDashboard } from "./dashboard.ts";
import { readMonitoring } from "./testing/prometheus.ts";

test("dashboard.json is what the script makes of it: npm run dashboard", () => {
  expect(readMonitoring("dashboard.json")).toBe(dashboardText());
});

interface Rules {
  readonly groups: readonly {
    readonly rules: readonly { readonly alert: string; readonly expr: string }[];
  }[];
}
const alerts = (parse(readMonitoring("rules.yml")) as Rules).groups.flatMap(({ rules }) => rules);

test("dashboard and rules ask for metrics that there are, and all metrics are documented", async () => {
  const { database } = await createTestDatabase();
  const text = await openMetrics({ database, waitMs: 600_000 }).read();
  const known = [...text.matchAll(/^# TYPE (\S+) (\w+)$/gm)].flatMap(([, name = "", type]) =>
    type === "histogram" ? [name, `${name}_bucket`] : [name],
  );
  expect(known.length).toBeGreaterThan(35);
  const panels = makeDashboard().panels ?? [];
  const asked = [JSON.stringify(panels), ...alerts.map(({ expr }) => expr)].flatMap(
    (expression) => expression.match(/rollbook_\w+/g) ?? [],
  );
  expect(asked.filter((name) => !known.includes(name))).toEqual([]);
  const page = readFileSync(new URL("../docs/monitoring.md", import.meta.url), "utf8");
  expect(known.filter((name) => !name.endsWith("_bucket") && !page.includes(`\`${name}`))).toEqual([]);
  expect(alerts.filter(({ alert }) => !page.includes(`\`${alert}\``))).toEqual([]);
});

test("no two panels overlap, and each has a query and says what it shows", () => {
  const taken = new Set<string>();
  const panels = makeDashboard().panels ?? [];
  expect(panels.length).toBeGreaterThan(20);
  for (const panel of panels) {
    if (panel.type === "row" || !("targets" in panel)) continue;
    expect([panel.title, panel.description, panel.targets?.length]).toEqual([
      expect.stringMatching(/./),
      expect.stringMatching(/./),
      expect.any(Number),
    ]);
    const { x = 0, y = 0, w = 0, h = 0 } = panel.gridPos ?? {};
    for (let column = x; column < x + w; column += 1) {
      for (let row = y; row < y + h; row += 1) {
        expect(taken.has(`${column} ${row}`), panel.title).toBe(false);
        taken.add(`${column} ${row}`);
      }
    }
  }
});
