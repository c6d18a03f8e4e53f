/** What is watched of a warehouse, as text for Prometheus. However often it is asked for, its cost has a bound. */
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import { type Database, withTransaction } from "../db/client.ts";
import { type Metric, TOPICS, type Topic } from "../etl/reports/metrics.ts";
import { REST } from "./limits.ts";

export interface Metrics {
  readonly contentType: string;
  /** The text. Calls at the same time share what is read. */
  readonly read: () => Promise<string>;
}

export interface MetricsOptions {
  /** Of a login that may read the schema `reports`; one query runs at a time. */
  readonly database: Database;
  /** A topic is read again after so long at the earliest; default 10 seconds. */
  readonly keepMs?: number;
  /** And after so many times what reading it took, so that it takes a 20th of the time at most. */
  readonly rest?: number;
  /** What takes longer to read comes with a later call; until then what was read before is shown. Default 5 seconds. */
  readonly waitMs?: number;
  /** A query that takes longer is given up; default 60 seconds. */
  readonly statementTimeoutMs?: number;
  readonly topics?: readonly Topic[];
  /** Ends the query that is running. */
  readonly signal?: AbortSignal | undefined;
}

/** What is known of a topic. */
interface Known {
  metrics: readonly Metric[];
  /** When it was read, and how long that took; in milliseconds of performance.now(). */
  readAt: number | undefined;
  tookMs: number;
  triedAt: number | undefined;
  ok: boolean;
}

const KEEP_MS = 10_000;
const WAIT_MS = 5000;
const STATEMENT_TIMEOUT_MS = 60_000;

/** Makes the text from what is read, topic by topic, and kept for a while. */
export function openMetrics(options: MetricsOptions): Metrics {
  const { keepMs = KEEP_MS, rest = REST, waitMs = WAIT_MS, topics = TOPICS } = options;
  const known = new Map<Topic, Known>(
    topics.map((topic) => [
      topic,
      { metrics: [], readAt: undefined, triedAt: undefined, tookMs: 0, ok: false },
    ]),
  );
  let reading: Promise<void> | undefined;
  const isDue = ({ triedAt, tookMs }: Known) =>
    triedAt === undefined || performance.now() - triedAt >= Math.max(keepMs, rest * tookMs);
  const readDue = async () => {
    for (const [topic, of] of known) if (isDue(of)) await readTopic(options, topic, of);
  };
  return {
    contentType: Registry.PROMETHEUS_CONTENT_TYPE,
    read: async () => {
      reading ??= readDue().finally(() => {
        reading = undefined;
      });
      await within(reading, waitMs);
      return render(known);
    },
  };
}

async function readTopic(
  { database, signal, statementTimeoutMs = STATEMENT_TIMEOUT_MS }: MetricsOptions,
  topic: Topic,
  known: Known,
): Promise<void> {
  const started = performance.now();
  try {
    known.metrics = await withTransaction({ database, signal, isolation: "repeatable read" }, async (tx) => {
      await tx.client.query(`set local statement_timeout = ${statementTimeoutMs}`);
      return topic.read(tx);
    });
    known.readAt = started;
    known.ok = true;
  } catch {
    // The series say that it failed. What was read before is older than that, so it is shown no longer.
    known.metrics = [];
    known.ok = false;
  }
  known.triedAt = performance.now();
  known.tookMs = known.triedAt - started;
}

async function within(work: Promise<void>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([work, timeout]).finally(() => clearTimeout(timer));
}

async function render(known: ReadonlyMap<Topic, Known>): Promise<string> {
  const registry = new Registry();
  const all = [
    ...TOPIC_GAUGES.map((gauge) => gaugeOf(gauge, known)),
    ...[...known.values()].flatMap((of) => of.metrics),
  ];
  for (const metric of all) register(registry, metric);
  return registry.metrics();
}

/** What is said of the topics themselves; undefined: nothing. */
const TOPIC_GAUGES: readonly {
  readonly name: string;
  readonly help: string;
  readonly value: (known: Known) => number | undefined;
}[] = [
  {
    name: "rollbook_topic_ok",
    help: "Whether the topic could be read when that was last tried; 0 also before the first time.",
    value: ({ ok }) => Number(ok),
  },
  {
    name: "rollbook_topic_age_seconds",
    help: "How old what is shown of the topic is.",
    value: ({ readAt, ok }) =>
      readAt === undefined || !ok ? undefined : (performance.now() - readAt) / 1000,
  },
  {
    name: "rollbook_topic_read_seconds",
    help: "How long it took to read the topic.",
    value: ({ tookMs, triedAt }) => (triedAt === undefined ? undefined : tookMs / 1000),
  },
];

function gaugeOf(
  { name, help, value }: (typeof TOPIC_GAUGES)[number],
  known: ReadonlyMap<Topic, Known>,
): Metric {
  const samples = [...known].flatMap(([{ name: topic }, of]) => {
    const number = value(of);
    return number === undefined ? [] : [{ labels: { topic }, value: number }];
  });
  return { type: "gauge", name, help, labels: ["topic"], samples };
}

function register(registry: Registry, metric: Metric): void {
  if (metric.type === "histogram") {
    registry.registerMetric(counted(metric));
    return;
  }
  const { type, name, help, labels: labelNames, samples } = metric;
  const Series = type === "gauge" ? Gauge : Counter;
  const series = new Series({ name, help, labelNames, registers: [registry] });
  // A gauge without labels begins with 0, which is not "there is none".
  if (type === "gauge" && labelNames.length === 0) series.remove();
  for (const { labels, value } of samples) series.inc(labels, value);
}

/** A histogram of what others have counted. prom-client's own takes one observation at a time. */
function counted(metric: Metric & { readonly type: "histogram" }): Histogram {
  const { name, help, buckets, sum } = metric;
  const histogram = new Histogram({ name, help, registers: [] });
  let count = 0;
  const values = buckets.map(({ upTo, count: within }) => {
    count += within;
    return {
      metricName: `${name}_bucket`,
      labels: { le: upTo === Number.POSITIVE_INFINITY ? "+Inf" : upTo },
      value: count,
    };
  });
  const get = async () => ({
    name,
    help,
    type: "histogram",
    aggregator: "sum",
    values: [
      ...values,
      { metricName: `${name}_sum`, labels: {}, value: sum },
      { metricName: `${name}_count`, labels: {}, value: count },
    ],
  });
  // The registry asks for the second, if there is one.
  return Object.assign(histogram, { get, getForPromString: get });
}
