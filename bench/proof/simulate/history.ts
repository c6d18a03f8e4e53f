/**
 * What a simulated history is made of: drops, and steps of acts that go on at once, with what goes wrong in
 * them. Plain data, so that one can be printed, kept, replayed and shrunk. fast-check makes a history from a
 * seed and finds a smaller one that fails as well.
 */
import type { LoadStep } from "../../../etl/load/steps.ts";
import type { LieName } from "../../../etl/testing/lies.ts";
import type { UndoStep } from "../../../etl/undo/undo.ts";

/** One statement about an invoice. Small numbers, so that drops meet in the same invoices. */
export interface Line {
  /** Which of {@link VENUES}. */
  readonly venue: number;
  readonly invoice: number;
  /** Days from {@link FIRST_DAY} (UTC) to the creation, and its second of that day. */
  readonly day: number;
  readonly second: number;
  readonly cents: number;
  /** Its total has a decimal comma, so it is refused at first, and read by a retry. */
  readonly comma: boolean;
  /** Where what reads it knows void lines ({@link Content.says}): whether it is one. */
  readonly isVoid: boolean;
  /** How it is written; 0 is the canonical form. */
  readonly form: number;
}

export const BAD_LINES = [
  "bad_encoding",
  "broken_quotes",
  "wrong_column_count",
  "missing_venue",
  "venue_too_long",
  "bad_uuid",
  "bad_timestamp",
  "bad_total",
  "sub_cent_total",
  "created_before_earliest",
] as const;
export type BadLine = (typeof BAD_LINES)[number];

/**
 * What a drop says beside its invoices: nothing; that it is all there is for its venues and dates; which lines are
 * void, or the two; or that, but by a source that only a retry knows.
 */
export const SAYS = ["nothing", "whole", "void", "whole and void", "void to a retry"] as const;

/** The bytes of a drop. Several drops may have the same. */
export interface Content {
  readonly lines: readonly (Line | BadLine)[];
  readonly header: boolean;
  readonly delimiter: "," | ";" | "\t";
  readonly crlf: boolean;
  readonly gzip: boolean;
  readonly says: (typeof SAYS)[number];
  /** What makes it no drop at all. */
  readonly spoiled: "no_sync_date" | "bad_header" | "truncated" | null;
}

/** A file: some content under some name, for some sync date. */
export interface Drop {
  /** Which content. */
  readonly content: number;
  /** Days from {@link FIRST_DAY} to the sync date. */
  readonly syncDay: number;
  /** Which of {@link NAMES}. */
  readonly name: number;
}

/** Something that is done to a process at one of its steps. */
type StepFault<Step> =
  | { readonly kind: "kill"; readonly at: Step }
  | { readonly kind: "abort"; readonly at: Step }
  | { readonly kind: "pause"; readonly at: Step; readonly ms: number }
  | { readonly kind: "terminate"; readonly at: Step }
  | { readonly kind: "crash"; readonly at: Step }
  /** The connection breaks after so many bytes to the server. */
  | { readonly kind: "cut"; readonly bytes: number }
  /** The answer to the commit is lost. */
  | { readonly kind: "swallow" };

export type LoadFault =
  | StepFault<LoadStep>
  | {
      readonly kind: "file";
      readonly at: LoadStep;
      readonly change: "append" | "truncate" | "vanish" | "replace";
    };

export type UndoFault = StepFault<UndoStep>;

/** Those of a load that a retry has, too. */
export const RETRY_STEPS = ["stage", "prepare", "merge", "commit"] as const satisfies readonly LoadStep[];
export type RetryFault = StepFault<(typeof RETRY_STEPS)[number]>;

export type RefreshFault =
  | { readonly kind: "kill" }
  | { readonly kind: "terminate" }
  | { readonly kind: "crash" };

export const HELD = ["pending", "partitions", "known_at", "rollup", "invoices"] as const;
export const FAULTY_TABLES = [
  "loads",
  "invoices",
  "corrections",
  "statements",
  "absences",
  "venue_day_deltas",
  "venue_day_pending",
  "venue_day_rollup",
  "rejects",
  "dismissals",
  "closings",
  "venues",
] as const;
/**
 * Serialization failure, deadlock, lock timeout, statement timeout, disk full, out of memory, too many
 * connections, a server going down.
 */
export const ERROR_STATES = ["40001", "40P01", "55P03", "57014", "53100", "53200", "53300", "57P01"] as const;

export type Act =
  | {
      readonly do: "load";
      readonly drop: number;
      readonly careful: boolean;
      /** Not one reject is allowed; else any number. */
      readonly strict: boolean;
      /** Lines of a chunk of the direct way. */
      readonly chunkLines: number;
      /** Which of the loads that count it replaces. */
      readonly replaces: number | null;
      readonly fault: LoadFault | null;
    }
  /** The real command line in a process of its own, which gets a signal after so many milliseconds. */
  | {
      readonly do: "command";
      readonly drop: number;
      readonly signal: "SIGTERM" | "SIGINT" | "SIGKILL" | null;
      readonly afterMs: number;
    }
  | {
      readonly do: "refresh";
      readonly strategy: "auto" | "delta" | "partition" | "full";
      readonly fault: RefreshFault | null;
    }
  /**
   * Which of the loads that count is undone; or, to take it back, which of the undos and take-outs. Those are
   * meant that were in when the step began.
   */
  | {
      readonly do: "undo";
      readonly what: "load" | "undo";
      readonly entry: number;
      readonly fault: UndoFault | null;
    }
  /** Open lines are read again, with a decimal comma: which of the loads that have some. */
  | { readonly do: "retry"; readonly open: number; readonly fault: RetryFault | null }
  /** Open lines of a load and reason stay out: which. */
  | { readonly do: "dismiss"; readonly open: number }
  /** A period of so many days is closed, those before a day. */
  | { readonly do: "close"; readonly day: number; readonly days: number }
  /** From the begin of this step on lines of closed periods are refused, or not. */
  | { readonly do: "refuse closed"; readonly refuse: boolean }
  /** Two days pass (unless periods are closed), and statements are kept for one. */
  | { readonly do: "prune" }
  | { readonly do: "checkpoint" }
  /** By slices: one round of them, each as short as can be, so other acts come in between. */
  | { readonly do: "verify"; readonly identity: boolean; readonly bySlices: boolean }
  /** The older statements of invoices under several keys are taken out. */
  | { readonly do: "take out" }
  | { readonly do: "init" }
  | { readonly do: "ensure"; readonly day: number }
  /** Which of the partitions that are there; at most one act of a step moves one. */
  | { readonly do: "detach" | "attach" | "drop"; readonly partition: number }
  /** Another session holds a lock for a while. */
  | { readonly do: "hold"; readonly what: (typeof HELD)[number]; readonly ms: number }
  /** The server raises an error when a table is written to, the first few times. */
  | {
      readonly do: "error";
      readonly table: (typeof FAULTY_TABLES)[number];
      readonly state: (typeof ERROR_STATES)[number];
      readonly times: number;
    }
  /** The disk of the tables is full. */
  | { readonly do: "full" }
  /** PostgreSQL and all its processes are killed after so many milliseconds. */
  | { readonly do: "crash"; readonly afterMs: number }
  /** The server's clock was ahead until now, by so many minutes, and jumps back. */
  | { readonly do: "clock"; readonly minutes: number }
  /**
   * Somebody with a loader's login tells a lie by SQL: beside the other acts, in a transaction that is rolled back
   * after so many milliseconds; or for good, once they are over.
   */
  | {
      readonly do: "hostile";
      readonly lie: LieName;
      /** Which of the rows that it may be about. */
      readonly about: number;
      readonly when: "beside" | "after";
      readonly ms: number;
    }
  /** Somebody changes a rollup row by hand; verify has to find it, and a refresh to mend it. */
  | { readonly do: "tamper"; readonly row: number };

export interface History {
  readonly timeZone: (typeof ZONES)[number];
  readonly granularity: (typeof GRANULARITIES)[number];
  readonly contents: readonly Content[];
  readonly drops: readonly Drop[];
  /**
   * The acts of a step go on at once; what must be true is checked after each step, by readers all the time.
   */
  readonly steps: readonly (readonly Act[])[];
}

export const ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"] as const;
export const GRANULARITIES = ["day", "week", "month", "quarter", "year"] as const;
/** Some days before the clocks of Europe change. */
export const FIRST_DAY = "2026-03-26";

export const VENUES = [
  "venue-1",
  "venue-2",
  `O'Neill's "Bar"; drop table invoices; --`,
  "  $(touch hacked)\t{{ venue }}, 100%",
  "\u202Ecafé\u0301 \u{1F35D}\\.",
  "=1+1",
] as const;

/** Names of drops; `%` is the sync date, with or without its hyphens. */
export const NAMES = [
  "invoices_%.csv",
  "pos eu ($HOME) %.CSV",
  "-rf;'\"%.csv",
  "again.%.v2.csv",
  "\u202Egnp.%.csv",
] as const;
