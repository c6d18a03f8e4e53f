/**
 * `npm run dashboard`: makes dashboard.json, for Grafana, from what is said here. A test compares the two, and asks for no
 * metric that there is not.
 */
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import {
  BigValueColorMode,
  BigValueGraphMode,
  StackingConfigBuilder,
  StackingMode,
} from "@grafana/grafana-foundation-sdk/common";
import {
  type Dashboard,
  DashboardBuilder,
  type DataSourceRef,
  DatasourceVariableBuilder,
  RowBuilder,
  type Threshold,
  ThresholdsConfigBuilder,
  ThresholdsMode,
} from "@grafana/grafana-foundation-sdk/dashboard";
import { DataqueryBuilder } from "@grafana/grafana-foundation-sdk/prometheus";
import { PanelBuilder as StatBuilder } from "@grafana/grafana-foundation-sdk/stat";
import { PanelBuilder as TimeseriesBuilder } from "@grafana/grafana-foundation-sdk/timeseries";

/** The data source is chosen in Grafana. */
const SOURCE: DataSourceRef = { type: "prometheus", uid: "$source" };

const HOUR = 3600;
const DAY = 24 * HOUR;

interface Shown {
  readonly title: string;
  readonly about: string;
  readonly unit?: string;
}

/** From which value on a figure is not as it should be. */
type Bad = readonly [warning: number, critical?: number];

function query(expression: string, legend = ""): DataqueryBuilder {
  return new DataqueryBuilder().datasource(SOURCE).expr(expression).legendFormat(legend);
}

function figure({ title, about, unit = "short" }: Shown, expression: string, bad?: Bad): StatBuilder {
  const steps: Threshold[] = [{ value: null, color: bad === undefined ? "blue" : "green" }];
  if (bad !== undefined) steps.push({ value: bad[0], color: "orange" });
  if (bad?.[1] !== undefined) steps.push({ value: bad[1], color: "red" });
  return new StatBuilder()
    .title(title)
    .description(about)
    .unit(unit)
    .datasource(SOURCE)
    .height(4)
    .span(4)
    .noValue("none")
    .graphMode(BigValueGraphMode.None)
    .colorMode(BigValueColorMode.Value)
    .thresholds(new ThresholdsConfigBuilder().mode(ThresholdsMode.Absolute).steps(steps))
    .withTarget(query(expression));
}

function curve(
  { title, about, unit = "short" }: Shown,
  queries: Readonly<Record<string, string>>,
  stacked = false,
): TimeseriesBuilder {
  const panel = new TimeseriesBuilder()
    .title(title)
    .description(about)
    .unit(unit)
    .min(0)
    .datasource(SOURCE)
    .height(8)
    .span(12)
    .fillOpacity(stacked ? 40 : 5);
  if (stacked) panel.stacking(new StackingConfigBuilder().mode(StackingMode.Normal));
  for (const [legend, expression] of Object.entries(queries)) panel.withTarget(query(expression, legend));
  return panel;
}

const quantiles = (metric: string) =>
  Object.fromEntries(
    ["0.5", "0.9", "0.99"].map((quantile) => [
      `${Number(quantile) * 100} % take at most`,
      `histogram_quantile(${quantile}, sum by (le) (rate(${metric}_bucket[$__rate_interval])))`,
    ]),
  );

const since = (metric: string) => `time() - ${metric}`;

/** The dashboard. */
export function makeDashboard(): Dashboard {
  return new DashboardBuilder("Rollbook")
    .uid("rollbook")
    .description(
      "A warehouse of Rollbook: is it exact, is it fresh, what was refused, what did not come. docs/monitoring.md",
    )
    .tags(["rollbook"])
    .timezone("browser")
    .time({ from: "now-7d", to: "now" })
    .refresh("1m")
    .withVariable(new DatasourceVariableBuilder("source").label("Data source").type("prometheus"))
    .withRow(new RowBuilder("Now"))
    .withPanel(figure({ title: "Invoices", about: "What the reports show." }, "rollbook_invoices"))
    .withPanel(
      figure(
        { title: "Last file", about: "Since the last file was loaded that still counts.", unit: "s" },
        since("rollbook_last_load_timestamp_seconds"),
        [DAY, 2 * DAY],
      ),
    )
    .withPanel(
      figure(
        {
          title: "Pending since",
          about: "The oldest change that no refresh has taken. The totals are right all the same.",
          unit: "s",
        },
        since("rollbook_pending_oldest_timestamp_seconds"),
        [600, HOUR],
      ),
    )
    .withPanel(
      figure(
        {
          title: "Oldest proof",
          about: "rollbook verify --slice proves what was not proved for longest.",
          unit: "s",
        },
        "max(time() - rollbook_proof_oldest_timestamp_seconds)",
        [7 * DAY, 14 * DAY],
      ),
    )
    .withPanel(
      figure(
        { title: "Does not verify", about: "Parts in which the last proof found something." },
        "sum(rollbook_proof_diverged_parts)",
        [1, 1],
      ),
    )
    .withPanel(
      figure(
        { title: "Cannot be read", about: "Topics of these metrics." },
        "count(rollbook_topic_ok == 0) or vector(0)",
        [1],
      ),
    )
    .withPanel(
      figure(
        { title: "Silent venues", about: "Silent for longer than their own rhythm explains." },
        "rollbook_silent_venues",
        [1],
      ),
    )
    .withPanel(
      figure(
        { title: "Missing sync dates", about: "Of sources that else come daily." },
        "sum(rollbook_missing_sync_dates)",
        [1],
      ),
    )
    .withPanel(
      figure(
        { title: "Open rejects", about: "Lines that nobody has decided on." },
        "sum(rollbook_open_reject_lines)",
        [1],
      ),
    )
    .withPanel(
      figure(
        { title: "Money in them", about: "As far as it can be read.", unit: "currencyEUR" },
        "sum(abs(rollbook_open_reject_euros))",
        [1000, 10_000],
      ),
    )
    .withPanel(
      figure(
        { title: "Restated groups", about: "Groups of closed periods that have changed." },
        "rollbook_restated_groups",
        [1],
      ),
    )
    .withPanel(
      figure(
        { title: "Stale partitions", about: "To be rebuilt." },
        'rollbook_partitions{state="stale"}',
        [1],
      ),
    )
    .withRow(new RowBuilder("Files"))
    .withPanel(
      curve(
        { title: "Files", about: "Entries of the ledger, by what they were at first." },
        { "{{outcome}} {{source}}": "increase(rollbook_loads_total[$__rate_interval])" },
        true,
      ),
    )
    .withPanel(
      curve(
        { title: "Lines", about: "By what became of them." },
        { "{{outcome}}": "sum by (outcome) (increase(rollbook_rows_total[$__rate_interval]))" },
        true,
      ),
    )
    .withPanel(
      curve(
        { title: "A load takes", about: "From start to commit.", unit: "s" },
        quantiles("rollbook_load_duration_seconds"),
      ),
    )
    .withPanel(
      curve(
        { title: "A refresh takes", about: "Of one partition, without what it waits for.", unit: "s" },
        quantiles("rollbook_refresh_duration_seconds"),
      ),
    )
    .withRow(new RowBuilder("Partitions: the newest that have begun"))
    .withPanel(
      curve(
        { title: "Invoices", about: "What the reports show." },
        { "{{partition}}": "rollbook_partition_invoices" },
      ),
    )
    .withPanel(
      curve(
        { title: "Pending changes", about: "What no refresh has taken." },
        { "{{partition}}": "rollbook_partition_pending_changes" },
      ),
    )
    .withPanel(
      curve(
        { title: "Refreshed", about: "Time since the last refresh.", unit: "s" },
        { "{{partition}}": since("rollbook_partition_refreshed_timestamp_seconds") },
      ),
    )
    .withPanel(
      curve(
        { title: "Proved", about: "Time since the last proof that found nothing.", unit: "s" },
        { "{{partition}}": since("rollbook_partition_proved_timestamp_seconds") },
      ),
    )
    .withRow(new RowBuilder("What was refused, what changed"))
    .withPanel(
      curve(
        { title: "Open rejects by reason", about: "rollbook rejects" },
        { "{{reason}}": "rollbook_open_reject_lines" },
        true,
      ),
    )
    .withPanel(
      curve(
        {
          title: "Restated, in euros",
          about: "By how much closed periods differ from what was certified.",
          unit: "currencyEUR",
        },
        { restated: "rollbook_restated_euros" },
      ),
    )
    .build();
}

/** The text of dashboard.json. */
export function dashboardText(): string {
  return `${JSON.stringify(makeDashboard(), null, 2)}\n`;
}

const FILE = fileURLToPath(new URL("dashboard.json", import.meta.url));

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(FILE, dashboardText());
