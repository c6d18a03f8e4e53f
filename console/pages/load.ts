/** A load: what became of its lines, where they went, how late they were, and how to take it back. */
import { and, asc, eq, gte, inArray, lt, or, type SQL, sql } from "drizzle-orm";
import * as v from "valibot";
import type { Session } from "../../db/client.ts";
import { RollbookError } from "../../db/errors.ts";
import { LOAD_STATUSES, partitionFreshness, restatingLoads } from "../../db/schema.ts";
import { type ListedLoad, readLoads } from "../../etl/reports/loads.ts";
import { countOf, type Formats, name, shortName } from "../formats.ts";
import { type Html, html, NOTHING } from "../html.ts";
import { sumEuros } from "../money.ts";
import { type Asking, definePage } from "../page.ts";
import { BINS, binOf, drawLateness } from "../plots/lateness.ts";
import { drawOutcome, linesSchema, listOutcome } from "../plots/outcome.ts";
import { drawShare } from "../plots/share.ts";
import { inSnapshot } from "../reports.ts";
import { count, date, euros, instant, loadNumber } from "../schemas.ts";
import { frameTable } from "../table.ts";
import { showStatus } from "./loads.ts";

const reason = v.object({
  reason: v.string(),
  column: v.nullable(v.string()),
  lines: count(),
  firstLine: count(),
  firstCell: v.pipe(
    v.nullable(v.string()),
    v.description("At most 200 characters of the first cell at fault."),
  ),
  total: v.pipe(v.nullable(euros()), v.description("Of the totals that could be read.")),
  remedy: v.nullable(v.string()),
});

const change = { invoices: count(), total: euros() };

const answer = v.object({
  load: v.number(),
  file: v.string(),
  status: v.picklist(LOAD_STATUSES),
  suspicious: v.array(v.string()),
  syncedOn: v.nullable(date()),
  source: v.nullable(v.string()),
  venue: v.nullable(v.string()),
  bytes: v.nullable(count()),
  sha256: v.nullable(v.string()),
  startedAt: instant(),
  finishedAt: v.nullable(instant()),
  knownAt: v.pipe(v.nullable(instant()), v.description("From when on the totals show it.")),
  lines: linesSchema,
  skipped: count(),
  absent: count(),
  removed: count(),
  error: v.nullable(v.object({ code: v.string(), message: v.string() })),
  retryOf: v.nullable(v.number()),
  undoOf: v.nullable(v.number()),
  because: v.nullable(v.string()),
  decidedBy: v.nullable(v.string()),
  undoneBy: v.nullable(v.object({ load: v.number(), because: v.string(), decidedBy: v.string() })),
  phases: v.pipe(v.array(v.object({ phase: v.string(), ms: v.number() })), v.description("In their order.")),
  partitions: v.pipe(
    v.array(v.object({ partition: v.string(), groups: count(), ...change })),
    v.description("Those in which it changed a count or a total, and by how much."),
  ),
  lateness: v.pipe(
    v.array(v.object({ days: v.string(), invoices: count() })),
    v.description("Invoices that it added, by days from their creation to its sync date."),
  ),
  restated: v.pipe(
    v.array(v.object({ closing: v.number(), period: v.string(), groups: count(), ...change })),
    v.description("Closed periods that it has changed."),
  ),
  reasons: v.array(reason),
});
type Answer = v.InferOutput<typeof answer>;

export const load = definePage({
  path: "/loads/:load",
  title: ({ load: number, file }) => `Load ${number}: ${name(file)}`,
  summary: "One load: what became of the lines of its file, and what it changed.",
  query: v.strictObject({ load: loadNumber() }),
  answer,
  read: async (asking, { load: loadId }) => {
    const [found] = await readLoads({ ...asking, loadId, limit: 1 });
    if (found === undefined)
      throw new RollbookError({
        code: "not_found",
        message: `There is no load ${loadId}. The ledger lists all.`,
      });
    return { ...describe(found), ...(await readChanges(asking, found)) };
  },
  show: (answer, { formats }) => html`
<h1>${name(answer.file)}</h1>
<p class="lead">Load ${answer.load} ${showStatus({ ...answer, suspicious: answer.suspicious.length > 0, error: null })}</p>
${showNotices(answer)}
<section class="card"><h2>What became of ${countOf(formats, answer.lines.read, "line")}</h2>
${drawOutcome(answer.lines, formats, "tall")}${
  answer.lines.read === 0 ? html`<p class="muted">No line counts.</p>` : listOutcome(answer.lines, formats)
}</section>
${showReasons(answer, formats)}
<div class="grid">
<section class="card"><h2>Facts</h2>${showFacts(answer, formats)}</section>
${showPhases(answer, formats)}
${showLateness(answer, formats)}
${showRestated(answer, formats)}
</div>
${showPartitions(answer, formats)}
${showUndo(answer)}`,
});

function describe(found: ListedLoad) {
  const { loadId, fileName, venueId, errorCode, errorMessage, undoneBy, timings, reasons } = found;
  const { read, inserted, corrected, unchanged, superseded, rejected, summed, voided } = found;
  const { status, suspicious, syncedOn, source, bytes, sha256, startedAt, finishedAt, knownAt } = found;
  const { skipped, absent, removed, retryOf, undoOf, because, decidedBy } = found;
  return {
    ...{
      load: loadId,
      file: fileName,
      venue: venueId,
      status,
      suspicious: [...suspicious],
      syncedOn,
      source,
    },
    ...{ bytes, sha256, startedAt, finishedAt, knownAt, skipped, absent, removed, retryOf, undoOf },
    ...{ because, decidedBy },
    lines: { read, inserted, corrected, unchanged, superseded, rejected, summed, voided },
    error: errorCode === null ? null : { code: errorCode, message: errorMessage ?? "" },
    undoneBy: undoneBy && { load: undoneBy.loadId, because: undoneBy.because, decidedBy: undoneBy.decidedBy },
    phases: PHASES.flatMap((phase) => {
      const ms = timings[phase];
      return ms === undefined ? [] : [{ phase, ms }];
    }),
    reasons: reasons.map(({ count: lines, line, cell, total, ...one }) => ({
      ...{ reason: one.reason, column: one.column, lines, firstLine: line, firstCell: cell, total },
      remedy: one.remedy,
    })),
  };
}

/** In the order in which a load goes through them. */
const PHASES = ["hash", "claim", "insert", "stage", "prepare", "merge", "commit"] as const;

async function readChanges(asking: Asking, { loadId, partitions }: ListedLoad) {
  return inSnapshot(asking, async (db) => {
    const touched = await db
      .select({
        partition: partitionFreshness.partition,
        lower: partitionFreshness.lower,
        upper: partitionFreshness.upper,
      })
      .from(partitionFreshness)
      .where(inArray(partitionFreshness.partition, [...partitions]))
      .orderBy(asc(partitionFreshness.lower));
    const days = touched.length === 0 ? [] : await readDays(db, loadId, touched);
    const restated = await db
      .select({
        closing: restatingLoads.closing,
        period: restatingLoads.period,
        groups: sql<number>`count(*)::int`,
        invoices: sql`sum(${restatingLoads.invoices})`.mapWith(Number),
        total: sql<string>`sum(${restatingLoads.total})::numeric(24, 2)::text`,
      })
      .from(restatingLoads)
      .where(eq(restatingLoads.loadId, loadId))
      .groupBy(restatingLoads.closing, restatingLoads.period)
      .orderBy(asc(restatingLoads.closing));
    const lateness = BINS.map(({ label }) => ({ days: label, invoices: 0 }));
    for (const { late, invoices } of days) {
      const bin = late === null ? undefined : lateness[binOf(late)];
      if (bin !== undefined) bin.invoices += invoices;
    }
    return { partitions: sumByPartition(days, touched), lateness, restated };
  });
}

interface Range {
  readonly partition: string;
  readonly lower: string;
  readonly upper: string;
}

interface Day {
  readonly createdOn: string;
  readonly late: number | null;
  readonly groups: number;
  readonly invoices: number;
  readonly total: string;
}

/** What the load changed, by creation date. The ranges keep all other partitions out of the plan. */
async function readDays(
  db: Session["db"],
  loadId: number,
  ranges: readonly Range[],
): Promise<readonly Day[]> {
  const createdOn = sql`c.created_on`;
  const inRanges = or(
    ...ranges.map(({ lower, upper }) => and(gte(createdOn, lower), lt(createdOn, upper))),
  ) as SQL;
  const { rows } = await db.execute<{
    createdOn: string;
    late: number | null;
    groups: number;
    invoices: string;
    total: string;
  }>(sql`
    select c.created_on as "createdOn", c.synced_on - c.created_on as late, count(*)::int as groups,
           sum(c.invoices) as invoices, sum(c.total)::numeric(24, 2)::text as total
    from reports.venue_daily_changes c
    where c.load_id = ${loadId} and (${inRanges})
    group by c.created_on, c.synced_on
    order by c.created_on`);
  return rows.map((day) => ({ ...day, invoices: Number(day.invoices) }));
}

function sumByPartition(days: readonly Day[], ranges: readonly Range[]) {
  return ranges.map(({ partition, lower, upper }) => {
    const own = days.filter(({ createdOn }) => createdOn >= lower && createdOn < upper);
    return {
      partition,
      groups: own.reduce((sum, { groups }) => sum + groups, 0),
      invoices: own.reduce((sum, { invoices }) => sum + invoices, 0),
      total: sumEuros(own.map(({ total }) => total)),
    };
  });
}

const SUSPICIONS: Readonly<Record<string, string>> = {
  one_reason: "all refused lines have the same reason",
  much_money: "the refused lines hold more than a hundredth of the money",
  one_day_after_sync: "the refused lines are of one day after the sync date",
};

function showNotices(answer: Answer): Html {
  const { error, suspicious, undoneBy, undoOf, because, decidedBy, retryOf } = answer;
  const why = suspicious.map((one) => SUSPICIONS[one] ?? one).join("; ");
  return html`${
    error === null
      ? NOTHING
      : html`<p class="notice bad"><code>${error.code}</code> ${name(error.message)}</p>`
  }${suspicious.length === 0 ? NOTHING : html`<p class="notice">Suspicious: ${why}.</p>`}${
    undoneBy === null
      ? NOTHING
      : html`<p class="notice">Taken back by <a href="/loads/${undoneBy.load}">load ${undoneBy.load}</a>: ${name(undoneBy.because)} (${name(undoneBy.decidedBy)})</p>`
  }${
    undoOf === null
      ? NOTHING
      : html`<p class="notice">Takes back <a href="/loads/${undoOf}">load ${undoOf}</a>: ${name(because ?? "")} (${name(decidedBy ?? "")})</p>`
  }${
    retryOf === null
      ? NOTHING
      : html`<p class="notice">Reads rejected lines of <a href="/loads/${retryOf}">load ${retryOf}</a> again.</p>`
  }`;
}

function showFacts(answer: Answer, formats: Formats): Html {
  const { startedAt, finishedAt, bytes, sha256, source, venue } = answer;
  const fact = (label: string, value: Html | string | null) =>
    value === null || value === "" ? NOTHING : html`<dt>${label}</dt><dd>${value}</dd>`;
  const counted = (label: string, value: number) => fact(label, value === 0 ? null : formats.count(value));
  return html`<dl class="facts">
${fact("Synced on", answer.syncedOn)}
${fact("Known from", answer.knownAt === null ? null : formats.instant(answer.knownAt))}
${fact("Started", formats.instant(startedAt))}
${fact("Took", finishedAt === null ? "not finished" : formats.duration(Date.parse(finishedAt) - Date.parse(startedAt)))}
${fact("Size", bytes === null ? null : formats.bytes(bytes))}
${fact("Source", source === null ? null : name(source))}
${fact("Venue of all lines", venue === null ? null : name(venue))}
${counted("Records left out", answer.skipped)}
${counted("Invoices taken out", answer.absent + answer.removed)}
${fact("SHA-256", sha256 === null ? null : html`<code>${sha256}</code>`)}
</dl>`;
}

function showPhases({ phases }: Answer, formats: Formats): Html {
  const most = Math.max(...phases.map(({ ms }) => ms), 1);
  if (phases.length === 0) return NOTHING;
  return html`<section class="card"><h2>Phases</h2><table><thead class="hidden"><tr><th>Phase</th><th>Share</th><th>Time</th></tr></thead><tbody>${phases.map(
    ({ phase, ms }) =>
      html`<tr><th scope="row">${phase}</th><td class="wide-cell">${drawShare(ms / most)}</td><td class="number">${formats.duration(ms)}</td></tr>`,
  )}</tbody></table></section>`;
}

function showLateness({ lateness }: Answer, formats: Formats): Html {
  if (lateness.every(({ invoices }) => invoices === 0)) return NOTHING;
  return html`<section class="card"><h2>Invoices by days from creation to sync</h2>
${drawLateness(
  lateness.map(({ invoices }) => invoices),
  formats,
)}</section>`;
}

function showRestated({ restated }: Answer, formats: Formats): Html {
  if (restated.length === 0) return NOTHING;
  return html`<section class="card wide"><h2>Closed periods that it has changed</h2>
${frameTable(
  "Closed periods",
  html`<th>Period</th><th class="number">Groups</th><th class="number">Invoices</th><th class="number">Total</th>`,
  restated.map(
    ({ period, groups, invoices, total }) =>
      html`<tr><th scope="row">${period}</th><td class="number">${formats.count(groups)}</td><td class="number">${formats.signed(invoices)}</td><td class="number">${formats.change(total)}</td></tr>`,
  ),
)}
<p class="small muted">For the books: <code>rollbook restated ${restated[0]?.period}</code></p></section>`;
}

function showReasons({ reasons }: Answer, formats: Formats): Html {
  if (reasons.length === 0) return NOTHING;
  return html`<section class="card"><h2>Rejected lines</h2>
${frameTable(
  "Rejected lines",
  html`<th>Reason</th><th>Column</th><th class="number">Lines</th><th class="number">First</th><th>What stands there</th><th class="number">Money</th><th>What to do</th>`,
  reasons.map(
    (one) => html`<tr>
<td><code>${one.reason}</code></td><td>${one.column ?? ""}</td>
<td class="number">${formats.count(one.lines)}</td><td class="number">${formats.count(one.firstLine)}</td>
<td class="file"><code>${shortName(one.firstCell ?? "")}</code></td>
<td class="number">${one.total === null ? html`<span class="muted">unknown</span>` : formats.euros(one.total)}</td>
<td class="remedy">${name(one.remedy ?? "")}</td></tr>`,
  ),
)}</section>`;
}

/** Partitions that are listed; what a backfill has touched besides is added up. */
const LISTED = 40;

function showPartitions({ partitions }: Answer, formats: Formats): Html {
  if (partitions.length === 0) return NOTHING;
  const rest = partitions.length - LISTED;
  return html`<section class="card"><h2>Partitions that it changed</h2>
${frameTable(
  "Partitions",
  html`<th>Partition</th><th class="number">Groups</th><th class="number">Invoices</th><th class="number">Total</th>`,
  partitions
    .slice(-LISTED)
    .map(
      ({ partition, groups, invoices, total }) =>
        html`<tr><th scope="row">${partition}</th><td class="number">${formats.count(groups)}</td><td class="number">${formats.signed(invoices)}</td><td class="number">${formats.change(total)}</td></tr>`,
    ),
)}${rest > 0 ? html`<p class="muted">And ${formats.count(rest)} older ones.</p>` : NOTHING}</section>`;
}

function showUndo({ load: number, status }: Answer): Html {
  if (status !== "loaded" && status !== "undo") return NOTHING;
  return html`<section class="card"><h2>Take it back</h2>
<p>Nothing can be changed here. See first what would go, change and stay; then the totals are as if it had never come.</p>
<pre>rollbook undo ${number} --dry-run</pre>
<pre>rollbook undo ${number} --because "why"</pre></section>`;
}
