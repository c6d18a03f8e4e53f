/** The ledger: every load, newest first, and what became of its lines. */
import { and, desc, eq, ilike, isNull, lt, type SQL } from "drizzle-orm";
import * as v from "valibot";
import { type dismissedRejects, LOAD_STATUSES, type LoadStatus, loadHistory } from "../../db/schema.ts";
import { isoInstant } from "../../etl/reports/zone.ts";
import { type Formats, name, shortName } from "../formats.ts";
import { addressWith, type Html, html, NOTHING } from "../html.ts";
import { type Asking, definePage } from "../page.ts";
import { drawOutcome, linesSchema } from "../plots/outcome.ts";
import { inSnapshot } from "../reports.ts";
import { date, givenSource, instant, loadNumber, NO_SOURCE } from "../schemas.ts";
import { frameTable } from "../table.ts";

/** Loads of one page. */
const LENGTH = 50;

const query = v.strictObject({
  status: v.optional(v.picklist(LOAD_STATUSES)),
  source: v.optional(givenSource()),
  file: v.optional(v.pipe(v.string(), v.maxLength(255, "give at most 255 characters"))),
  /** Only older ones. */
  before: v.optional(loadNumber()),
});

type Query = v.InferOutput<typeof query>;

export const listedLoad = v.object({
  load: v.number(),
  file: v.string(),
  source: v.nullable(v.string()),
  syncedOn: v.nullable(date()),
  status: v.picklist(LOAD_STATUSES),
  suspicious: v.boolean(),
  lines: linesSchema,
  startedAt: instant(),
  finishedAt: v.nullable(instant()),
  error: v.nullable(v.string()),
});
export type ListedLoad = v.InferOutput<typeof listedLoad>;

const answer = v.object({
  loads: v.array(listedLoad),
  sources: v.pipe(
    v.nullable(v.array(v.string())),
    v.description("Names of all sources of the ledger. Null as long as they are being looked for."),
  ),
  next: v.pipe(v.nullable(v.number()), v.description("`before` of the next page; null on the last one.")),
});

/** What of the ledger a list shows. */
export const LEDGER_COLUMNS = {
  load: loadHistory.loadId,
  file: loadHistory.fileName,
  source: loadHistory.source,
  syncedOn: loadHistory.syncedOn,
  status: loadHistory.status,
  suspicious: loadHistory.suspicious,
  startedAt: loadHistory.startedAt,
  finishedAt: loadHistory.finishedAt,
  error: loadHistory.errorCode,
  lines: {
    read: loadHistory.read,
    inserted: loadHistory.inserted,
    corrected: loadHistory.corrected,
    unchanged: loadHistory.unchanged,
    superseded: loadHistory.superseded,
    rejected: loadHistory.rejected,
    summed: loadHistory.summed,
    voided: loadHistory.voided,
  },
};

export function describeListed<
  Row extends {
    readonly suspicious: readonly unknown[];
    readonly startedAt: string;
    readonly finishedAt: string | null;
  },
>(row: Row) {
  return {
    ...row,
    suspicious: row.suspicious.length > 0,
    startedAt: isoInstant(row.startedAt),
    finishedAt: isoInstant(row.finishedAt),
  };
}

export const loads = definePage({
  path: "/loads",
  menu: "Loads",
  title: "Loads",
  isLive: true,
  summary: "Every load, the newest first, and what became of the lines of its file.",
  query,
  answer,
  read: async (asking, { status, source, file, before }) => {
    const listed = await inSnapshot(asking, async (db) => {
      const rows = await db
        .select(LEDGER_COLUMNS)
        .from(loadHistory)
        .where(
          and(
            status && eq(loadHistory.status, status),
            isOfSource(loadHistory.source, source),
            file === undefined ? undefined : ilike(loadHistory.fileName, `%${escapeLike(file)}%`),
            before === undefined ? undefined : lt(loadHistory.loadId, before),
          ),
        )
        .orderBy(desc(loadHistory.loadId))
        .limit(LENGTH + 1);
      const found = rows.slice(0, LENGTH).map(describeListed);
      return { loads: found, next: rows.length > LENGTH ? (found.at(-1)?.load ?? null) : null };
    });
    return { ...listed, sources: await recallSources(asking) };
  },
  show: ({ loads: found, sources, next }, { query: given, formats }) => html`
<h1>Loads</h1>
<p class="lead">What was loaded, the newest first. Each file is one transaction.</p>
${showFilter(given, sources ?? [])}
<section class="card">${
    found.length === 0
      ? html`<p class="muted">${
          given.status === undefined && given.source === undefined && given.file === undefined
            ? html`Nothing is loaded yet. Load a file: <code>rollbook load FILE</code>`
            : "No load is like that."
        }</p>`
      : showLoads(found, formats)
  }</section>
<nav class="pages" aria-label="Further loads">${
    given.before === undefined
      ? NOTHING
      : html`<a href="${addressWith("/loads", { ...given, before: undefined })}">Newest</a>`
  }${next === null ? NOTHING : html`<a href="${addressWith("/loads", { ...given, before: next })}" rel="next">Older</a>`}</nav>`,
});

/** Whether a row is of the source that an address names. */
export function isOfSource(
  column: typeof loadHistory.source | typeof dismissedRejects.source,
  source: string | undefined,
): SQL | undefined {
  if (source === undefined) return undefined;
  return source === NO_SOURCE ? isNull(column) : eq(column, source);
}

/** Which sources there are is found in the whole ledger. */
async function recallSources({ database, memory }: Asking): Promise<string[] | null> {
  const found = await memory.recall("sources", () =>
    inSnapshot({ database }, async (db) => {
      const rows = await db.selectDistinct({ source: loadHistory.source }).from(loadHistory);
      return rows.flatMap(({ source }) => source ?? []).toSorted();
    }),
  );
  return found?.value ?? null;
}

/** What LIKE takes for a pattern stands for itself. */
function escapeLike(text: string): string {
  return text.replace(/[\\%_]/g, "\\$&");
}

function showFilter({ status, source, file }: Query, sources: readonly string[]): Html {
  // One that the ledger does not know stands in the address all the same.
  const named = source === undefined || source === NO_SOURCE ? sources : [...new Set([...sources, source])];
  return html`<form class="filter" action="/loads">
<label>File name contains<input name="file" maxlength="255" value="${file ?? ""}"></label>
<label>Status<select name="status"><option value="">any</option>${LOAD_STATUSES.map(
    (one) => html`<option${isSelected(one === status)}>${one}</option>`,
  )}</select></label>
${
  named.length === 0 && source === undefined
    ? NOTHING
    : html`<label>Source<select name="source"><option value="">any</option><option value="${NO_SOURCE}"${isSelected(source === NO_SOURCE)}>drop format</option>${named.map(
        (one) => html`<option value="${one}"${isSelected(one === source)}>${name(one)}</option>`,
      )}</select></label>`
}
<button>Show</button>
</form>`;
}

function isSelected(chosen: boolean): Html {
  return chosen ? html` selected` : NOTHING;
}

/** A table of loads; other pages show some, too. */
export function showLoads(found: readonly ListedLoad[], formats: Formats): Html {
  const bySource = found.some(({ source }) => source !== null);
  return frameTable(
    "Loads",
    html`<th class="number">Load</th><th>File</th><th>Synced on</th>${
      bySource ? html`<th>Source</th>` : NOTHING
    }<th>Status</th><th>Lines</th><th class="number">Read</th><th class="number">Rejected</th><th>Finished</th><th class="number">Took</th>`,
    found.map(
      (load) => html`<tr>
<td class="number"><a href="/loads/${load.load}">${load.load}</a></td>
<td class="file"><a href="/loads/${load.load}">${shortName(load.file)}</a></td>
<td class="nowrap">${load.syncedOn ?? ""}</td>
${bySource ? html`<td>${name(load.source ?? "")}</td>` : NOTHING}
<td>${showStatus(load)}</td>
<td>${drawOutcome(load.lines, formats)}</td>
<td class="number">${formats.count(load.lines.read)}</td>
<td class="number">${load.lines.rejected === 0 ? html`<span class="muted">0</span>` : formats.count(load.lines.rejected)}</td>
<td class="nowrap">${formats.instant(load.finishedAt)}</td>
<td class="number">${tookOf(load, formats)}</td>
</tr>`,
    ),
  );
}

function tookOf({ startedAt, finishedAt }: ListedLoad, formats: Formats): string {
  return finishedAt === null ? "" : formats.duration(Date.parse(finishedAt) - Date.parse(startedAt));
}

const LOOKS: Readonly<Record<LoadStatus, string>> = {
  loaded: "ok",
  retry: "ok",
  undo: "",
  undone: "",
  repair: "",
  rejected: "wrong",
  failed: "wrong",
};

export function showStatus(load: Pick<ListedLoad, "status" | "suspicious" | "error">): Html {
  const { status, suspicious, error } = load;
  if (suspicious) return html`<span class="status attention">${status}, suspicious</span>`;
  return html`<span class="status ${LOOKS[status]}">${status}${
    error === null ? "" : html`<br><span class="muted small">${error}</span>`
  }</span>`;
}
