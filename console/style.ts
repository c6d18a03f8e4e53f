/** How it looks: one style sheet and one icon, under names that change with them. */
import { createHash } from "node:crypto";

/** Contrasts are at least 4.5 to 1 in both themes; the tests look. */
export const STYLE = `
:root {
  color-scheme: light dark;
  --ground: #f6f7f8; --surface: #ffffff; --ink: #1a222b; --muted: #55616d; --line: #dfe3e7; --faint: #eceff2;
  --link: #0b57a4; --focus: #0b57a4; --good: #17683f; --warn: #855000; --bad: #a8261c;
  --warn-ground: #fff5e0; --bad-ground: #fdeceb;
  --blue: #2b6cb0; --orange: #d97706; --grey: #b3bcc5; --violet: #8b7bb8; --red: #c2410c; --teal: #2a9d8f; --pink: #b8588f;
  --step-0: #e9edf1; --step-1: #cfe1f2; --step-2: #93c0e4; --step-3: #4f97cf; --step-4: #1f69ad; --step-5: #0a3d75;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #101419; --surface: #171c23; --ink: #e3e8ed; --muted: #9ba7b3; --line: #2a323b; --faint: #1f262e;
    --link: #8ac0f5; --focus: #8ac0f5; --good: #6fcf97; --warn: #f0b357; --bad: #ff9b90;
    --warn-ground: #2c2311; --bad-ground: #321817;
    --blue: #5b9bd8; --orange: #e79b3c; --grey: #5d6974; --violet: #a796d6; --red: #f0764a; --teal: #4fbfb0; --pink: #d987b3;
    --step-0: #222a32; --step-1: #16324e; --step-2: #1c5586; --step-3: #2f7fbd; --step-4: #66aee3; --step-5: #c4e2fa;
  }
}
*, *::before, *::after { box-sizing: border-box; }
html { font: 14px/1.45 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; background: var(--ground); color: var(--ink); }
body { margin: 0; min-height: 100vh; display: flex; flex-direction: column; font-variant-numeric: tabular-nums; }
a { color: var(--link); text-decoration: none; }
a:hover { text-decoration: underline; }
p a, h3 a, dd a, .notice a { text-decoration: underline; }
:focus-visible { outline: 2px solid var(--focus); outline-offset: 2px; border-radius: 2px; }
main:focus { outline: none; }
.skip { position: absolute; left: -999px; }
.skip:focus { left: 8px; top: 8px; background: var(--surface); padding: 4px 8px; z-index: 1; }
.top { background: var(--surface); border-bottom: 1px solid var(--line); display: flex; align-items: baseline; gap: 4px 24px; padding: 0 max(24px, 50% - 696px); flex-wrap: wrap; }
.brand { font-weight: 650; color: var(--ink); padding: 12px 0; letter-spacing: -0.01em; }
.top nav ul { display: flex; flex-wrap: wrap; gap: 0 20px; list-style: none; margin: 0; padding: 0; }
.top nav a { display: block; padding: 12px 0 10px; color: var(--muted); border-bottom: 2px solid transparent; }
.top nav a[aria-current] { color: var(--ink); border-bottom-color: var(--blue); }
main { flex: 1; width: 100%; max-width: 1440px; margin: 0 auto; padding: 20px 24px 40px; }
footer { color: var(--muted); font-size: 12px; padding: 12px 24px 20px; display: flex; flex-wrap: wrap; gap: 4px 24px; max-width: 1440px; width: 100%; margin: 0 auto; }
h1 { font-size: 20px; line-height: 1.25; font-weight: 650; margin: 0 0 4px; letter-spacing: -0.01em; overflow-wrap: anywhere; }
h2 { font-size: 14px; font-weight: 650; margin: 0 0 10px; }
h3 { font-size: 13px; font-weight: 600; margin: 14px 0 4px; }
p { margin: 0 0 10px; max-width: 78ch; }
.lead { color: var(--muted); margin-bottom: 16px; }
.muted, .muted a { color: var(--muted); }
.small { font-size: 12px; }
.good { color: var(--good); } .warn { color: var(--warn); } .bad { color: var(--bad); }
.notice { background: var(--warn-ground); border-left: 3px solid var(--warn); padding: 8px 12px; max-width: 90ch; overflow-wrap: anywhere; }
.notice.bad { background: var(--bad-ground); border-left-color: var(--bad); color: var(--ink); }
.card { background: var(--surface); border: 1px solid var(--line); border-radius: 6px; padding: 14px 16px; margin-bottom: 16px; min-width: 0; }
.card > :last-child { margin-bottom: 0; }
.grid { display: grid; gap: 16px; grid-template-columns: repeat(auto-fit, minmax(min(100%, 300px), 1fr)); margin-bottom: 16px; }
.grid > .card { margin-bottom: 0; }
.wide { grid-column: 1 / -1; }
.scroll { overflow-x: auto; }
.card > .scroll { margin-left: -16px; margin-right: -16px; padding: 0 16px; }
.scroll:focus-visible { outline-offset: -2px; }
table { border-collapse: collapse; width: 100%; }
caption { text-align: left; color: var(--muted); font-size: 12px; padding-bottom: 6px; }
th { text-align: left; font-weight: 500; color: var(--muted); font-size: 12px; white-space: nowrap; padding: 0 10px 6px; vertical-align: bottom; border-bottom: 1px solid var(--line); }
tbody th { color: inherit; font-size: inherit; font-weight: inherit; }
td, tbody th { padding: 6px 10px; border-bottom: 1px solid var(--faint); vertical-align: top; }
tbody tr:last-child > * { border-bottom: 0; }
tbody tr:hover > * { background: var(--faint); }
th:first-child, td:first-child { padding-left: 0; } th:last-child, td:last-child { padding-right: 0; }
.number { text-align: right; white-space: nowrap; }
.nowrap { white-space: nowrap; } .wraps { white-space: normal; }
.file { overflow-wrap: anywhere; min-width: 25ch; }
.status { white-space: nowrap; }
.status::before { content: ""; display: inline-block; width: 8px; height: 8px; border-radius: 50%; margin-right: 6px; background: var(--grey); }
.status.ok::before { background: var(--good); } .status.attention::before { background: var(--orange); border-radius: 1px; } .status.wrong::before { background: var(--bad); border-radius: 1px; transform: rotate(45deg); }
form.filter { display: flex; flex-wrap: wrap; gap: 8px 12px; align-items: end; margin-bottom: 16px; }
form.filter label { display: grid; gap: 2px; font-size: 12px; color: var(--muted); }
input, select, button { font: inherit; font-size: 14px; color: var(--ink); background: var(--surface); border: 1px solid #87919b; border-radius: 4px; padding: 5px 8px; height: 34px; max-width: 100%; }
button { cursor: pointer; font-weight: 550; }
button:hover { background: var(--faint); }
code, pre { font: 12.5px/1.5 ui-monospace, "SF Mono", Menlo, "DejaVu Sans Mono", monospace; }
pre { background: var(--faint); border-radius: 4px; padding: 8px 10px; margin: 4px 0 10px; white-space: pre-wrap; overflow-wrap: anywhere; user-select: all; }
td code { background: var(--faint); padding: 1px 4px; border-radius: 3px; overflow-wrap: anywhere; }
dl.facts { display: grid; grid-template-columns: max-content 1fr; gap: 4px 16px; margin: 0; }
dl.facts dt { color: var(--muted); } dl.facts dd { margin: 0; overflow-wrap: anywhere; min-width: 0; }
.figure { font-size: 24px; line-height: 1.2; font-weight: 600; letter-spacing: -0.02em; }
.figure small { font-size: 13px; font-weight: 400; color: var(--muted); letter-spacing: 0; }
.pages { display: flex; flex-wrap: wrap; gap: 8px 16px; margin-top: 12px; }
svg { display: block; }
svg.bar { width: 100%; min-width: 90px; max-width: 260px; height: 10px; margin-top: 5px; }
svg.bar.tall { max-width: none; height: 18px; margin: 4px 0 10px; }
ul.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 2px 16px; margin: 0; padding: 0; font-size: 12px; color: var(--muted); }
ul.legend li { display: flex; align-items: center; gap: 6px; white-space: nowrap; }
ul.legend svg { width: 10px; height: 10px; flex: none; }
.fill-blue { fill: var(--blue); } .fill-orange { fill: var(--orange); } .fill-grey { fill: var(--grey); } .fill-violet { fill: var(--violet); }
.fill-red { fill: var(--red); } .fill-teal { fill: var(--teal); } .fill-pink { fill: var(--pink); } .fill-faint { fill: var(--faint); }
.plot { width: 100%; height: auto; }
.plot text { font: 12px system-ui, "DejaVu Sans", sans-serif; }
.card { container-type: inline-size; }
.plot.middle, .plot.narrow { display: none; }
@container (max-width: 840px) { .plot.wide { display: none; } .plot.middle { display: block; } }
@container (max-width: 480px) { .plot.middle { display: none; } .plot.narrow { display: block; } }
.calendar { display: grid; grid-template-columns: repeat(12, 1fr); gap: 12px 16px; margin-bottom: 12px; }
@container (max-width: 1000px) { .calendar { grid-template-columns: repeat(6, 1fr); } }
@container (max-width: 560px) { .calendar { grid-template-columns: repeat(3, 1fr); } }
.calendar h3 { margin: 0 0 4px; } .calendar .number { font-size: 12px; padding-top: 4px; text-align: left; }
.calendar svg { width: 100%; max-width: 112px; }
.step-1 { fill: var(--step-1); } .step-2 { fill: var(--step-2); } .step-3 { fill: var(--step-3); } .step-4 { fill: var(--step-4); } .step-5 { fill: var(--step-5); }
.day-none { fill: none; stroke: var(--line); } .day-negative { fill: var(--surface); stroke: var(--bad); stroke-width: 1.5; }
.lead .status { margin-left: 12px; }
td > code { white-space: nowrap; } td.file > code { white-space: normal; }
.wide-cell { width: 60%; }
.remedy { min-width: 28ch; }
.scroll + p, table + p, dl + p { margin-top: 10px; }
.commands summary { cursor: pointer; color: var(--link); white-space: nowrap; }
table.short { max-width: 760px; }
thead a { color: inherit; } th[aria-sort] a { color: var(--ink); font-weight: 600; }
tfoot tr > * { border-bottom: 0; }
tfoot td, tfoot th { border-top: 1px solid var(--line); color: inherit; font-weight: 600; font-size: inherit; padding: 6px 10px; }
td.id { white-space: nowrap; }
.id { font: 12.5px/1.5 ui-monospace, "SF Mono", Menlo, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
.key { overflow-wrap: anywhere; min-width: 9ch; }
ul.legend + .scroll { margin-top: 12px; }
.beside { margin-left: auto; }
ul.plain { list-style: none; margin: 0; padding: 0; } ul.plain li { padding: 3px 0; }
.live { position: fixed; right: 16px; bottom: 16px; z-index: 1; margin: 0; padding: 8px 12px; background: var(--surface); border: 1px solid var(--line); border-radius: 6px; box-shadow: 0 2px 8px #0003; }
.hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
@media (max-width: 640px) {
  .top, main, footer { padding-left: 14px; padding-right: 14px; }
  .top nav ul { gap: 0 16px; } .brand { padding: 10px 0 0; width: 100%; } .top nav a { padding: 6px 0 8px; }
  td, tbody th { padding: 6px 8px; } th { padding: 0 8px 6px; }
}
@media (prefers-reduced-motion: no-preference) { html { scroll-behavior: smooth; } }
@media print { .top nav, footer, form.filter, .live { display: none; } .card { break-inside: avoid; } }
`;

export const ICON = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16" rx="3" fill="#0a3d75"/><path d="M3 11h2v2H3zM7 7h2v6H7zM11 3h2v10h-2z" fill="#fff"/></svg>`;

/** The path of a file that a browser may keep for ever: it changes with the text. */
export function nameByHash(name: string, text: string, ending: string): string {
  return `/${name}-${createHash("sha256").update(text).digest("hex").slice(0, 12)}.${ending}`;
}

export const STYLE_PATH = nameByHash("style", STYLE, "css");
export const ICON_PATH = nameByHash("icon", ICON, "svg");
