/** Closings, their certificates, and what was restated since, for people and for programs. */
import type { Closing, Group } from "../closings/certificate.ts";
import type { RestatedPeriod } from "../closings/period.ts";
import type { ReportedClosing } from "../closings/read.ts";
import type {
  Restated,
  RestatedBy,
  RestatedGroup,
  RestatedSum,
  RestatingDrop,
} from "../closings/restated.ts";
import { printable, toJson } from "../escape.ts";
import { type Streams, write, writeLine } from "../output.ts";
import { countOf, formatCount, formatEuros, formatInstant, shorten } from "./format.ts";
import { type Column, formatTable } from "./table.ts";
import { widthOf } from "./width.ts";

/** `Closing 3 of 2026-10: 12 invoices for 34.00 euros in 5 groups, as known at 2026-11-02 08:00:01Z.` */
export function describeClosing(closing: Closing): string {
  const { period, groups, invoices, total, knownAt } = closing;
  return `Closing ${closing.closing} of ${printable(period)}: ${countOf(invoices, "invoice")} for ${formatEuros(total)} euros in ${countOf(groups, "group")}, as known at ${formatInstant(knownAt)}.`;
}

/**
 * For each closed period a line: `2026-10 is closed (closing 3), and restated: 2 groups, 1 invoice for 10.00 euros`.
 *
 * @param planned nothing was changed yet
 */
export function describeRestated(
  restated: readonly RestatedPeriod[] = [],
  { planned = false }: { readonly planned?: boolean } = {},
): readonly string[] {
  return restated.map(({ closing, period, groups, invoices, total }) => {
    const changed = `${countOf(groups, "group")}, ${countOf(invoices, "invoice")} for ${formatEuros(total)} euros`;
    const verb = planned ? "would be restated" : "restated";
    return `${printable(period)} is closed (closing ${closing}), and ${verb}: ${changed}`;
  });
}

/** A table of them. */
export function formatClosings(closings: readonly ReportedClosing[], width?: number): string {
  return formatTable(
    [
      { title: "closing", align: "right" },
      { title: "period" },
      { title: "invoices", align: "right" },
      { title: "total", align: "right" },
      { title: "closed at" },
      { title: "closed by", leftOut: 3 },
      { title: "closed again as", align: "right" },
      { title: "known at", leftOut: 2 },
      { title: "sha256", leftOut: 1 },
    ],
    closings.map((closing) => [
      String(closing.closing),
      closing.period,
      formatCount(closing.invoices),
      formatEuros(closing.total),
      formatInstant(closing.closedAt),
      shorten(closing.closedBy),
      closing.replacedBy === null ? "" : String(closing.replacedBy),
      formatInstant(closing.knownAt),
      closing.sha256,
    ]),
    width,
  );
}

export const CERTIFICATE_FORMATS = ["table", "json"] as const;
export type CertificateFormat = (typeof CERTIFICATE_FORMATS)[number];

interface CertificatePrinter {
  readonly begin: (closing: ReportedClosing) => Promise<void>;
  readonly add: (group: Group) => Promise<void>;
  readonly end: () => Promise<void>;
}

/** Prints a closing and its groups, one by one. */
export function openCertificatePrinter(streams: Streams, format: CertificateFormat): CertificatePrinter {
  return format === "json" ? jsonPrinter(streams) : tablePrinter(streams);
}

/** Groups that are written at a time. */
const GROUPS_PER_WRITE = 1000;

/** One object in one line, but never as a whole in memory. */
function jsonPrinter(streams: Streams): CertificatePrinter {
  let groups: Group[] = [];
  let separator = "";
  const flush = async () => {
    if (groups.length === 0) return;
    await write(streams, separator + groups.map((group) => toJson(group)).join(","));
    separator = ",";
    groups = [];
  };
  return {
    begin: ({ replacedBy: _, ...closing }) => write(streams, `${toJson(closing).slice(0, -1)},"list":[`),
    add: async (group) => {
      groups.push(group);
      if (groups.length === GROUPS_PER_WRITE) await flush();
    },
    end: async () => {
      await flush();
      await write(streams, "]}\n");
    },
  };
}

/** A table is for reading: of more rows than this it shows the first, and says so. */
const TABLE_ROWS = 1000;

function tablePrinter(streams: Streams): CertificatePrinter {
  const rows: string[][] = [];
  let count = 0;
  return {
    begin: async (closing) => {
      const { sha256, previousSha256, closedBy, closedAt } = closing;
      await writeLine(streams, describeClosing(closing));
      await writeLine(streams, `Closed at ${formatInstant(closedAt)} by ${printable(shorten(closedBy))}`);
      await writeLine(streams, `SHA-256 ${sha256}; of the closing before: ${previousSha256 ?? "none"}`);
    },
    add: async ([venueId, createdOn, invoices, total]) => {
      count += 1;
      if (rows.length === TABLE_ROWS) return;
      rows.push([shorten(venueId ?? ""), createdOn, formatCount(invoices), formatEuros(total)]);
    },
    end: async () => {
      if (count === 0) return writeLine(streams, "No invoices.");
      const columns: readonly Column[] = [{ title: "venue" }, { title: "date" }, ...SUMS];
      await writeLine(streams, `\n${formatTable(columns, rows, widthOf(streams.stdout))}`);
      const hidden = count - rows.length;
      if (hidden > 0)
        await writeLine(streams, `... and ${countOf(hidden, "more row")}; --format json gives all.`);
    },
  };
}

const SUMS: readonly Column[] = [
  { title: "invoices", align: "right" },
  { title: "total", align: "right" },
];
/** By how much they have changed. */
const CHANGES: readonly Column[] = [
  { title: "+ invoices", align: "right" },
  { title: "+ total", align: "right" },
];

/** A table of restatements that are all by the same. */
export function formatRestated(restated: readonly Restated[], by: RestatedBy, width?: number): string {
  const changes = ({ invoices, total }: Restated) => [formatCount(invoices), formatEuros(total)];
  switch (by) {
    case "group":
      return formatTable(
        [
          { title: "venue" },
          { title: "date" },
          { title: "invoices then", align: "right", leftOut: 2 },
          { title: "total then", align: "right" },
          { title: "invoices now", align: "right", leftOut: 1 },
          { title: "total now", align: "right" },
          ...CHANGES,
        ],
        (restated as readonly RestatedGroup[]).map((group) => [
          shorten(group.venueId ?? ""),
          group.createdOn,
          formatCount(group.thenInvoices),
          formatEuros(group.thenTotal),
          formatCount(group.nowInvoices),
          formatEuros(group.nowTotal),
          ...changes(group),
        ]),
        width,
      );
    case "venue":
    case "day":
      return formatTable(
        [{ title: by === "venue" ? "venue" : "date" }, { title: "groups", align: "right" }, ...CHANGES],
        (restated as readonly RestatedSum[]).map((sum) => [
          shorten(sum.venueId ?? sum.createdOn ?? ""),
          formatCount(sum.groups),
          ...changes(sum),
        ]),
        width,
      );
    case "drop":
      return formatTable(
        [
          { title: "load", align: "right" },
          { title: "drop" },
          { title: "synced on", leftOut: 1 },
          { title: "known at" },
          { title: "groups", align: "right", leftOut: 2 },
          ...CHANGES,
        ],
        (restated as readonly RestatingDrop[]).map((drop) => [
          String(drop.loadId),
          shorten(drop.fileName),
          drop.syncedOn ?? "",
          formatInstant(drop.knownAt),
          formatCount(drop.groups),
          ...changes(drop),
        ]),
        width,
      );
  }
}
