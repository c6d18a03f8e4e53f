/** The quarantine: where rejected lines go, and how many of them a drop may have. */
import type { Transaction } from "../../db/client.ts";
import type { ReasonSummary } from "../../db/reason_summary.ts";
import type { Reject } from "../drop/reject.ts";
import type { FileSource } from "../sources/source.ts";
import { openCopy } from "./copy.ts";
import { describeReason } from "./reasons.ts";
import type { Refusal } from "./report.ts";
import type { LoadTask, RejectLimit } from "./task.ts";

export const DEFAULT_REJECT_LIMIT: RejectLimit = { share: 0.01, lines: 0 };

/**
 * The most that one drop puts into quarantine, counted by {@link sizeOfReject}: some four million lines of
 * usual length. A few megabytes of gzip may hold a billion bad lines. They would fill the disk before it is
 * known that their share is too great.
 */
export const QUARANTINE_BYTES = 1024 ** 3;

/** What a reject takes besides its raw text, roughly. */
const REJECT_OVERHEAD = 200;

/** The memory that a reject takes, in bytes, roughly. */
export function sizeOfReject({ raw }: Reject): number {
  return raw.length + REJECT_OVERHEAD;
}

/** How many rejects a drop may have: as its source says, or as the options say. */
export function limitRejects({
  source,
  replaceVenueDays,
  maxRejects,
  maxRejectedLines,
}: {
  readonly source?: Pick<FileSource, "form" | "maxRejects" | "replaceVenueDays"> | undefined;
  readonly replaceVenueDays?: boolean | undefined;
  readonly maxRejects?: number | undefined;
  readonly maxRejectedLines?: number | undefined;
}): RejectLimit {
  // A drop whose rows are added up has none: an invoice without one of its rows would have a wrong total. In one
  // that is all there is, a line that cannot be read may name an invoice that would be taken out.
  if (source?.form.sumRows === true || replacesVenueDays({ source, replaceVenueDays }))
    return { share: 0, lines: 0 };
  const { share, lines } = DEFAULT_REJECT_LIMIT;
  return source?.maxRejects ?? { share: maxRejects ?? share, lines: maxRejectedLines ?? lines };
}

/** Whether a drop is all there is for the venues and dates that it holds: its source, or somebody, says so. */
export function replacesVenueDays({
  source,
  replaceVenueDays = false,
}: {
  readonly source?: Pick<FileSource, "replaceVenueDays"> | undefined;
  readonly replaceVenueDays?: boolean | undefined;
}): boolean {
  return replaceVenueDays || source?.replaceVenueDays === true;
}

/** Whether so many rejects among the lines read are more than is allowed. */
export function isTooMany(rejected: number, read: number, { share, lines }: RejectLimit): boolean {
  // In whole billionths, because 0.29 * 100 is less than 29.
  const allowed = BigInt(Math.round(share * 1e9)) * BigInt(read);
  return rejected > lines && BigInt(rejected) * 1_000_000_000n > allowed;
}

/** What was rejected of a drop that is refused for it. */
interface Rejected {
  readonly loadId: number;
  readonly rejected: number;
  readonly read: number;
  readonly reasons: readonly ReasonSummary[];
}

export function refuseTooMany(
  drop: Omit<Rejected, "loadId">,
  task: Pick<LoadTask, "loadId" | "rejectLimit" | "source" | "replacesVenueDays">,
): Refusal {
  const why = explainRejects({ ...drop, loadId: task.loadId });
  const message = `${drop.rejected} of ${drop.read} lines were rejected, ${explainLimit(task, why)}.`;
  return { code: "too_many_rejects", message };
}

function explainLimit(
  { rejectLimit, source, replacesVenueDays: replaces }: Parameters<typeof refuseTooMany>[1],
  why: string,
): string {
  if (source?.form.sumRows === true) {
    return `and none may be, because source ${source.name} adds up rows (sum_rows): an invoice without one of its rows would have a wrong total. ${why}`;
  }
  if (replaces) {
    const said =
      source?.replaceVenueDays === true
        ? `source ${source.name} says (replace_venue_days)`
        : "--replace-venue-days says";
    return `and none may be, because ${said} that the file is all there is for its venues and dates: a line that cannot be read may name an invoice, which would be taken out. ${why}`;
  }
  const { share, lines } = rejectLimit;
  const few = lines > 0 ? ` and more than ${lines}` : "";
  return `more than the share of ${share}${few} that is allowed: ${why}. Or let these lines stay out with ${source?.maxRejects === undefined ? "--max-rejects" : `max_rejects in source ${source.name}`}`;
}

export function refuseFull(drop: Rejected & { readonly fileName: string }, bytes: number): Refusal {
  const { fileName, rejected, read } = drop;
  return {
    code: "too_many_rejects",
    message: `${fileName}: reading stopped after ${read} lines, because the ${rejected} that were rejected fill the ${bytes} bytes that one drop may have in quarantine: ${explainRejects(drop)}, or divide it.`,
  };
}

function explainRejects({ loadId, reasons }: Rejected): string {
  return `${reasons.map(describeReason).join(". ")}. See them with: rollbook rejects --load ${loadId}; then mend the file`;
}

/** Text that is sent at a time, in characters. */
const REJECTS_TEXT = 128 * 1024;

/** Writes rejects to the quarantine. The connection must not be in another COPY. */
export async function copyRejects(
  tx: Transaction,
  loadId: number,
  rejects: readonly Reject[],
): Promise<void> {
  if (rejects.length === 0) return;
  const copy = openCopy(tx, "copy warehouse.rejects (load_id, line, reason, column_name, raw) from stdin");
  let text = "";
  for (const { line, reason, column, raw } of rejects) {
    text += `${loadId}\t${line}\t${reason}\t${column ?? "\\N"}\t\\\\x${raw.toString("hex")}\n`;
    if (text.length < REJECTS_TEXT) continue;
    await copy.write(text);
    text = "";
  }
  if (text !== "") await copy.write(text);
  await copy.close();
}
