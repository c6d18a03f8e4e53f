/** Rejected lines: those that nobody has decided on, by reason and source, and what was decided. */
import { and, asc, desc, eq, type SQL, type SQLWrapper, sql } from "drizzle-orm";
import * as v from "valibot";
import type { Session } from "../../db/client.ts";
import { dismissedRejects, loadHistory, openRejects } from "../../db/schema.ts";
import { isoInstant } from "../../etl/reports/zone.ts";
import { countOf, type Formats, name, shortName } from "../formats.ts";
import { addressWith, type Html, html, NOTHING } from "../html.ts";
import { sumEuros } from "../money.ts";
import { definePage } from "../page.ts";
import { drawShare } from "../plots/share.ts";
import { inSnapshot } from "../reports.ts";
import { count, date, euros, givenSource, instant, NO_SOURCE } from "../schemas.ts";
import { frameTable } from "../table.ts";
import { isOfSource } from "./loads.ts";

/** Entries of each list. */
const LENGTH = 200;

const query = v.strictObject({
  reason: v.optional(v.pipe(v.string(), v.maxLength(100, "give at most 100 characters"))),
  source: v.optional(givenSource()),
});
type Query = v.InferOutput<typeof query>;

const money = v.pipe(v.nullable(euros()), v.description("Of the totals that could be read."));
const open = v.object({
  load: v.number(),
  file: v.string(),
  source: v.nullable(v.string()),
  syncedOn: v.nullable(date()),
  reason: v.string(),
  column: v.nullable(v.string()),
  lines: count(),
  firstLine: count(),
  firstCell: v.nullable(v.string()),
  total: money,
  remedy: v.nullable(v.string()),
  rejectedAt: v.nullable(instant()),
});
const sum = v.object({ name: v.nullable(v.string()), files: count(), lines: count(), total: euros() });
const decided = v.object({
  load: v.number(),
  file: v.string(),
  outcome: v.picklist(["dismissed", "read again"]),
  reason: v.nullable(v.string()),
  lines: v.pipe(count(), v.description("Dismissed, or taken in.")),
  total: money,
  because: v.nullable(v.string()),
  by: v.nullable(v.string()),
  at: v.nullable(instant()),
});

const answer = v.object({
  byReason: v.array(sum),
  bySource: v.array(sum),
  open: v.pipe(v.array(open), v.description("The newest load first, at most 200.")),
  decided: v.pipe(v.array(decided), v.description("The newest first, at most 200.")),
});
type Answer = v.InferOutput<typeof answer>;

export const quarantine = definePage({
  path: "/quarantine",
  menu: "Quarantine",
  title: "Quarantine",
  isLive: true,
  summary: "Rejected lines that nobody has decided on, by reason and source; and what was decided.",
  query,
  answer,
  read: (asking, given) =>
    inSnapshot(asking, async (db) => ({
      // A reason can be chosen beside a source, and the other way round.
      byReason: await sumBy(db, openRejects.reason, { source: given.source }),
      bySource: await sumBy(db, loadHistory.source, { reason: given.reason }),
      open: await readOpen(db, given),
      decided: await readDecided(db, given),
    })),
  show: (found, { query: given, formats }) => html`
<h1>Quarantine</h1>
<p class="lead">Lines that were refused. They are open until they are read again, or somebody says that they stay out. Money counts as far as it can be read.</p>
${
  found.bySource.length === 0 && !isFiltered(given)
    ? html`<section class="card"><p class="status ok">No line is open.</p></section>`
    : html`<div class="grid">${showSums("Open, by reason", "reason", found.byReason, given, formats)}${showSums("Open, by source", "source", found.bySource, given, formats)}</div>
${showOpen(found, given, formats)}`
}
${showDecided(found, given, formats)}`,
});

function isFiltered({ reason, source }: Query): boolean {
  return reason !== undefined || source !== undefined;
}

function isChosen({ reason, source }: Query): SQL | undefined {
  return and(
    reason === undefined ? undefined : eq(openRejects.reason, reason),
    isOfSource(loadHistory.source, source),
  );
}

async function sumBy(db: Session["db"], name: SQLWrapper, chosen: Query) {
  const r = openRejects;
  return db
    .select({
      name: sql<string | null>`${name}`,
      files: sql`count(distinct ${r.loadId})`.mapWith(Number),
      lines: sql`sum(${r.lines})`.mapWith(Number),
      total: sql<string>`coalesce(sum(${r.total}), 0)::numeric(24, 2)::text`,
    })
    .from(r)
    .innerJoin(loadHistory, eq(loadHistory.loadId, r.loadId))
    .where(isChosen(chosen))
    .groupBy(sql`${name}`)
    .orderBy(desc(sql`sum(${r.lines})`), asc(name));
}

async function readOpen(db: Session["db"], given: Query) {
  const r = openRejects;
  const rows = await db
    .select({
      ...{ load: r.loadId, file: r.fileName, source: loadHistory.source, syncedOn: r.syncedOn },
      ...{ reason: r.reason, column: r.column, lines: r.lines, firstLine: r.firstLine },
      ...{ firstCell: r.firstCell, total: r.total, remedy: r.remedy, rejectedAt: r.rejectedAt },
    })
    .from(r)
    .innerJoin(loadHistory, eq(loadHistory.loadId, r.loadId))
    .where(isChosen(given))
    .orderBy(desc(r.loadId), asc(r.firstLine))
    .limit(LENGTH);
  return rows.map((row) => ({ ...row, rejectedAt: isoInstant(row.rejectedAt) }));
}

async function readDecided(db: Session["db"], { source }: Query): Promise<Answer["decided"]> {
  const d = dismissedRejects;
  const dismissed = await db
    .select()
    .from(d)
    .where(isOfSource(d.source, source))
    .orderBy(desc(d.dismissedAt))
    .limit(LENGTH);
  const retries = await db
    .select()
    .from(loadHistory)
    .where(and(eq(loadHistory.status, "retry"), isOfSource(loadHistory.source, source)))
    .orderBy(desc(loadHistory.loadId))
    .limit(LENGTH);
  const all: Answer["decided"] = [
    ...dismissed.map(({ loadId, fileName, reason, lines, total, because, dismissedBy, dismissedAt }) => ({
      ...{
        load: loadId,
        file: fileName,
        outcome: "dismissed" as const,
        reason,
        lines: lines ?? 0,
        total,
        because,
      },
      ...{ by: dismissedBy, at: isoInstant(dismissedAt) },
    })),
    ...retries.map(({ loadId, fileName, read, rejected, finishedAt }) => ({
      ...{
        load: loadId,
        file: fileName,
        outcome: "read again" as const,
        reason: null,
        lines: read - rejected,
      },
      ...{ total: null, because: null, by: null, at: isoInstant(finishedAt) },
    })),
  ];
  return all.toSorted((a, b) => Date.parse(b.at ?? "") - Date.parse(a.at ?? "")).slice(0, LENGTH);
}

function showSums(
  title: string,
  key: "reason" | "source",
  sums: Answer["byReason"],
  given: Query,
  formats: Formats,
): Html {
  const most = Math.max(...sums.map(({ lines }) => lines), 1);
  const chosen = given[key];
  return html`<section class="card"><h2>${title}</h2>${frameTable(
    title,
    html`<th>${key === "reason" ? "Reason" : "Source"}</th><th></th><th class="number">Lines</th><th class="number">Files</th><th class="number">Money</th>`,
    sums.map(({ name: found, lines, files, total }) => {
      const value = found ?? NO_SOURCE;
      const address = addressWith("/quarantine", { ...given, [key]: chosen === value ? undefined : value });
      const label = found === null ? "drop format" : name(found);
      return html`<tr><th scope="row"><a href="${address}"${chosen === value ? html` aria-current="true"` : NOTHING}>${label}</a></th>
<td>${drawShare(lines / most, "red")}</td><td class="number">${formats.count(lines)}</td><td class="number">${formats.count(files)}</td><td class="number">${formats.euros(total)}</td></tr>`;
    }),
  )}</section>`;
}

function showOpen({ open: found }: Answer, given: Query, formats: Formats): Html {
  const totals = found.flatMap(({ total }) => (total === null ? [] : [total]));
  const lines = found.reduce((sum, { lines }) => sum + lines, 0);
  return html`<section class="card"><h2>${countOf(formats, lines, "open line")}, ${formats.euros(sumEuros(totals))} at stake</h2>
${isFiltered(given) ? html`<p><a href="/quarantine">Show all</a></p>` : NOTHING}
${frameTable(
  "Open lines",
  html`<th class="number">Load</th><th>File</th><th>Reason</th><th class="number">Lines</th><th class="number">First</th><th>What stands there</th><th class="number">Money</th><th>What to do</th>`,
  found.map(
    (one) => html`<tr><td class="number"><a href="/loads/${one.load}">${one.load}</a></td>
<td class="file">${shortName(one.file)}</td><td><code>${one.reason}</code>${one.column === null ? NOTHING : html`<br><span class="muted small">in ${one.column}</span>`}</td>
<td class="number">${formats.count(one.lines)}</td><td class="number">${formats.count(one.firstLine)}</td>
<td class="file"><code>${shortName(one.firstCell ?? "")}</code></td>
<td class="number">${one.total === null ? html`<span class="muted">unknown</span>` : formats.euros(one.total)}</td>
<td class="remedy">${name(one.remedy ?? "")}${showCommands(one.load)}</td></tr>`,
  ),
)}</section>`;
}

function showCommands(load: number): Html {
  return html`<details class="commands"><summary>Commands</summary>
<pre>rollbook rejects --load ${load}</pre>
<pre>rollbook rejects retry --load ${load} inbox</pre>
<pre>rollbook rejects dismiss --load ${load} --because "why"</pre></details>`;
}

function showDecided({ decided: found }: Answer, { source }: Query, formats: Formats): Html {
  if (found.length === 0) return NOTHING;
  return html`<section class="card"><h2>Decided${source === undefined ? "" : ", of this source"}</h2>
${frameTable(
  "Decided",
  html`<th class="number">Load</th><th>File</th><th>What</th><th>Reason</th><th class="number">Lines</th><th class="number">Money</th><th>Because</th><th>By</th><th>When</th>`,
  found.map(
    (
      one,
    ) => html`<tr><td class="number"><a href="/loads/${one.load}">${one.load}</a></td><td class="file">${shortName(one.file)}</td>
<td class="nowrap">${one.outcome}</td><td>${one.reason === null ? "" : html`<code>${one.reason}</code>`}</td><td class="number">${formats.count(one.lines)}</td>
<td class="number">${one.total === null ? "" : formats.euros(one.total)}</td><td class="remedy">${name(one.because ?? "")}</td>
<td>${name(one.by ?? "")}</td><td class="nowrap">${formats.instant(one.at)}</td></tr>`,
  ),
)}</section>`;
}
