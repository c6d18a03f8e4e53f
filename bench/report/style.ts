import { WIDTHS } from "./plots/draw.ts";

/** Plots have two widths. From 390 pixels on none is scaled down, so that its text stays legible. */
export const STYLE = `
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0; background: #f4f6f8; color: #1f2933; \
font: 16px/1.5 system-ui, "DejaVu Sans", sans-serif; overflow-wrap: break-word; }
main { max-width: ${WIDTHS.wide + 80}px; margin: 0 auto; padding: 24px 16px; }
h1 { margin: 0; font-size: 30px; line-height: 1.2; }
h2 { margin: 0 0 12px; font-size: 22px; line-height: 1.3; }
h3 { margin: 28px 0 4px; font-size: 17px; line-height: 1.3; }
p { margin: 0 0 12px; }
.lead { margin: 6px 0 12px; color: #52606d; }
.note { color: #52606d; font-size: 14px; }
nav { display: flex; flex-wrap: wrap; gap: 4px 16px; margin-bottom: 16px; }
a { color: #0067a5; }
section { margin: 0 0 20px; padding: 20px 24px; background: #fff; border: 1px solid #d9dee4; border-radius: 8px; }
.sentences { margin: 0 0 12px; padding-left: 20px; }
.sentences li { margin-bottom: 6px; }
.missing { padding: 10px 14px; border-left: 4px solid #9aa5b1; background: #f4f6f8; }
figure { margin: 12px 0 24px; }
figcaption { margin-bottom: 8px; font-weight: 600; }
figure svg { display: block; max-width: 100%; height: auto; }
.narrow { display: none; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 8px 0; padding: 0; list-style: none; font-size: 13px; }
.legend.narrow { display: none; }
.legend .line { display: inline-block; width: 28px; margin-right: 6px; vertical-align: middle; }
.legend .box { display: inline-block; width: 12px; height: 12px; margin-right: 6px; vertical-align: -1px; }
.scroll { max-width: 100%; overflow-x: auto; }
.scroll:focus-visible { outline: 2px solid #0067a5; }
table { border-collapse: collapse; font-size: 13px; line-height: 1.4; font-variant-numeric: tabular-nums; }
table.numbers td { white-space: nowrap; }
th, td { padding: 5px 12px 5px 0; border-bottom: 1px solid #e4e7eb; text-align: left; vertical-align: top; }
th { color: #52606d; font-weight: 600; min-width: 70px; }
details { margin: 8px 0; }
summary { cursor: pointer; color: #0067a5; }
.met, .missed, .wrong-totals, .not-measured { white-space: nowrap; }
.met { color: #00694f; font-weight: 600; }
.missed, .wrong, .wrong-totals { color: #b42318; font-weight: 600; }
.not-measured { color: #52606d; }
@media (max-width: 1049px) {
  .wide { display: none; }
  .narrow { display: block; }
  .legend.narrow { display: flex; }
}
@media (max-width: 600px) {
  main { padding: 16px 6px; }
  section { padding: 16px 10px; }
  h1 { font-size: 25px; }
  table.targets, table.targets thead, table.targets tbody { display: block; }
  table.targets tr { display: grid; grid-template-columns: 7em 1fr 7.5em; border-bottom: 1px solid #e4e7eb; }
  table.targets th, table.targets td { border: 0; min-width: 0; }
  table.targets th:first-child, table.targets td:first-child { grid-column: 1 / -1; padding-bottom: 0; }
}
@media print { details > * { display: block; } section { break-inside: avoid-page; } }
`;
