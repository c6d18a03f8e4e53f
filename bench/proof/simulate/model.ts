/**
 * What must be true, kept in memory and worked out invoice by invoice: the independent other side of the simulation. It shares no code with the
 * product; what it takes from the database is which loads are in, and in which order they became known.
 */
import type { LineTruth } from "./drop.ts";

export interface Sums {
  readonly invoices: number;
  readonly cents: bigint;
}

/** Sums by group, `venue` and `created_on` joined by {@link groupKey}. */
export type Groups = ReadonlyMap<string, Sums>;

export interface InvoiceRow {
  readonly venue: string;
  readonly invoice: string;
  readonly createdOn: string;
  readonly createdAt: bigint;
  readonly cents: bigint;
  readonly loadId: number;
  readonly syncedOn: string;
}

export interface Reject {
  readonly line: number;
  readonly reason: string;
}

/** What one load must have done. */
export interface Applied {
  readonly loadId: number;
  readonly counts: {
    readonly read: number;
    readonly inserted: number;
    readonly corrected: number;
    readonly unchanged: number;
    readonly superseded: number;
    readonly rejected: number;
  };
  readonly rejects: readonly Reject[];
  readonly deltas: Groups;
  /** The rows that it overwrote, as they were. */
  readonly corrections: readonly InvoiceRow[];
}

export function groupKey(venue: string, createdOn: string): string {
  return `${createdOn} ${venue}`;
}

/** The lines of a drop that are refused, in the order of the lines. */
export function rejectsOf(
  lines: readonly LineTruth[],
  syncedOn: string,
  isClosed: (createdOn: string) => boolean,
): readonly Reject[] {
  return lines.flatMap((line): Reject[] => {
    const reason = reasonOf(line, syncedOn, isClosed);
    return reason === undefined ? [] : [{ line: line.number, reason }];
  });
}

function reasonOf(
  line: LineTruth,
  syncedOn: string,
  isClosed: (createdOn: string) => boolean,
): string | undefined {
  if (line.kind === "refused") return line.reason;
  if (line.createdOn > syncedOn) return "created_after_sync";
  return isClosed(line.createdOn) ? "partition_closed" : undefined;
}

export class Model {
  private readonly rows = new Map<string, InvoiceRow>();
  private readonly loads: Applied[] = [];

  /** Takes in a load, after all that became known before it. */
  apply(
    load: { readonly loadId: number; readonly syncedOn: string },
    lines: readonly LineTruth[],
    isClosed: (createdOn: string) => boolean,
  ): Applied {
    const { loadId, syncedOn } = load;
    const rejects = rejectsOf(lines, syncedOn, isClosed);
    const refused = new Set(rejects.map(({ line }) => line));
    const last = new Map<string, InvoiceRow>();
    let superseded = 0;
    for (const line of lines) {
      if (line.kind === "refused" || refused.has(line.number)) continue;
      const { venue, invoice, createdOn, createdAt, cents } = line;
      const key = `${createdOn} ${invoice} ${venue}`;
      if (last.has(key)) superseded += 1;
      last.set(key, { venue, invoice, createdOn, createdAt, cents, loadId, syncedOn });
    }
    const deltas = new Map<string, Sums>();
    const corrections: InvoiceRow[] = [];
    let inserted = 0;
    let unchanged = 0;
    for (const [key, row] of last) {
      const old = this.rows.get(key);
      if (old === undefined) {
        inserted += 1;
        add(deltas, row, { invoices: 1, cents: row.cents });
      } else if (isNewer(old, row)) {
        superseded += 1;
        continue;
      } else if (old.cents === row.cents && old.createdAt === row.createdAt) {
        unchanged += 1;
      } else {
        corrections.push(old);
        add(deltas, row, { invoices: 0, cents: row.cents - old.cents });
      }
      this.rows.set(key, row);
    }
    const applied: Applied = {
      loadId,
      counts: {
        read: lines.length,
        inserted,
        corrected: corrections.length,
        unchanged,
        superseded,
        rejected: rejects.length,
      },
      rejects,
      deltas: withoutZeros(deltas),
      corrections,
    };
    this.loads.push(applied);
    return applied;
  }

  invoices(): readonly InvoiceRow[] {
    return [...this.rows.values()];
  }

  /** All loads, in the order in which they became known. */
  applied(): readonly Applied[] {
    return this.loads;
  }

  /** The totals after the first so many loads; left out, after all. */
  totals(loads = this.loads.length): Groups {
    const groups = new Map<string, Sums>();
    for (const { deltas } of this.loads.slice(0, loads)) {
      for (const [group, sums] of deltas) groups.set(group, plus(groups.get(group), sums));
    }
    return new Map([...groups].filter(([, { invoices }]) => invoices !== 0));
  }

  /** Invoice ids that stand under several keys, in the dates that count. */
  split(counts: (createdOn: string) => boolean): readonly string[] {
    const keys = new Map<string, number>();
    for (const { invoice, createdOn } of this.rows.values()) {
      if (counts(createdOn)) keys.set(invoice, (keys.get(invoice) ?? 0) + 1);
    }
    return [...keys].filter(([, times]) => times > 1).map(([invoice]) => invoice);
  }
}

/** The greater (sync date, load) wins. */
function isNewer(one: InvoiceRow, other: InvoiceRow): boolean {
  if (one.syncedOn !== other.syncedOn) return one.syncedOn > other.syncedOn;
  return one.loadId > other.loadId;
}

function add(groups: Map<string, Sums>, { venue, createdOn }: InvoiceRow, sums: Sums): void {
  const key = groupKey(venue, createdOn);
  groups.set(key, plus(groups.get(key), sums));
}

function plus(one: Sums | undefined, other: Sums): Sums {
  return one === undefined
    ? other
    : { invoices: one.invoices + other.invoices, cents: one.cents + other.cents };
}

function withoutZeros(groups: Groups): Groups {
  return new Map([...groups].filter(([, { invoices, cents }]) => invoices !== 0 || cents !== 0n));
}
