/** What a verification finds: something that does not add up. */
import type { MissingTable } from "../../db/partitions/missing.ts";
import type { ClosingFinding } from "../closings/verify.ts";

/** Count and total (euros) that one table has for a group. */
export interface Sums {
  readonly invoices: number;
  readonly total: string;
}

export type Divergence =
  /** Invoices, deltas and reports do not say the same of a group. */
  | {
      readonly kind: "group";
      readonly partition: string;
      readonly venueId: string;
      readonly createdOn: string;
      /** Recomputed from the invoices; from the deltas where those were dropped. */
      readonly recomputed: Sums;
      /** Rollup and pending. */
      readonly shown: Sums;
      readonly deltas: Sums;
      /** Invoices stand under a date that is not the date of their creation instant. */
      readonly misdated: boolean;
      /**
       * Invoices stand for a load that the ledger does not have as loaded, or not with their sync date, or that left no
       * delta, correction or statement in the group.
       */
      readonly misattributed: boolean;
      /** Invoices stand although a newer statement says that they are absent. */
      readonly absent: boolean;
    }
  /** A table of the partition is gone or not attached: the partition cannot be verified. */
  | ({ readonly kind: "table" } & Omit<MissingTable, "parent">)
  /** The control totals of a partition are not the sums of its rollup. */
  | { readonly kind: "control"; readonly partition: string; readonly catalog: Sums; readonly rollup: Sums }
  /** Pending changes for a date that no live partition holds. */
  | { readonly kind: "orphan"; readonly createdOn: string; readonly venueId: string; readonly pending: Sums }
  /** The ledger's entry of a load is not what its rows say. */
  | { readonly kind: "load"; readonly loadId: number; readonly message: string }
  /** A closing is not what it was. */
  | ({ readonly kind: "closing" } & ClosingFinding)
  /** A checkpoint is not what the deltas say; `docs/design.md`, "As known on". */
  | {
      readonly kind: "checkpoint";
      /** Its moment: an instant in the zone of the warehouse, or `-infinity`. */
      readonly moment: string;
      readonly message: string;
      /** Left out where it is about the checkpoint as a whole. */
      readonly createdOn?: string;
      /** Left out where it is about the date as a whole. */
      readonly venueId?: string;
      /** What the deltas say, less what the checkpoint says. */
      readonly lacking?: Sums;
    }
  /** An invoice id stands under several keys. */
  | { readonly kind: "identity"; readonly invoiceId: string; readonly statements: readonly Statement[] };

/** What the warehouse holds of an invoice under one key: the newest statement about it. */
export interface Statement {
  readonly venueId: string;
  readonly createdOn: string;
  readonly total: string;
  /** The load that it comes from, the name of its drop, and the sync date. */
  readonly loadId: number;
  readonly fileName: string | null;
  readonly syncedOn: string;
  /** No other one of the same invoice is newer. Several are the newest if one load brought them. */
  readonly newest: boolean;
}

/** Called for each divergence. */
export type OnDivergence = (divergence: Divergence) => void;

/** Sums as PostgreSQL prints them. */
export function readSums(invoices: string | undefined, total: string | undefined): Sums {
  return { invoices: Number(invoices ?? 0), total: total ?? "0.00" };
}
