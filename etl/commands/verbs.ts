/**
 * The verbs, in the order in which the help lists them. The file of a verb, and with it all that the verb works with, is read when the
 * command line names it: the help and a mistyped verb need none of it.
 */
import type { Command } from "commander";
import type { Context } from "./context.ts";

/** Adds to a verb its description, arguments, flags, kind and work. */
export type Define = (verb: Command, context: Context) => void;

export interface Verb {
  readonly name: string;
  readonly summary: string;
  readonly read: () => Promise<Define>;
}

export const VERBS: readonly Verb[] = [
  {
    name: "init",
    summary: "create or migrate the warehouse",
    read: async () => (await import("./init.ts")).defineInit,
  },
  {
    name: "inspect",
    summary: "look at files as a load would read them, without a warehouse",
    read: async () => (await import("./inspect.ts")).defineInspect,
  },
  {
    name: "load",
    summary: "load files, then refresh the totals they touched",
    read: async () => (await import("./load.ts")).defineLoad,
  },
  {
    name: "refresh",
    summary: "apply what is pending to the rollup",
    read: async () => (await import("./refresh.ts")).defineRefresh,
  },
  {
    name: "watch",
    summary: "load files as they appear in a folder",
    read: async () => (await import("./watch.ts")).defineWatch,
  },
  {
    name: "inbox",
    summary: "list, archive and review the files of a folder, step by step",
    read: async () => (await import("./inbox/inbox.ts")).defineInbox,
  },
  {
    name: "totals",
    summary: "query the totals",
    read: async () => (await import("./totals.ts")).defineTotals,
  },
  {
    name: "explain-total",
    summary: "which files made a total",
    read: async () => (await import("./explain_total.ts")).defineExplainTotal,
  },
  {
    name: "status",
    summary: "partitions, freshness, pending, last loads",
    read: async () => (await import("./status.ts")).defineStatus,
  },
  {
    name: "loads",
    summary: "the ledger: every load and what became of its lines",
    read: async () => (await import("./loads.ts")).defineLoads,
  },
  {
    name: "rejects",
    summary: "the quarantine: refused lines that are open, and what to do about them",
    read: async () => (await import("./rejects/rejects.ts")).defineRejects,
  },
  {
    name: "undo",
    summary: "take a load back, as if its file had never been loaded",
    read: async () => (await import("./undo.ts")).defineUndo,
  },
  {
    name: "silent",
    summary: "venues and sources that stopped sending",
    read: async () => (await import("./silent.ts")).defineSilent,
  },
  {
    name: "close",
    summary: "certify what a period is, so that changes are seen",
    read: async () => (await import("./close.ts")).defineClose,
  },
  {
    name: "closings",
    summary: "what was closed, and the certificate of each closing",
    read: async () => (await import("./closings/closings.ts")).defineClosings,
  },
  {
    name: "restated",
    summary: "what has changed in a period since it was closed",
    read: async () => (await import("./restated.ts")).defineRestated,
  },
  {
    name: "sql",
    summary: "ask the warehouse in SQL, with psql where there is one",
    read: async () => (await import("./sql.ts")).defineSql,
  },
  {
    name: "server",
    summary: "keep the embedded PostgreSQL up for other programs",
    read: async () => (await import("./server.ts")).defineServer,
  },
  {
    name: "serve",
    summary: "look at the warehouse in a browser",
    read: async () => (await import("./serve.ts")).defineServe,
  },
  {
    name: "verify",
    summary: "prove rollup = recompute, and name every group that is not",
    read: async () => (await import("./verify.ts")).defineVerify,
  },
  {
    name: "partitions",
    summary: "list, ensure, detach, attach or drop partitions",
    read: async () => (await import("./partitions/partitions.ts")).definePartitions,
  },
  {
    name: "prune",
    summary: "forget old statements, which are kept for undo alone",
    read: async () => (await import("./prune.ts")).definePrune,
  },
  {
    name: "checkpoint",
    summary: "keep what the totals are now, for questions as known on later",
    read: async () => (await import("./checkpoint.ts")).defineCheckpoint,
  },
];
