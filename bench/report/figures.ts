/** The page's figures: each plot with its caption and legend, or why there is none. */
import type { CellResult, Results } from "../results.ts";
import { type Html, html, trusted } from "./html.ts";
import { MEASURE_NAMES, type Measure, OURS, standing } from "./measures.ts";
import { drawRatios, drawWal } from "./plots/bars.ts";
import { type Frame, type Looks, WIDTHS, type Width } from "./plots/draw.ts";
import { drawLines, findLines } from "./plots/lines.ts";
import { drawPhases, phaseColors, type Stack, stackArm } from "./plots/phases.ts";
import { type Along, findSeries, type Series } from "./series.ts";

export function notMeasured(what: string, why = ""): Html {
  return html`<p class="missing">${what}: not measured. ${why}</p>`;
}

/** Draws once for wide and once for narrow screens; the style sheet shows one of them. */
function figure(title: string, name: string, draw: (frame: Frame) => string | null, legend?: Html): Html {
  const drawn = (Object.keys(WIDTHS) as Width[]).flatMap((width) => {
    const svg = draw({ name: `${name}-${width}`, title, width });
    return svg === null ? [] : [html`<div class="${width}">${trusted(svg)}</div>`];
  });
  if (drawn.length === 0) return notMeasured(title);
  return html`<figure class="plot" id="plot-${name}"><figcaption>${title}</figcaption>${drawn}${legend}</figure>`;
}

/** All series along a size. */
export function showLines(results: Results, looks: Looks, along: Along, measure: Measure): Html {
  const all = findSeries(results, along);
  const title = `${MEASURE_NAMES[measure]} against ${along}`;
  if (all.length === 0) return notMeasured(title, `The run has one size of ${along}.`);
  return html`${all.map((series, index) => {
    const full = `${title.charAt(0).toUpperCase()}${title.slice(1)}: ${series.common}`;
    return showSeries({ series, measure, looks, title: full, name: `${along}-${measure}-${index}` });
  })}`;
}

function showSeries(options: {
  readonly series: Series;
  readonly measure: Measure;
  readonly looks: Looks;
  readonly title: string;
  readonly name: string;
}): Html {
  const { series, measure, looks, title, name } = options;
  const lines = findLines(series, measure);
  if (lines.length === 0) return notMeasured(title, "No arm was right at two sizes.");
  const arms = series.cells.flatMap((result) => result.arms);
  const wrong = new Set(arms.filter((arm) => standing(arm) === "wrong").map((arm) => arm.title));
  const legend = html`<ul class="legend narrow">${lines.map(({ arm }) => {
    const { color, dash } = looks(arm);
    return html`<li><span class="line" style="border-top: 3px ${dash} ${color}"></span>${arm.title}</li>`;
  })}</ul>${wrong.size > 0 && html`<p class="note">Left out, because wrong: ${[...wrong].join("; ")}.</p>`}`;
  const xName = series.along === "history" ? "invoices in the warehouse" : "invoices in the batch";
  const draw = (frame: Frame) => drawLines({ ...frame, lines, xName, yName: "median time", looks });
  return figure(title, name, draw, legend);
}

/** Where the time of ours goes: beside the floors in the main cell, and in every cell. */
export function showPhases(results: Results, main: CellResult | undefined): Html {
  const fast = main?.arms.filter(({ group }) => group === "incremental" || group === "floor") ?? [];
  const byArm = fast.map((arm) => stackArm(arm.title, arm));
  const byCell = results.cells.map(({ cell, arms }) =>
    stackArm(
      cell.id,
      arms.find(({ arm }) => arm === OURS),
    ),
  );
  const show = (name: string, title: string, stacks: readonly Stack[], shares: boolean) =>
    figure(
      title,
      name,
      (frame) => drawPhases({ ...frame, stacks, shares }),
      html`<ul class="legend">${[...phaseColors(stacks)].map(
        ([phase, color]) => html`<li><span class="box" style="background: ${color}"></span>${phase}</li>`,
      )}</ul>`,
    );
  return html`${show("phases-arms", `Phases of ours and of the floors: ${main?.cell.id ?? ""}`, byArm, false)}
${show("phases-cells", "Phases of ours in every cell, as shares of the whole", byCell, true)}`;
}

export function showWal(main: CellResult, looks: Looks): Html {
  const title = `WAL written, median with least and greatest: ${main.cell.id}`;
  return figure(title, "wal", ({ name, width }) => drawWal({ name, result: main, width, looks }));
}

export function showRatios(title: string, name: string, result: CellResult, looks: Looks): Html {
  return figure(title, name, (frame) => drawRatios({ ...frame, result, looks }));
}
