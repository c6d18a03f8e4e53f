/** What a file looks like to a load: for people as a list and tables, for programs as an object. */
import { COLUMNS } from "../drop/row.ts";
import { printable } from "../escape.ts";
import type { DayTotal } from "../inspect/day_totals.ts";
import type { Inspection, InspectProgress } from "../inspect/inspect.ts";
import { describeReason } from "../load/reasons.ts";
import { describeSuspicions } from "../load/suspicion.ts";
import { countOf, formatBytes, formatCount, formatEuros, shorten } from "./format.ts";
import type { Description } from "./progress.ts";
import { formatTable } from "./table.ts";

export function jsonInspection(file: string, inspection: Inspection): unknown {
  const { refusal, dialect, syncDate, ...rest } = inspection;
  return {
    file,
    outcome: refusal === null ? "taken" : "rejected",
    ...(refusal && { error: { code: refusal.code, message: refusal.message } }),
    delimiter: dialect?.delimiter ?? null,
    header: dialect?.header ?? null,
    syncedOn: syncDate?.date ?? null,
    syncedOnFrom: syncDate && describeOrigin(syncDate),
    ...rest,
  };
}

/** So many days are shown at the beginning, and at the end. */
const SHOWN_DAYS = 10;

export function describeInspection(file: string, inspection: Inspection, width?: number): string {
  const { refusal, firstRows, reasons, suspicious, days, rows } = inspection;
  const outcome =
    refusal === null ? "would be taken" : `would be rejected: ${refusal.code}: ${printable(refusal.message)}`;
  const facts = describeFacts(inspection).map(([name, text]) => `  ${name.padEnd(NAME_WIDTH)}${text}`);
  const warnings = [
    ...(suspicious.length > 0 ? [`suspicious: ${describeSuspicions(suspicious)}`] : []),
    ...(refusal === null && rows.read === 0 ? ["it holds no invoices"] : []),
  ];
  return [
    `${printable(file)}: ${outcome}`,
    ...facts,
    ...warnings.map((warning) => `  warning: ${warning}`),
    ...reasons.map((reason) => `  rejected: ${describeReason(reason)}`),
    ...(firstRows.length > 0
      ? ["", "The first rows, as they would be loaded:", formatRows(firstRows, width)]
      : []),
    ...(days.length > 0 ? ["", "Totals per creation date:", formatDays(days, width)] : []),
  ].join("\n");
}

const NAME_WIDTH = 12;

function describeFacts(inspection: Inspection): readonly (readonly [string, string])[] {
  const { dialect, source, rows, total, replacesVenueDays } = inspection;
  return [
    ["container", describeContainer(inspection)],
    [
      "delimiter",
      dialect === null
        ? "not found"
        : `${NAMES[dialect.delimiter]}, ${dialect.header ? "with" : "without"} a header`,
    ],
    ...describeColumns(inspection),
    ["sync date", describeSyncDate(inspection)],
    ["source", source === null ? "none fits, so it is read as the drop format" : printable(source.name)],
    ...(replacesVenueDays
      ? [["takes out", "all other invoices of its venues and creation dates (replace_venue_days)"] as const]
      : []),
    ["lines", describeRows(rows)],
    ["total", formatEuros(total)],
  ];
}

/** Nothing for files of the drop format, where each has its own name, or its own number. */
function describeColumns({ columns, source }: Inspection): readonly (readonly [string, string])[] {
  if (columns === null || source === null) return [];
  const origins = COLUMNS.map((column) => {
    const cells = columns[column].map((name) => printable(shorten(name)));
    return `${column} from ${cells.join(", ")}`;
  });
  return [["columns", origins.join("; ")]];
}

const NAMES = { ",": "comma", ";": "semicolon", "\t": "tab", "|": "|" } as const;

function describeContainer({ container, source }: Inspection): string {
  const { gzip, encoding, marked, likely } = container;
  const packed = gzip ? "gzip, " : "";
  const why = marked
    ? ", by its byte order mark"
    : encoding === "utf-8" || source === null
      ? ""
      : ", as the source says";
  const other = likely === null ? "" : describeLikely(encoding, likely);
  return `${packed}${encoding}${why}${other}`;
}

function describeLikely(
  encoding: string,
  { encoding: other, because }: NonNullable<Inspection["container"]["likely"]>,
): string {
  const found =
    other === undefined
      ? because
      : `it looks like ${other}: ${because}. A source can say so (--suggest writes one)`;
  return `; but not all of it is ${encoding}: ${found}`;
}

function describeSyncDate({ syncDate }: Inspection): string {
  return syncDate === null ? "none" : `${syncDate.date}, from ${describeOrigin(syncDate)}`;
}

function describeOrigin({ from, ofFile }: NonNullable<Inspection["syncDate"]>): string {
  switch (from) {
    case "name":
      return "its name";
    case "command":
      return ofFile ? "--synced-on mtime: its last change" : "--synced-on";
    case "source":
      return ofFile ? "the source: its last change" : "the source: its name or path";
  }
}

function describeRows({ read, taken, voided, rejected, skipped }: Inspection["rows"]): string {
  const ofVoid = voided === 0 ? "" : ` (${formatCount(voided)} of them void)`;
  const left = skipped === 0 ? "" : `; beside them the source skips ${formatCount(skipped)}`;
  return `${formatCount(read)} read: ${formatCount(taken)} would be taken${ofVoid}, ${formatCount(rejected)} rejected${left}`;
}

function formatRows(rows: Inspection["firstRows"], width?: number): string {
  return formatTable(
    [
      { title: "venue_id" },
      { title: "invoice_id", leftOut: 1 },
      { title: "datetime_created" },
      { title: "created_on" },
      { title: "total", align: "right" },
    ],
    rows.map((row) => [
      shorten(row.venue_id),
      row.invoice_id,
      row.datetime_created,
      row.created_on,
      formatEuros(row.total),
    ]),
    width,
  );
}

function formatDays(days: readonly DayTotal[], width?: number): string {
  const hidden = days.length - 2 * SHOWN_DAYS;
  const shown = hidden > 0 ? [...days.slice(0, SHOWN_DAYS), ...days.slice(-SHOWN_DAYS)] : days;
  const table = formatTable(
    [{ title: "created_on" }, { title: "lines", align: "right" }, { title: "total", align: "right" }],
    shown.map(({ created_on, lines, total }) => [created_on, formatCount(lines), formatEuros(total)]),
    width,
  );
  if (hidden <= 0) return table;
  const rows = table.split("\n");
  // After the title and the first days.
  rows.splice(1 + SHOWN_DAYS, 0, `... ${countOf(hidden, "more day")}; --json gives all`);
  return rows.join("\n");
}

/** Describes how far the reading of a file is. */
export function describeInspecting(title: string, progress: InspectProgress): Description {
  const { bytes, totalBytes, rows } = progress;
  const parts = [
    `${title}: reading`,
    `${formatBytes(bytes)} of ${formatBytes(totalBytes)}`,
    countOf(rows, "line"),
  ];
  return () => parts;
}
