/** What the reports of loads, refreshes, undos and proofs say of datasets. */
import type { Parent } from "../../db/partitions/tables.ts";
import type { LoadReport } from "../load/report.ts";
import type { RetryReport } from "../load/retry_rejects.ts";
import type { RefreshReport } from "../refresh/report.ts";
import type { UndoReport } from "../undo/undo.ts";
import type { Divergence } from "../verify/divergence.ts";
import type { VerifyReport } from "../verify/verify.ts";
import { fileDataset, type Place, partitionDataset, tableDataset } from "./datasets.ts";
import { type Dataset, type Facets, facet } from "./event.ts";

/** What a run came to. */
export interface Outcome {
  readonly inputs: readonly Dataset[];
  readonly outputs: readonly Dataset[];
  /** What else there is to tell, in our own facet. */
  readonly more: Readonly<Record<string, unknown>>;
  /** Why it failed; left out where it did not. */
  readonly error?: string;
}

/** Partitions that one event names at most: the newest. The table that they belong to is always named. */
const MOST_PARTITIONS = 1000;

/**
 * Of a drop that was in already its partitions are told all the same: whoever told them the first time may have
 * been cut off.
 *
 * @param more.path absolute
 * @param more.replaced the undo of the load that it took the place of
 */
export function ofLoad(
  place: Place,
  report: LoadReport,
  more: { readonly path: string; readonly replaced?: UndoReport | undefined },
): Outcome {
  const { outcome, loadId, syncedOn, source, rows, error, content } = report;
  const { replaced } = more;
  const isRead = outcome === "loaded" || outcome === "rejected";
  const input = fileDataset(more.path, {
    sha256: content?.sha256,
    isDropFormat: source === null,
    inputFacets: {
      ...(isRead &&
        facet("inputStatistics", {
          rowCount: rows.read,
          fileCount: 1,
          ...(content && { size: content.bytes }),
        })),
      ...(isRead && facet("dataQualityAssertions", { assertions: assertLines(report) })),
    },
  });
  const changed = outcome === "already_loaded" ? report.touched : report.partitions;
  const names = [...new Set([...changed, ...(replaced?.partitions ?? [])])];
  const written = rows.inserted + rows.corrected;
  const isIn = outcome === "loaded" || outcome === "already_loaded";
  return {
    inputs: [input],
    outputs: isIn
      ? tableAndPartitions(place, "invoices", names, outcome === "loaded" ? written : undefined)
      : [],
    more: {
      loadId,
      outcome,
      syncedOn,
      source: source?.name ?? null,
      rows,
      ...(replaced && { replaced: replaced.undoOf }),
    },
    ...(error && { error: `${error.code}: ${error.message}` }),
  };
}

/** Lines that were refused are a fault of the file, whether or not the rest of it was loaded. */
function assertLines({ outcome, rows, reasons, error }: LoadReport): readonly object[] {
  const severity = outcome === "loaded" ? "warn" : "error";
  const taken = { assertion: "taken", success: outcome === "loaded", ...(error && { actual: error.code }) };
  const lines = {
    assertion: "no_rejected_lines",
    success: rows.rejected === 0,
    actual: String(rows.rejected),
  };
  const each = reasons.map(({ reason, column, count }) => ({
    assertion: `no_${reason}`,
    success: false,
    actual: String(count),
    ...(column !== null && { column }),
  }));
  return [taken, lines, ...each].map((assertion) => ({ ...assertion, severity }));
}

/** Rejected lines that were read again and taken in. */
export function ofRetry(
  place: Place,
  { outcome, loadId, retryOf, rows, partitions }: RetryReport,
): Outcome | undefined {
  if (outcome !== "taken_in") return undefined;
  return {
    inputs: [],
    outputs: tableAndPartitions(place, "invoices", partitions, rows.inserted + rows.corrected),
    more: { loadId, retryOf, rows },
  };
}

/** Nothing where nothing was pending. */
export function ofRefresh(place: Place, reports: readonly RefreshReport[]): Outcome | undefined {
  const done = reports.filter(({ method }) => method !== "none");
  if (done.length === 0) return undefined;
  const written = new Map(done.map(({ partition, groups }) => [partition, groups.inserted + groups.updated]));
  const sum = [...written.values()].reduce((total, rows) => total + rows, 0);
  const changes = done.reduce((total, report) => total + report.changes, 0);
  const names = [...written.keys()];
  return {
    inputs: tableAndPartitions(place, "invoices", names),
    outputs: [
      counted(tableDataset(place, "venue_day_rollup"), sum),
      ...newest(names).map((name) =>
        counted(partitionDataset(place, "venue_day_rollup", name), written.get(name)),
      ),
    ],
    more: { changes, partitions: done.length },
  };
}

/** Nothing of a dry run. */
export function ofUndo(place: Place, report: UndoReport): Outcome | undefined {
  const { loadId, undoOf, undone, fileName, rows, partitions } = report;
  if (loadId === null) return undefined;
  return {
    inputs: [],
    outputs: tableAndPartitions(place, "invoices", partitions, rows.inserted + rows.corrected),
    more: { loadId, undoOf, undone, fileName, rows },
  };
}

/** What a verification looked at and found. */
export interface Found {
  /** Of the partitions whose turn it was. */
  readonly proved: ReadonlySet<string>;
  /** How many divergences there are, by kind. */
  readonly kinds: ReadonlyMap<string, number>;
  /** The same by partition, of those that are about one. */
  readonly partitions: ReadonlyMap<string, number>;
}

/** A verification that finds something has done its work: it completes, with assertions that do not hold. */
export function ofVerify(place: Place, report: VerifyReport, found: Found): Outcome {
  const { divergences, invoices, groups, repaired, takenOut, slice } = report;
  const others = [...found.kinds].map(([kind, count]) => ({
    assertion: `no_divergence_of_${kind}`,
    success: false,
    actual: String(count),
    severity: "error",
  }));
  const all = [assertExact(divergences), ...others];
  const names = [...new Set([...newest([...found.proved]), ...found.partitions.keys()])].toSorted();
  return {
    inputs: [
      asserted(tableDataset(place, "invoices"), all),
      asserted(tableDataset(place, "venue_day_rollup"), all),
      ...names.map((name) =>
        asserted(partitionDataset(place, "venue_day_rollup", name), [
          assertExact(found.partitions.get(name) ?? 0),
        ]),
      ),
    ],
    outputs: [
      ...repaired.map((name) => partitionDataset(place, "venue_day_rollup", name)),
      ...(takenOut !== null && takenOut.loadId !== null ? [tableDataset(place, "invoices")] : []),
    ],
    more: { divergences, invoices, groups, isSlice: slice !== undefined },
  };
}

const EXACT = {
  assertion: "rollup_and_pending_equal_recompute",
  description: "For each venue and date: rollup + pending = recomputed from the invoices = sum of the deltas",
  expected: "0",
  severity: "error",
};

function assertExact(divergences: number): object {
  return { ...EXACT, success: divergences === 0, actual: String(divergences) };
}

/** Counts what a verification finds, as it finds it. */
export function startFinding(): Found & {
  readonly note: (divergence: Divergence) => void;
  readonly prove: (name: string) => void;
} {
  const proved = new Set<string>();
  const kinds = new Map<string, number>();
  const partitions = new Map<string, number>();
  const count = (among: Map<string, number>, name: string) => among.set(name, (among.get(name) ?? 0) + 1);
  const note = (divergence: Divergence) => {
    count(kinds, divergence.kind);
    if ("partition" in divergence) count(partitions, divergence.partition);
  };
  return { proved, kinds, partitions, note, prove: (name) => proved.add(name) };
}

/**
 * A table, and the partitions of it.
 *
 * @param rows that were written to it; where it is one partition, they are that one's
 */
function tableAndPartitions(
  place: Place,
  parent: Parent,
  names: readonly string[],
  rows?: number | undefined,
): readonly Dataset[] {
  const ofOne = names.length === 1 ? rows : undefined;
  return [
    counted(tableDataset(place, parent), rows),
    ...newest(names).map((name) => counted(partitionDataset(place, parent, name), ofOne)),
  ];
}

function newest(names: readonly string[]): readonly string[] {
  return names.toSorted().slice(-MOST_PARTITIONS);
}

function counted(dataset: Dataset, rowCount: number | undefined): Dataset {
  if (rowCount === undefined) return dataset;
  return { ...dataset, outputFacets: facet("outputStatistics", { rowCount }) };
}

function asserted(dataset: Dataset, assertions: readonly object[]): Dataset {
  const inputFacets: Facets = facet("dataQualityAssertions", { assertions });
  return { ...dataset, inputFacets };
}
