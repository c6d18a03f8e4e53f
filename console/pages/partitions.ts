/** The partitions, as a timeline: how large each is, how fresh, and what an operator should do. */
import { inArray } from "drizzle-orm";
import * as v from "valibot";
import { PARTITION_STATES, partitionSizes } from "../../db/schema.ts";
import { type Freshness, readStatus } from "../../etl/reports/status.ts";
import { countOf, type Formats, name } from "../formats.ts";
import { addressWith, type Html, html, NOTHING } from "../html.ts";
import { definePage } from "../page.ts";
import { drawShare } from "../plots/share.ts";
import { drawTimeline } from "../plots/timeline.ts";
import { inSnapshot } from "../reports.ts";
import { count, date, euros, instant } from "../schemas.ts";
import { frameTable } from "../table.ts";

/** Partitions of one page. */
const LENGTH = 60;

const partition = v.object({
  partition: v.string(),
  from: date(),
  to: v.pipe(date(), v.description("First creation date after it.")),
  state: v.picklist(PARTITION_STATES),
  invoices: v.pipe(count(), v.description("Of the rollup; what is pending is not among them.")),
  total: euros(),
  bytes: v.pipe(count(), v.description("What its tables take on the disk.")),
  refreshedAt: v.nullable(instant()),
  pendingChanges: count(),
  pendingInvoices: count(),
  pendingTotal: euros(),
  provedAt: v.pipe(v.nullable(instant()), v.description("When the last proof began that found nothing.")),
  divergedAt: v.pipe(
    v.nullable(instant()),
    v.description("When the last proof began, if it found something."),
  ),
});
export type ShownPartition = v.InferOutput<typeof partition>;

const answer = v.object({
  partitions: v.pipe(v.array(partition), v.description("The newest first.")),
  all: count(),
  next: v.pipe(v.nullable(date()), v.description("`before` of the next page; null on the last one.")),
  warnings: v.pipe(v.array(v.string()), v.description("What an operator should act on.")),
});

export const partitions = definePage({
  path: "/partitions",
  menu: "Partitions",
  title: "Partitions",
  isLive: true,
  summary:
    "The partitions, the newest first: size, state, freshness, what is pending; and what an operator should act on.",
  query: v.strictObject({
    /** Only those that begin before this date. */
    before: v.optional(date()),
  }),
  answer,
  read: async (asking, { before }) => {
    const { partitions: all, warnings } = await readStatus({ ...asking, lastLoads: 1 });
    const older = all.filter(({ lower }) => before === undefined || lower < before).toReversed();
    const shown = older.slice(0, LENGTH);
    const names = shown.map((one) => one.partition);
    const sizes = await inSnapshot(asking, (db) =>
      db.select().from(partitionSizes).where(inArray(partitionSizes.partition, names)),
    );
    const bytes = new Map(sizes.map((one) => [one.partition, one.bytes]));
    return {
      partitions: shown.map((one) => describe(one, bytes.get(one.partition) ?? 0)),
      all: all.length,
      next: older.length > LENGTH ? (shown.at(-1)?.lower ?? null) : null,
      warnings: [...warnings],
    };
  },
  show: (answer, { query, formats }) => html`
<h1>Partitions</h1>
<p class="lead">${countOf(formats, answer.all, "partition")}. Each holds the invoices of a range of creation dates, with its rollup.</p>
${answer.warnings.map((warning) => html`<p class="notice">${name(warning)}</p>`)}
${
  answer.partitions.length === 0
    ? html`<section class="card"><p class="muted">None yet: a load makes those that it needs.</p></section>`
    : html`<section class="card"><h2>Invoices</h2>${drawTimeline(answer.partitions, formats)}</section>
<section class="card">${showTable(answer.partitions, formats)}</section>`
}
<nav class="pages" aria-label="Further partitions">${
    query.before === undefined ? NOTHING : html`<a href="/partitions">Newest</a>`
  }${answer.next === null ? NOTHING : html`<a href="${addressWith("/partitions", { before: answer.next })}" rel="next">Older</a>`}</nav>`,
});

function describe(found: Freshness, bytes: number): ShownPartition {
  const { lower, upper, rollupInvoices, rollupTotal, state, refreshedAt } = found;
  const { pendingChanges, pendingInvoices, pendingTotal, provedAt, divergedAt } = found;
  return {
    ...{
      partition: found.partition,
      from: lower,
      to: upper,
      state,
      invoices: rollupInvoices,
      total: rollupTotal,
    },
    ...{ bytes, refreshedAt, pendingChanges, pendingInvoices, pendingTotal, provedAt, divergedAt },
  };
}

const LOOKS = { open: "ok", stale: "attention", detached: "", dropped: "" } as const;

function showTable(shown: readonly ShownPartition[], formats: Formats): Html {
  const largest = Math.max(...shown.map(({ bytes }) => bytes), 1);
  return html`${frameTable(
    "Partitions",
    html`<th>Partition</th><th>State</th><th class="number">Invoices</th><th class="number">Total</th><th>Size</th><th class="number">On disk</th><th class="number">Pending</th><th class="number">Pending total</th><th>Refreshed</th><th>Proved</th>`,
    shown.map(
      (one) => html`<tr><th scope="row" class="nowrap">${one.partition}</th>
<td><span class="status ${LOOKS[one.state]}">${one.state}</span></td>
<td class="number">${formats.count(one.invoices)}</td><td class="number">${formats.euros(one.total)}</td>
<td>${drawShare(one.bytes / largest, "grey")}</td><td class="number">${formats.bytes(one.bytes)}</td>
<td class="number">${one.pendingChanges === 0 ? html`<span class="muted">0</span>` : formats.count(one.pendingChanges)}</td>
<td class="number">${one.pendingChanges === 0 ? "" : formats.change(one.pendingTotal)}</td>
<td class="nowrap">${formats.ago(one.refreshedAt)}</td>
<td class="nowrap">${showProof(one, formats)}</td></tr>`,
    ),
  )}
<p class="small muted">What is pending is in the totals already; <code>rollbook refresh</code> takes it into the rollup, which keeps them fast.</p>`;
}

function showProof({ provedAt, divergedAt }: ShownPartition, formats: Formats): Html {
  if (divergedAt !== null) return html`<span class="status wrong">diverged ${formats.ago(divergedAt)}</span>`;
  return provedAt === null ? html`<span class="muted">never</span>` : formats.ago(provedAt);
}
