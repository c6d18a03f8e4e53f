/** Proves that nobody has changed what was closed. */
import type { Transaction } from "../../db/client.ts";
import { listPartitions } from "../../db/partitions/catalog.ts";
import { listMissingTables } from "../../db/partitions/missing.ts";
import { intersects } from "../../db/partitions/ranges.ts";
import { holdDeltas, listDetachedDeltas } from "../../db/partitions/tables.ts";
import type { Closing, Sums } from "./certificate.ts";
import { allChanges, certify } from "./groups.ts";
import { listClosings, type ReportedClosing } from "./read.ts";

/** A closing that is not what it was. */
export interface ClosingFinding {
  readonly closing: number;
  readonly period: string;
  readonly message: string;
  readonly certified: Sums;
  /** What the deltas that were known then say today. */
  readonly recomputed: Sums;
}

export interface CheckedClosings {
  /** Closings whose digest was recomputed. */
  readonly recomputed: number;
  /** Those that could not be, because deltas of these partitions are not in the database. */
  readonly unprovable: readonly {
    readonly closing: number;
    readonly period: string;
    readonly partitions: readonly string[];
  }[];
}

/**
 * Recomputes the digest of each closing from the deltas that were known then, those of detached partitions
 * among them, and follows the chain.
 *
 * To be run in a REPEATABLE READ transaction.
 */
export async function checkClosings(
  tx: Transaction,
  found: (finding: ClosingFinding) => void,
): Promise<CheckedClosings> {
  await holdDeltas(tx);
  const { tables, archived } = await listDetachedDeltas(tx);
  const gone = new Set([...archived, ...(await listGone(tx))]);
  const unreadable = (await listPartitions(tx)).filter(({ partition }) => gone.has(partition));
  const unprovable: CheckedClosings["unprovable"][number][] = [];
  let recomputed = 0;
  let before: ReportedClosing | undefined;
  for (const closing of await listClosings(tx)) {
    const without = unreadable.filter((partition) => intersects(partition, closing));
    const now = without.length > 0 ? undefined : await certify(tx, allChanges(tables), closing);
    if (now === undefined) {
      const partitions = without.map(({ partition }) => partition);
      unprovable.push({ closing: closing.closing, period: closing.period, partitions });
    } else recomputed += 1;
    for (const message of differences(closing, before, now)) {
      const { groups, invoices, total } = now ?? closing;
      found({
        closing: closing.closing,
        period: closing.period,
        message,
        certified: { groups: closing.groups, invoices: closing.invoices, total: closing.total },
        recomputed: { groups, invoices, total },
      });
    }
    before = closing;
  }
  return { recomputed, unprovable };
}

/** Partitions of the reports whose table of deltas is gone. */
async function listGone(tx: Transaction): Promise<readonly string[]> {
  const missing = await listMissingTables(tx);
  return missing.filter(({ parent }) => parent === "venue_day_deltas").map(({ partition }) => partition);
}

function differences(
  closing: ReportedClosing,
  before: ReportedClosing | undefined,
  now: Closing | undefined,
): readonly string[] {
  const messages: string[] = [];
  const number = (before?.closing ?? 0) + 1;
  if (closing.closing !== number) messages.push(`closing ${number} before it is gone`);
  else if (closing.previousSha256 !== (before?.sha256 ?? null)) {
    messages.push("it does not hold the digest of the closing before it");
  }
  if (now === undefined) return messages;
  const sameSums =
    now.groups === closing.groups && now.invoices === closing.invoices && now.total === closing.total;
  if (!sameSums) messages.push("the deltas that were known then do not add up to what was certified");
  else if (now.sha256 !== closing.sha256) {
    messages.push("its digest is not that of its groups as the deltas that were known then give them");
  }
  return messages;
}
