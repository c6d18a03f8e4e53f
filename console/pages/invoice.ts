/** An invoice: what stands, what it was before, and the lines of the files that said so. */
import { and, asc, eq, inArray } from "drizzle-orm";
import * as v from "valibot";
import type { Session } from "../../db/client.ts";
import { addDays } from "../../db/dates.ts";
import { RollbookError } from "../../db/errors.ts";
import { loadHistory, type ReportedLoad, reportedCorrections, reportedInvoices } from "../../db/schema.ts";
import { isoInstant } from "../../etl/reports/zone.ts";
import { type Formats, name, shortName } from "../formats.ts";
import { type Html, html, NOTHING } from "../html.ts";
import { type Asking, definePage } from "../page.ts";
import { inSnapshot } from "../reports.ts";
import { date, euros, givenDate, givenInvoice, givenVenue, instant } from "../schemas.ts";
import { frameTable } from "../table.ts";
import { showAfter } from "./total.ts";
import { explainAddress } from "./totals.ts";

/** Of an invoice that was corrected more often the newest corrections and files are shown. */
const MOST = { corrections: 50, files: 8 } as const;

const query = v.strictObject({ venue: givenVenue(), date: givenDate(), invoice: givenInvoice() });
type Query = v.InferOutput<typeof query>;

const OUTCOMES = ["read", "missing", "other_source", "too_large", "unreadable", "no_archive"] as const;

const file = v.object({
  load: v.number(),
  file: v.string(),
  syncedOn: v.nullable(date()),
  outcome: v.picklist(OUTCOMES),
  path: v.pipe(v.nullable(v.string()), v.description("Where the file is, below the inbox.")),
  lines: v.array(v.object({ line: v.number(), text: v.string() })),
});

const answer = v.object({
  stands: v.pipe(
    v.nullable(v.object({ createdAt: instant(), total: euros(), load: v.number() })),
    v.description("Null where it was taken out, or its partition is detached or dropped."),
  ),
  corrections: v.array(
    v.object({
      load: v.number(),
      knownAt: instant(),
      undone: v.boolean(),
      oldLoad: v.number(),
      oldTotal: euros(),
      newTotal: v.nullable(euros()),
    }),
  ),
  files: v.pipe(
    v.array(file),
    v.description("The files of these loads, the newest first, with their lines of the invoice."),
  ),
});
type Answer = v.InferOutput<typeof answer>;

export const invoice = definePage({
  path: "/totals/invoices/:invoice",
  title: "An invoice",
  summary: "An invoice: what stands, what it was before, and the lines of the files that said so.",
  query,
  answer,
  read: async (asking, given) => {
    const { stands, corrections, loads } = await inSnapshot(asking, (db) => readHistory(db, given));
    // The files are read when the warehouse is not waited for any more.
    const files = await Promise.all(loads.map((load) => readFile(asking, given, load)));
    return { stands, corrections, files };
  },
  show: ({ stands, corrections, files }, { query: given, formats }) => html`
<h1>Invoice <span class="id">${given.invoice}</span></h1>
<p class="lead">Of <a href="${explainAddress({ venue: given.venue, from: given.date, to: addDays(given.date, 1) })}">${shortName(given.venue)}, ${given.date}</a></p>
<section class="card"><h2>What stands</h2>${
    stands === null
      ? html`<p class="muted">Nothing: it was taken out, or its partition is detached or dropped.</p>`
      : html`<p class="figure">${formats.euros(stands.total)} <small>euros, created ${formats.instant(stands.createdAt)}, as <a href="/loads/${stands.load}">load ${stands.load}</a> says</small></p>`
  }</section>
${corrections.length === 0 ? NOTHING : showHistory(corrections, formats)}
<section class="card"><h2>What the files say</h2>${files.map(showFile)}</section>`,
});

async function readHistory(db: Session["db"], { venue, date: on, invoice: id }: Query) {
  const of = reportedInvoices;
  const [found] = await db
    .select({ createdAt: of.createdAt, total: of.total, load: of.loadId })
    .from(of)
    .where(and(eq(of.createdOn, on), eq(of.venueId, venue), eq(of.invoiceId, id)));
  const was = reportedCorrections;
  const rows = await db
    .select({
      load: was.loadId,
      knownAt: was.knownAt,
      undone: was.undone,
      oldLoad: was.oldLoadId,
      oldTotal: was.oldTotal,
      newTotal: was.newTotal,
    })
    .from(was)
    .where(and(eq(was.createdOn, on), eq(was.venueId, venue), eq(was.invoiceId, id)))
    .orderBy(asc(was.knownAt));
  if (found === undefined && rows.length === 0)
    throw new RollbookError({
      code: "not_found",
      message: `no invoice ${id} stands, or stood, for this venue and ${on}. Another date or venue may have it.`,
    });
  const corrections = rows
    .slice(-MOST.corrections)
    .map((row) => ({ ...row, knownAt: isoInstant(row.knownAt) }));
  const loads = await readLoads(db, [
    ...(found === undefined ? [] : [found.load]),
    ...corrections.flatMap(({ load, oldLoad }) => [load, oldLoad]),
  ]);
  const stands = found === undefined ? null : { ...found, createdAt: isoInstant(found.createdAt) };
  return { stands, corrections, loads };
}

async function readLoads(db: Session["db"], numbers: readonly number[]): Promise<readonly ReportedLoad[]> {
  const newest = [...new Set(numbers)].toSorted((a, b) => b - a).slice(0, MOST.files);
  const found = await db.select().from(loadHistory).where(inArray(loadHistory.loadId, newest));
  return found.toSorted((a, b) => b.loadId - a.loadId);
}

async function readFile(
  asking: Asking,
  given: Query,
  load: ReportedLoad,
): Promise<v.InferOutput<typeof file>> {
  const { venue, invoice: invoiceId } = given;
  const read =
    asking.readLines === undefined
      ? { outcome: "no_archive" as const, path: null, lines: [] }
      : await asking.readLines({ settings: asking.settings, load, venue, invoiceId, signal: asking.signal });
  return { load: load.loadId, file: load.fileName, syncedOn: load.syncedOn, ...read, lines: [...read.lines] };
}

function showHistory(corrections: Answer["corrections"], formats: Formats): Html {
  return html`<section class="card"><h2>What it was before</h2>${frameTable(
    "What it was before",
    html`<th>Known at</th><th class="number">Load</th><th class="number">Before</th><th class="number">As load</th><th class="number">After</th><th class="number">Change</th>`,
    corrections.map(
      (row) =>
        html`<tr><td class="nowrap">${formats.instant(row.knownAt)}</td><td class="number">${row.load}${row.undone ? html` <span class="muted">(undone)</span>` : NOTHING}</td><td class="number">${formats.euros(row.oldTotal)}</td><td class="number">${row.oldLoad}</td>${showAfter(row, formats)}</tr>`,
    ),
  )}</section>`;
}

const WHY: Readonly<Record<(typeof OUTCOMES)[number], string>> = {
  read: "No line of it is about this invoice.",
  missing: "The archive does not have this file.",
  other_source: "The source that read it is not there any more, cannot be read, or has another text now.",
  too_large: "The file is too large to be read for a page.",
  unreadable: "The file cannot be read.",
  no_archive: "The console was not told where the files are: rollbook serve --inbox FOLDER",
};

function showFile({ load, file: of, syncedOn, outcome, path, lines }: Answer["files"][number]): Html {
  const where =
    path === null || path === of ? NOTHING : html` <span class="muted small">${name(path)}</span>`;
  return html`<h3><a href="/loads/${load}">Load ${load}</a>: ${shortName(of)}${syncedOn === null ? "" : `, synced on ${syncedOn}`}${where}</h3>${
    lines.length === 0
      ? html`<p class="muted">${WHY[outcome]}</p>`
      : lines.map(
          ({ line, text }) => html`<p class="small muted line">Line ${line}</p><pre>${name(text)}</pre>`,
        )
  }`;
}
