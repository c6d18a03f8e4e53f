/** The rules for the dates of a drop's lines, read from the warehouse once per load. */
import type { Transaction } from "../../db/client.ts";
import { addDays } from "../../db/dates.ts";
import { listPartitions } from "../../db/partitions/catalog.ts";
import type { Settings } from "../../db/schema.ts";
import { type DateThreshold, readThresholds } from "./calendar.ts";

/** The rules for the lines of one drop, beside those that are always the same. */
export interface LineRules {
  /** The first date of the warehouse. */
  readonly earliest: DateThreshold;
  /** The first date that is too late: the day after the sync date, or after the days of slack that follow it. */
  readonly afterSync: DateThreshold;
  /** The ranges of dates, `to` not included, whose partitions take no rows. */
  readonly closed: readonly { readonly from: DateThreshold; readonly to: DateThreshold }[];
  /** True when in totals comma and point change places. */
  readonly decimalComma: boolean;
  /** `HH:MM`, when a day of the warehouse begins. */
  readonly dayStarts: string;
}

/** Reads the rules of a warehouse: its bounds, and the ranges of dates whose partitions are closed. */
export async function readRules(
  tx: Transaction,
  options: {
    readonly settings: Settings;
    readonly decimalComma?: boolean | undefined;
    readonly syncSlack?: number | undefined;
    readonly syncedOn: string;
  },
): Promise<LineRules> {
  return rulesFor(tx, {
    ...options.settings,
    syncedOn: options.syncedOn,
    syncSlack: options.syncSlack ?? 0,
    closed: closedRanges(await listPartitions(tx)),
    decimalComma: options.decimalComma ?? false,
  });
}

/** What the rules are made of. */
export interface Bounds {
  readonly dayStarts: string;
  readonly earliest: string;
  readonly syncedOn: string;
  /** How many days after the sync date are taken, too. */
  readonly syncSlack: number;
  /** Ranges of dates, the second not included, whose partitions take no rows. */
  readonly closed: readonly (readonly [string, string])[];
  readonly decimalComma: boolean;
}

/** Makes the rules of bounds and closed ranges that are known. */
export async function rulesFor(
  tx: Transaction,
  options: Bounds & { readonly timeZone: string },
): Promise<LineRules> {
  const { timeZone, dayStarts, earliest, closed } = options;
  const dates = [...new Set([earliest, firstTooLate(options), ...closed.flat()])];
  const thresholds = await readThresholds({ session: tx, timeZone, dayStarts, dates });
  return rulesAt(options, (date) => {
    const threshold = thresholds.get(date);
    if (threshold === undefined) throw new Error(`no threshold for ${date}`);
    return threshold;
  });
}

/** The same where it is known when each date begins. */
export function rulesAt(bounds: Bounds, at: (date: string) => DateThreshold): LineRules {
  const { earliest, closed, decimalComma, dayStarts } = bounds;
  return {
    earliest: at(earliest),
    afterSync: at(firstTooLate(bounds)),
    closed: closed.map(([from, to]) => ({ from: at(from), to: at(to) })),
    decimalComma,
    dayStarts,
  };
}

function firstTooLate({ syncedOn, syncSlack }: Bounds): string {
  return addDays(syncedOn, 1 + syncSlack);
}

/** Ranges of dates whose partitions are detached or dropped, with adjoining ones joined. */
function closedRanges(
  partitions: readonly { readonly lower: string; readonly upper: string; readonly state: string }[],
): readonly (readonly [string, string])[] {
  const ranges: [string, string][] = [];
  for (const { lower, upper, state } of partitions) {
    if (state !== "detached" && state !== "dropped") continue;
    const last = ranges.at(-1);
    if (last !== undefined && last[1] === lower) last[1] = upper;
    else ranges.push([lower, upper]);
  }
  return ranges;
}
