/** What both ways of loading a drop work on, and what they return. */
import type { Transaction } from "../../db/client.ts";
import type { ReasonSummary, Suspicion } from "../../db/reason_summary.ts";
import type { Form } from "../drop/form.ts";
import type { LineRules } from "../drop/rules.ts";
import type { FileSource } from "../sources/source.ts";
import type { Preparation } from "./prepare.ts";
import type { LineCounts, Refusal } from "./report.ts";
import type { Selection } from "./selection.ts";
import type { Stopwatch } from "./steps.ts";

/** How many lines of a drop may be rejected: so many in any case, and a share of those read. */
export interface RejectLimit {
  /** 0 to 1. */
  readonly share: number;
  readonly lines: number;
}

/** Another load that is taken back in the transaction of this one (etl/undo/replace.ts). */
export interface Replacement {
  /** Before this drop is claimed, because it may be the same. */
  readonly claim: (tx: Transaction) => Promise<void>;
  /**
   * Whether this load must hold its partitions alone, because the other one stated absences; known from the claim
   * on.
   */
  readonly isAlone: () => boolean;
  /**
   * Before its lines are merged.
   *
   * @param dates whose partitions this load holds
   * @returns the partitions in which the count or total of a group changed
   */
  readonly takeBack: (tx: Transaction, dates: readonly string[]) => Promise<readonly string[]>;
  /** Those partitions again, once it was taken back; none before. */
  readonly partitions: () => readonly string[];
  /** Before this load is entered in the ledger. */
  readonly enter: (tx: Transaction) => Promise<void>;
  /** If this drop is not loaded. */
  readonly release: (tx: Transaction) => Promise<void>;
}

export interface LoadTask extends Preparation {
  /** The open transaction, which has claimed the drop. */
  readonly tx: Transaction;
  readonly loadId: number;
  readonly path: string;
  /** Whether a symbolic link is followed; default true. */
  readonly follow?: boolean | undefined;
  readonly gzip: boolean;
  /** Size and hash of the file, as it was claimed. */
  readonly bytes: number;
  readonly sha256: Buffer;
  readonly syncedOn: string;
  /** What says how the drop is read; undefined: it is one of the drop format. */
  readonly source?: FileSource | undefined;
  /** How it is read, then. */
  readonly form?: Form | undefined;
  readonly rules: LineRules;
  /** Whether the drop is all there is for the venues and dates that it holds. */
  readonly replacesVenueDays: boolean;
  readonly rejectLimit: RejectLimit;
  /** Whether a drop is refused when its rejects are suspicious. */
  readonly refuseSuspicious: boolean;
  /** What the drop may put into quarantine, in bytes. */
  readonly quarantineBytes: number;
  /** Lines that the direct way sorts and writes at a time. */
  readonly chunkLines: number;
  readonly stopwatch: Stopwatch;
  readonly replace?: Replacement | undefined;
  /** The lines that are read again, when the drop is in already. */
  readonly selection?: Selection;
}

/** What became of the drop's lines. Of a refused drop nothing is stored but its rejects. */
export type TaskResult = {
  readonly rows: LineCounts;
  /** What was rejected, by reason. */
  readonly reasons: readonly ReasonSummary[];
  /** Why the rejects may be more than single bad lines. */
  readonly suspicious: readonly Suspicion[];
} & (
  | {
      readonly kind: "loaded";
      /** Partitions in which the count or total of a group changed, oldest first. */
      readonly partitions: readonly string[];
      /** The same of the undo of a load that it replaces. */
      readonly replaced?: readonly string[];
      /** Invoice ids that the drop holds with several venues or creation dates. */
      readonly idsUnderTwoKeys: number;
    }
  | { readonly kind: "refused"; readonly refusal: Refusal }
);
