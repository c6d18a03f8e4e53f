/** Compares what was observed with the model. */
import { euros } from "../../../etl/testing/models/money.ts";
import type {
  Applied,
  GroupTotal,
  InvoiceRow,
  WarehouseModel,
} from "../../../etl/testing/models/warehouse.ts";
import type { Observation, ObservedLoad, ObservedPartition, ObservedStatement } from "./observe.ts";

/** Something is not as it must be. */
export class Difference extends Error {
  constructor(message: string) {
    super(message);
    this.name = "Difference";
  }
}

/** Both must hold the same texts, in any order. */
export function expectSame(what: string, found: readonly string[], expected: readonly string[]): void {
  const missing = without(expected, found);
  const extra = without(found, expected);
  if (missing.length === 0 && extra.length === 0) return;
  const list = (texts: readonly string[]) => texts.slice(0, 8).map((text) => `\n    ${text}`);
  throw new Difference(
    [
      what,
      ...(missing.length > 0 ? [`\n  must be there, ${missing.length}:`, ...list(missing)] : []),
      ...(extra.length > 0 ? [`\n  must not be there, ${extra.length}:`, ...list(extra)] : []),
    ].join(""),
  );
}

/** The texts of one that the other lacks, as often as it lacks them. */
function without(texts: readonly string[], others: readonly string[]): readonly string[] {
  const left = new Map<string, number>();
  for (const other of others) left.set(other, (left.get(other) ?? 0) + 1);
  return texts.filter((text) => {
    const times = left.get(text) ?? 0;
    left.set(text, times - 1);
    return times <= 0;
  });
}

export function expectTrue(what: string, condition: boolean): void {
  if (!condition) throw new Difference(what);
}

/** Which partition a date belongs to, by the catalog. */
export function partitionAt(
  partitions: readonly ObservedPartition[],
  createdOn: string,
): ObservedPartition | undefined {
  return partitions.find(({ lower, upper }) => createdOn >= lower && createdOn < upper);
}

/** Totals as the queries write them, of the dates that are shown. */
export function totalTexts(
  groups: readonly GroupTotal[],
  isShown: (createdOn: string) => boolean,
): readonly string[] {
  return groups
    .filter(({ createdOn }) => isShown(createdOn))
    .map(({ createdOn, venue, invoices, cents }) => [createdOn, venue, invoices, euros(cents)].join(" | "));
}

function invoiceText(row: InvoiceRow): string {
  const { createdOn, venue, uuid, createdAt, cents, loadId, syncedOn } = row;
  return [createdOn, venue, uuid, createdAt, euros(cents), loadId, syncedOn].join(" | ");
}

/** What is kept of a row that a load overwrote, or a repair took out. */
export function correctionText(loadId: number, old: InvoiceRow): string {
  return `${loadId} | ${invoiceText(old)}`;
}

/** Compares the tables and views of invoices and totals with the model. */
export function compareAll(observed: Observation, model: WarehouseModel): void {
  const stateAt = (createdOn: string) => partitionAt(observed.partitions, createdOn)?.state;
  const isLive = (createdOn: string) => stateAt(createdOn) !== "detached";
  const hasInvoices = (createdOn: string) => isLive(createdOn) && stateAt(createdOn) !== "dropped";
  expectSame("offenders", observed.offenders, []);
  expectSame(
    "invoices",
    observed.invoices,
    model
      .invoices()
      .filter(({ createdOn }) => hasInvoices(createdOn))
      .map(invoiceText),
  );
  const loads = model.applied();
  expectSame(
    "corrections",
    observed.corrections,
    loads.flatMap(({ loadId, corrections }) => corrections.map((old) => correctionText(loadId, old))),
  );
  compareKept(observed, model, hasInvoices);
  compareAbsences(observed, model);
  expectSame(
    "deltas",
    observed.deltas,
    loads.flatMap(({ loadId, deltas }) => totalTexts(deltas, isLive).map((text) => `${loadId} | ${text}`)),
  );
  const totals = model.totals();
  const texts = totalTexts(totals, isLive);
  expectSame("rollup and pending", observed.shown, texts);
  expectSame("reports.venue_daily_totals", observed.reports, texts);
  expectSame("reports.monthly_totals", observed.monthly, monthlyTexts(totals, isLive));
}

/**
 * What is kept beside the corrections was said, and each statement that does not stand is in one of the two: so
 * it can stand again.
 */
function compareKept(
  observed: Observation,
  model: WarehouseModel,
  hasInvoices: (createdOn: string) => boolean,
): void {
  const textOf = (
    loadId: number,
    { createdOn, venue, uuid }: Pick<InvoiceRow, "createdOn" | "venue" | "uuid">,
  ) => [loadId, createdOn, venue, uuid].join(" | ");
  const keyOf = ({ created_on, venue_id, invoice_id }: ObservedStatement) => ({
    createdOn: created_on,
    venue: venue_id,
    uuid: invoice_id,
  });
  const said = new Map([...model.invoices(), ...model.kept()].map((row) => [textOf(row.loadId, row), row]));
  const wasSaid = (kept: ObservedStatement) => {
    const own = said.get(textOf(kept.stated_by, keyOf(kept)));
    if (own === undefined || own.syncedOn !== kept.synced_on) return false;
    if (kept.same_as === null) return own.createdAt === kept.created_at && euros(own.cents) === kept.total;
    const same = said.get(textOf(kept.same_as, keyOf(kept)));
    return own.createdAt === same?.createdAt && own.cents === same.cents;
  };
  const wrong = observed.statements.filter((kept) => !wasSaid(kept));
  expectSame(
    "statements that nobody made",
    wrong.map((kept) => JSON.stringify(kept)),
    [],
  );
  const found = new Set([
    ...observed.statements.map((kept) => textOf(kept.stated_by, keyOf(kept))),
    ...model.applied().flatMap(({ corrections }) => corrections.map((old) => textOf(old.loadId, old))),
  ]);
  const pruned = new Set(observed.loads.filter((load) => load.pruned).map(({ load_id }) => load_id));
  const wanted = model
    .kept()
    .filter(({ createdOn, loadId }) => hasInvoices(createdOn) && !pruned.has(loadId));
  const lost = wanted.map((row) => textOf(row.loadId, row)).filter((text) => !found.has(text));
  expectSame("statements that are not kept", lost, []);
}

/** Each absence is kept, whatever stands; unless it may be forgotten. */
function compareAbsences({ absences, loads }: Observation, model: WarehouseModel): void {
  const pruned = new Set(loads.filter((load) => load.pruned).map(({ load_id }) => load_id));
  const said = model.absences().map(({ loadId, statedBy, syncedOn, createdOn, venue, uuid }) => ({
    loadId,
    text: [loadId, statedBy, syncedOn, createdOn, venue, uuid ?? "all"].join(" | "),
  }));
  const all = new Set(said.map(({ text }) => text));
  expectSame(
    "absences that nobody said",
    absences.map(({ text }) => text).filter((text) => !all.has(text)),
    [],
  );
  expectSame(
    "absences",
    absences.filter(({ load_id }) => !pruned.has(load_id)).map(({ text }) => text),
    said.filter(({ loadId }) => !pruned.has(loadId)).map(({ text }) => text),
  );
}

function monthlyTexts(
  groups: readonly GroupTotal[],
  isShown: (createdOn: string) => boolean,
): readonly string[] {
  const months = new Map<string, { invoices: number; cents: bigint }>();
  for (const { createdOn, invoices, cents } of groups) {
    if (!isShown(createdOn)) continue;
    const month = `${createdOn.slice(0, 7)}-01`;
    const sums = months.get(month) ?? { invoices: 0, cents: 0n };
    months.set(month, { invoices: sums.invoices + invoices, cents: sums.cents + BigInt(cents) });
  }
  return [...months].map(([month, { invoices, cents }]) => `${month} | ${invoices} | ${euros(cents)}`);
}

/** Compares the ledger entry and the quarantine of one load with what it must have done. */
export function compareLoad(observed: Observation, load: ObservedLoad, applied: Applied): void {
  const of = `load ${load.load_id} (${load.file_name})`;
  for (const [name, count] of Object.entries(applied.counts)) {
    const found = load[name as keyof Applied["counts"]];
    expectTrue(`${of}: ${name} is ${found}, must be ${count}`, found === count);
  }
  expectSame(`${of}: rejects`, rejectTexts(observed, load.load_id), applied.rejects.map(rejectText));
  const touched = applied.deltas.map(
    ({ createdOn }) => partitionAt(observed.partitions, createdOn)?.partition ?? "none",
  );
  expectSame(`${of}: partitions`, load.partitions, [...new Set(touched)]);
}

export function rejectTexts(observed: Observation, loadId: number): readonly string[] {
  return observed.rejects.filter(({ load_id }) => load_id === loadId).map(rejectText);
}

export function rejectText({ line, reason }: { readonly line: number; readonly reason: string }): string {
  return `line ${line}: ${reason}`;
}
