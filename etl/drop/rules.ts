/** The rules for the dates of a drop's lines, read from the warehouse once per load. */
import { sql } from "drizzle-orm";
import type { Transaction } from "../../db/client.ts";
import { addDays } from "../../db/dates.ts";
import { closings, partitions, type Settings, settings } from "../../db/schema.ts";
import { type DateThreshold, readThresholds } from "./calendar.ts";

/** The rules for the lines of one drop, beside those that are always the same. */
export interface LineRules {
  /** The first date of the warehouse. */
  readonly earliest: DateThreshold;
  /** The first date that is too late: the day after the sync date, or after the days of slack that follow it. */
  readonly afterSync: DateThreshold;
  /** The ranges of dates, `to` not included, whose partitions take no rows. */
  readonly closed: readonly ThresholdRange[];
  /** The periods that were closed when these rules were read; null where files may restate them. */
  readonly closedPeriods: readonly ThresholdRange[] | null;
  /** True when in totals comma and point change places. */
  readonly decimalComma: boolean;
  /** `HH:MM`, when a day of the warehouse begins. */
  readonly dayStarts: string;
}

/** `to` is not included. */
interface ThresholdRange {
  readonly from: DateThreshold;
  readonly to: DateThreshold;
}

/** The first and the first after the last. */
type DateRange = readonly [from: string, to: string];

/** Reads the rules of a warehouse: its bounds, and which partitions and periods are closed. */
export async function readRules(
  tx: Transaction,
  options: {
    readonly settings: Settings;
    readonly decimalComma?: boolean | undefined;
    readonly syncSlack?: number | undefined;
    readonly syncedOn: string;
    /** Whether closed periods take rows although the warehouse refuses them; default false. */
    readonly restate?: boolean | undefined;
  },
): Promise<LineRules> {
  const { closed, closedPeriods } = await readClosed(tx);
  return rulesFor(tx, {
    ...options.settings,
    syncedOn: options.syncedOn,
    syncSlack: options.syncSlack ?? 0,
    closed: joinRanges(closed),
    closedPeriods: closedPeriods === null || options.restate === true ? null : joinRanges(closedPeriods),
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
  readonly closed: readonly DateRange[];
  /** Ranges of dates of closed periods, joined; null where they take rows. */
  readonly closedPeriods: readonly DateRange[] | null;
  readonly decimalComma: boolean;
}

/** Makes the rules of bounds and closed ranges that are known. */
export async function rulesFor(
  tx: Transaction,
  options: Bounds & { readonly timeZone: string },
): Promise<LineRules> {
  const { timeZone, dayStarts, earliest, closed, closedPeriods } = options;
  const ends = [...closed, ...(closedPeriods ?? [])].flat();
  const dates = [...new Set([earliest, firstTooLate(options), ...ends])];
  const thresholds = await readThresholds({ session: tx, timeZone, dayStarts, dates });
  return rulesAt(options, (date) => {
    const threshold = thresholds.get(date);
    if (threshold === undefined) throw new Error(`no threshold for ${date}`);
    return threshold;
  });
}

/** The same where it is known when each date begins. */
export function rulesAt(bounds: Bounds, at: (date: string) => DateThreshold): LineRules {
  const { earliest, closed, closedPeriods, decimalComma, dayStarts } = bounds;
  const range = ([from, to]: DateRange) => ({ from: at(from), to: at(to) });
  return {
    earliest: at(earliest),
    afterSync: at(firstTooLate(bounds)),
    closed: closed.map(range),
    closedPeriods: closedPeriods?.map(range) ?? null,
    decimalComma,
    dayStarts,
  };
}

function firstTooLate({ syncedOn, syncSlack }: Bounds): string {
  return addDays(syncedOn, 1 + syncSlack);
}

/** Both in one statement: most loads need only this look, and each look is a round trip. */
async function readClosed(
  tx: Transaction,
): Promise<{ readonly closed: readonly DateRange[]; readonly closedPeriods: readonly DateRange[] | null }> {
  const { rows } = await tx.db.execute<{ closed: DateRange[]; periods: DateRange[] | null }>(sql`
    select array(
             select array[lower::text, upper::text]
             from ${partitions}
             where state in ('detached', 'dropped')
             order by lower
           ) as closed,
           case
             when s.refuse_closed
             then array(select array[first_date::text, date_after::text] from ${closings} order by first_date)
           end as periods
    from ${settings} s`);
  const [row] = rows;
  if (row === undefined) throw new Error("a warehouse has settings");
  return { closed: row.closed, closedPeriods: row.periods };
}

/** Joins ranges, in the order of their first dates, that overlap or adjoin. */
function joinRanges(ranges: readonly DateRange[]): readonly DateRange[] {
  const joined: [string, string][] = [];
  for (const [from, to] of ranges) {
    const last = joined.at(-1);
    if (last === undefined || last[1] < from) joined.push([from, to]);
    else if (last[1] < to) last[1] = to;
  }
  return joined;
}
