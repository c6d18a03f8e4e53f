/** What the overview looks like. */
import { countOf, type Formats, monthName, name } from "../formats.ts";
import { addressWith, type Html, html, NOTHING } from "../html.ts";
import { growthOf } from "../money.ts";
import type { View } from "../page.ts";
import { drawCalendar } from "../plots/calendar.ts";
import { frameTable } from "../table.ts";
import { showLoads } from "./loads.ts";
import { monthsBefore } from "./months.ts";
import type { Overview } from "./overview_answer.ts";

export function showOverview(answer: Overview, { formats }: View<unknown>): Html {
  const { newest, loads } = answer;
  return html`
<h1 class="hidden">Overview</h1>
${newest === null ? showEmpty(answer) : NOTHING}
<div class="grid">
${showMonth(answer, formats)}
${showFreshness(answer, formats)}
${showRejects(answer, formats)}
</div>
${showYear(answer, formats)}
<div class="grid">
${showClosings(answer, formats)}
${showSilence(answer, formats)}
${showProofs(answer, formats)}
</div>
<section class="card"><h2>Last loads</h2>${
    loads.length === 0
      ? html`<p class="muted">None yet.</p>`
      : html`${showLoads(loads, formats)}<p><a href="/loads">All loads</a></p>`
  }</section>`;
}

function showEmpty({ loads }: Overview): Html {
  return html`<p class="notice">${
    loads.length === 0
      ? html`Nothing is loaded yet. Load a file: <code>rollbook load FILE</code>`
      : "No invoice is in the totals yet. The loads say why."
  }</p>`;
}

function showMonth({ compared }: Overview, formats: Formats): Html {
  if (compared === null)
    return html`<section class="card"><h2>This month</h2><p class="muted">No invoices.</p></section>`;
  const { newest, before, yearBefore } = compared;
  const days = (span: typeof newest) =>
    span.from === span.to
      ? `${Number(span.to.slice(8))} ${monthName(span.from)}`
      : `1–${Number(span.to.slice(8))} ${monthName(span.from)}`;
  const against = (span: typeof newest) => html`<tr><th scope="row">${days(span)}</th>
<td class="number">${formats.euros(span.total)}</td><td class="number">${showGrowth(newest.total, span.total, formats)}</td></tr>`;
  return html`<section class="card"><h2>${days(newest)}</h2>
<p class="figure">${formats.euros(newest.total)} <small>${countOf(formats, newest.invoices, "invoice")}</small></p>
<table><caption class="hidden">Against the same days before</caption>
<thead class="hidden"><tr><th>Days</th><th>Total</th><th>Growth since</th></tr></thead>
<tbody>${against(before)}${against(yearBefore)}</tbody></table></section>`;
}

function showGrowth(now: string, before: string, formats: Formats): Html {
  const growth = growthOf(now, before);
  if (growth === null) return html`<span class="muted">–</span>`;
  return html`<span class="${growth < 0 ? "bad" : "good"}">${formats.growth(growth)}</span>`;
}

function showFreshness({ freshness }: Overview, formats: Formats): Html {
  const { invoices, partitions, pendingChanges, pendingPartitions, stalePartitions } = freshness;
  return html`<section class="card"><h2>Freshness</h2>
<p class="figure">${
    pendingChanges === 0
      ? html`<span class="status ok">up to date</span>`
      : html`${formats.count(pendingChanges)} <small>${pendingChanges === 1 ? "change" : "changes"} pending in ${countOf(formats, pendingPartitions, "partition")}</small>`
  }</p>
<dl class="facts">
<dt>Newest load</dt><dd>${formats.ago(freshness.newestKnownAt)}</dd>
<dt>Last refresh</dt><dd>${formats.ago(freshness.refreshedAt)}</dd>
<dt>Holds</dt><dd>${countOf(formats, invoices, "invoice")} in <a href="/partitions">${countOf(formats, partitions, "partition")}</a></dd>
</dl>${
    stalePartitions === 0
      ? NOTHING
      : html`<p class="notice">${countOf(formats, stalePartitions, "partition")} to be rebuilt: <code>rollbook refresh</code></p>`
  }<p class="small muted">The totals are exact also while changes are pending.</p></section>`;
}

function showRejects({ openRejects }: Overview, formats: Formats): Html {
  const { files, lines, total } = openRejects;
  return html`<section class="card"><h2>Rejected lines to decide on</h2>${
    lines === 0
      ? html`<p class="figure"><span class="status ok">none</span></p>`
      : html`<p class="figure">${formats.count(lines)} <small>of ${countOf(formats, files, "file")}</small></p>
<dl class="facts"><dt>Money at stake</dt><dd>${formats.euros(total)} <span class="muted">as far as it can be read</span></dd></dl>
<p><a href="/quarantine">Quarantine</a></p>`
  }</section>`;
}

function showYear({ months, days, today, newest }: Overview, formats: Formats): Html {
  const [first, last] = [months[0]?.month ?? "", months.at(-1)?.month ?? ""];
  const shown = newest?.slice(0, 7) ?? last;
  return html`<section class="card"><h2>${monthName(first)} to ${monthName(last)}</h2>
${drawCalendar({ months, days, today, formats })}
<nav class="pages" aria-label="Other years">${days.length === 0 ? NOTHING : html`<a href="${addressWith("/", { until: monthsBefore(last, 12) })}">Year before</a>`}${
    last < shown ? html`<a href="/">Newest</a>` : NOTHING
  }</nav></section>`;
}

function showClosings({ closings }: Overview, formats: Formats): Html {
  return html`<section class="card"><h2>Closed periods</h2>${
    closings === null
      ? html`<p class="muted">Being counted; reload in a moment.</p>`
      : closings.length === 0
        ? html`<p class="muted">None is closed. <code>rollbook close 2026-10</code> certifies what a month was.</p>`
        : html`${frameTable(
            "Closed periods",
            html`<th>Period</th><th class="number">Total when closed</th><th class="number">Changed since</th>`,
            closings.map(
              ({ period, total, changedGroups, changedTotal }) =>
                html`<tr><th scope="row">${period}</th><td class="number">${formats.euros(total)}</td><td class="number wraps">${
                  changedGroups === 0
                    ? html`<span class="muted">nothing</span>`
                    : html`<span class="warn">${formats.change(changedTotal)}</span> <span class="muted small nowrap">${countOf(formats, changedGroups, "group")}</span>`
                }</td></tr>`,
            ),
          )}<p><a href="/closings">Restatements and closings</a></p>`
  }</section>`;
}

function showSilence({ silence }: Overview, formats: Formats): Html {
  if (silence === null)
    return html`<section class="card"><h2>Silent venues</h2><p class="muted">Being counted; reload in a moment. <code>rollbook silent</code> counts, too.</p></section>`;
  const { silent, missing, venues } = silence;
  return html`<section class="card"><h2>Silent venues</h2>
<p class="figure">${silent === 0 ? html`<span class="status ok">none</span>` : formats.count(silent)}</p>
${silent === 0 ? NOTHING : html`<p>${venues.map(name).join(", ")}${silent > venues.length ? ", …" : ""}</p>`}
<p class="small muted">${
    missing === 0 ? "" : html`${countOf(formats, missing, "sync date")} without a file. `
  }Who has sent nothing for longer than its own rhythm: <code>rollbook silent</code></p></section>`;
}

function showProofs({ proofs: { oldest, never, diverged } }: Overview, formats: Formats): Html {
  const [first] = diverged;
  const figure =
    first !== undefined
      ? html`<span class="status wrong">${countOf(formats, diverged.length, "part")} diverged</span>`
      : oldest?.provedAt == null
        ? html`<span class="status">${oldest === null ? "nothing to prove" : "not all proved"}</span>`
        : html`<span class="status ok">proved</span>`;
  return html`<section class="card"><h2>Proof</h2><p class="figure">${figure}</p>
<dl class="facts">${
    oldest?.provedAt == null
      ? NOTHING
      : html`<dt>Oldest</dt><dd>${formats.ago(oldest.provedAt)} <span class="muted">${name(oldest.name)}</span></dd>`
  }${never === 0 ? NOTHING : html`<dt>Never</dt><dd>${countOf(formats, never, "part")}</dd>`}${
    first === undefined
      ? NOTHING
      : html`<dt>Diverged</dt><dd>${name(first.name)}, ${formats.ago(first.divergedAt)}</dd>`
  }</dl><p class="small muted"><code>rollbook verify</code> proves that the totals equal the invoices.</p></section>`;
}
