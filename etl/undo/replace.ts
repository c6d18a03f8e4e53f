/** Replaces a load by another drop: the undo and the load in one transaction. */
import { type Database, type Transaction, withTransaction } from "../../db/client.ts";
import type { Settings } from "../../db/schema.ts";
import type { Replacement } from "../load/task.ts";
import { claimUndo, enterUndo, refusal, releaseUndo, type UndoClaim } from "./claim.ts";
import type { Settled } from "./settled.ts";
import { enterSettled, reportUndo, takeBack, type UndoReport } from "./undo.ts";

/** What a load needs to take another one back, and afterwards what that came to. */
export interface LoadReplacement extends Replacement {
  /** Undefined before, and where the drop was not loaded: then the other load stays. */
  readonly report: () => UndoReport | undefined;
}

/**
 * Makes a load replace another one. The other is undone before the lines of the new one are merged, and stays as
 * it is if the new one is refused.
 */
export function replaceLoad(options: {
  readonly settings: Settings;
  /** The load that is replaced. */
  readonly loadId: number;
  readonly because: string;
}): LoadReplacement {
  const { settings, loadId, because } = options;
  // Of the attempt that is under way.
  let claim: UndoClaim | undefined;
  let undone: { readonly undoId: number; readonly settled: Settled } | undefined;
  const claimed = () => {
    if (claim === undefined) throw new Error("the load that is replaced was not claimed");
    return claim;
  };
  return {
    claim: async (tx: Transaction) => {
      undone = undefined;
      claim = await claimUndo(tx, loadId);
      if (claim.kind !== "load") throw notALoad(claim);
    },
    isAlone: () => claimed().hasAbsences,
    takeBack: async (tx, dates) => {
      const undoId = await enterUndo(tx, claimed(), because);
      undone = { undoId, settled: await takeBack(tx, claimed(), { settings, undoId, heldDates: dates }) };
      return undone.settled.partitions;
    },
    partitions: () => undone?.settled.partitions ?? [],
    enter: async (tx) => {
      if (undone !== undefined) await enterSettled(tx, undone.undoId, undone.settled);
    },
    release: async (tx) => {
      undone = undefined;
      await releaseUndo(tx, claimed());
    },
    report: () => undone && reportUndo(claimed(), undone.settled, undone.undoId),
  };
}

/**
 * Makes sure that a load can be replaced, before anything is begun.
 *
 * @throws RollbookError as the undo itself, but for what its invoices and partitions say
 */
export async function requireReplaceable(options: {
  readonly database: Database;
  readonly replacement: Replacement;
  readonly signal?: AbortSignal | undefined;
}): Promise<void> {
  await withTransaction(options, async (tx) => {
    await options.replacement.claim(tx);
    await options.replacement.release(tx);
  });
}

function notALoad({ target }: UndoClaim): Error {
  return refusal(
    "usage",
    `${target.loadId} is no load but an entry of kind ${target.status}, so a file cannot replace it.`,
  );
}
