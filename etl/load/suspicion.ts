/** A guard that looks at what rejects mean, beside their share: they may be more than single bad lines. */
import type { ReasonSummary, Suspicion } from "../../db/reason_summary.ts";
import { describeReason } from "./reasons.ts";
import type { Refusal } from "./report.ts";

/** From so many lines on it is suspicious that all have one reason. */
const LEAST_OF_ONE_REASON = 3;
/** Rejects may hold one part of so many of the drop's money. */
const PART_OF_THE_MONEY = 100n;

/** Sums of the sizes of totals, in cents: a refund is money as well. */
export interface Money {
  /** Of the lines that are taken. */
  readonly taken: bigint;
  /** Of the rejected lines, as far as they can be read. */
  readonly rejected: bigint;
}

/** What is suspicious about the rejects of a drop. */
export function findSuspicions(reasons: readonly ReasonSummary[], money: Money): readonly Suspicion[] {
  const [first] = reasons;
  const late = reasons.find(({ reason }) => reason === "created_after_sync")?.createdOn;
  const found: [Suspicion, boolean][] = [
    ["one_reason", reasons.length === 1 && first !== undefined && first.count >= LEAST_OF_ONE_REASON],
    ["much_money", money.rejected * PART_OF_THE_MONEY > money.rejected + money.taken],
    ["one_day_after_sync", late != null && late[0] === late[1]],
  ];
  return found.filter(([, holds]) => holds).map(([suspicion]) => suspicion);
}

const SAYING: Readonly<Record<Suspicion, string>> = {
  one_reason: "all rejected lines have one reason",
  much_money: "the rejected lines hold more than 1 % of the file's money",
  one_day_after_sync: "lines of one day only were created after the sync date",
};

export function describeSuspicions(suspicious: readonly Suspicion[]): string {
  return suspicious.map((suspicion) => SAYING[suspicion]).join("; ");
}

export function refuseSuspicious(
  loadId: number,
  suspicious: readonly Suspicion[],
  reasons: readonly ReasonSummary[],
): Refusal {
  return {
    code: "suspicious_rejects",
    message: `${describeSuspicions(suspicious)}: ${reasons.map(describeReason).join(". ")}. See them with: rollbook rejects --load ${loadId}; then mend the file. Without --refuse-suspicious the other lines are loaded.`,
  };
}
