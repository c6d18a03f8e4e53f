import { toDate, toDay } from "../../db/dates.ts";
import { RollbookError } from "../../db/errors.ts";

/** What decides the content of the drops. It stands in the manifest. Shares are from 0 to 1. */
export interface Recipe {
  /** Whole number from 0 to 2^53 - 1. Same seed and options: same bytes. */
  readonly seed: number;
  /** Lines of all files together, headers not counted: 1 to 1,000,000,000. */
  readonly rows: number;
  /** One file for each sync day; the days are spread evenly from the first to the last. */
  readonly syncedOn: { readonly first: string; readonly last: string; readonly days: number };
  readonly venues: number;
  /** Share of the venues that open between the first and the last sync date, at most 0.9. */
  readonly newVenues: number;
  /** Weekends are busier than Mondays. */
  readonly weekly: boolean;
  /** Summer and December are busier than January. */
  readonly season: boolean;
  /** Lunch and dinner peaks. */
  readonly hours: boolean;
  /** Share of new invoices that were created 2 days or more before the sync date; the others 0 or 1. */
  readonly late: number;
  /** Greatest lateness, in days. */
  readonly lateDays: number;
  /** `tail`: most within weeks, a tenth over the whole reach. `even`: the same number on every date. */
  readonly lateSpread: "tail" | "even";
  /** Share of lines that send an invoice of an earlier file again with another total. */
  readonly corrections: number;
  /** Share of lines that send an invoice of an earlier file again as it is known. */
  readonly resent: number;
  /** Share of lines whose key stands in the same file twice; half of these pairs differ in the total. */
  readonly duplicates: number;
  /** Share of lines that break a rule. Up to 0.01 no file gets more than 1 % of them, so that all load. */
  readonly bad: number;
  /** Share of valid lines in a form that is not canonical: upper-case UUIDs, quotes, CRLF, exponents. */
  readonly odd: number;
  /** Share of invoices with a negative total. */
  readonly refunds: number;
  /** Lines of a file in random order, or by `datetime_created`. */
  readonly order: "shuffled" | "sorted";
  /** Write `.csv.gz`. */
  readonly gzip: boolean;
}

/** The part of a recipe that may be left out. */
type Content = Omit<Recipe, "seed" | "rows" | "syncedOn">;

/** What to generate. */
export interface GenerateOptions extends Pick<Recipe, "seed" | "rows">, Partial<Content> {
  /** Folder for the drops, `manifest.json` and `totals.csv`; made when missing. */
  readonly out: string;
  /** Number of sync days. Default: the days from `first` to `last` when both are given, else 30. */
  readonly days?: number;
  /** First sync date, `YYYY-MM-DD`. Default: `days` consecutive days that end with `last`. */
  readonly first?: string;
  /** Last sync date. Default: consecutive days from `first`, else 2026-09-30. */
  readonly last?: string;
  /**
   * Folder of drops generated earlier which these come after: venues, corrections and totals go on from
   * there. Take another seed than for other drops after the same folder.
   */
  readonly after?: string;
  /** Replace drops that are in `out` already. Default false: an error. */
  readonly overwrite?: boolean;
  /** Called about once per MiB. */
  readonly onProgress?: (progress: GenerateProgress) => void;
}

export interface GenerateProgress {
  readonly rows: number;
  readonly totalRows: number;
  readonly file: string;
}

export const DEFAULT_DAYS = 30;
export const DEFAULT_LAST = "2026-09-30";

export const DEFAULTS: Content = {
  venues: 1000,
  newVenues: 0.1,
  weekly: true,
  season: true,
  hours: true,
  late: 0.1,
  lateDays: 1095,
  lateSpread: "tail",
  corrections: 0.02,
  resent: 0.01,
  duplicates: 0.001,
  bad: 0.001,
  odd: 0,
  refunds: 0.005,
  order: "shuffled",
  gzip: false,
};

/** The earliest date of a warehouse, by default: no good line is older. */
export const EARLIEST = "2000-01-01";

/** A hundred years. */
const MOST_DAYS = 36_500;

/** The drop format knows no later sync date. */
const LATEST = "2099-12-31";

/** Fills in the defaults. Throws `usage` with every problem found. `base` is the recipe to come after. */
export function createRecipe(options: GenerateOptions, base?: Recipe): Recipe {
  const { seed, rows, out: _out, days: _days, first: _first, last: _last, ...others } = options;
  const { after: _after, overwrite: _overwrite, onProgress: _onProgress, ...given } = others;
  const venues = base && { venues: base.venues, newVenues: base.newVenues };
  const syncedOn = syncDates(options, base);
  const recipe: Recipe = { seed, rows, syncedOn, ...DEFAULTS, ...given, ...venues };
  const problems = [...problemsOf(recipe), ...baseProblems(options, recipe, base)];
  if (problems.length > 0) {
    throw new RollbookError({ code: "usage", message: `cannot generate drops: ${problems.join("; ")}` });
  }
  return recipe;
}

function syncDates(options: GenerateOptions, base: Recipe | undefined): Recipe["syncedOn"] {
  for (const date of [options.first, options.last]) {
    if (date !== undefined && !isDate(date)) {
      throw new RollbookError({ code: "usage", message: `"${date}" is not a date; write it as 2026-09-30` });
    }
  }
  if (options.days !== undefined && !(options.days >= 1 && options.days <= MOST_DAYS)) {
    throw new RollbookError({
      code: "usage",
      message: `days must be from 1 to ${MOST_DAYS}, not ${options.days}`,
    });
  }
  const next = base === undefined ? undefined : toDate(toDay(base.syncedOn.last) + 1);
  const givenFirst = options.first ?? (options.last === undefined ? next : undefined);
  const both = givenFirst !== undefined && options.last !== undefined;
  const span = both ? toDay(options.last) - toDay(givenFirst) + 1 : undefined;
  const days = options.days ?? span ?? DEFAULT_DAYS;
  const first = givenFirst ?? toDate(toDay(options.last ?? DEFAULT_LAST) - days + 1);
  const last = both ? options.last : toDate(toDay(first) + days - 1);
  return { first, last, days };
}

function isDate(text: string): boolean {
  if (!/^(19|20)\d\d-\d\d-\d\d$/.test(text)) return false;
  const day = toDay(text);
  return Number.isInteger(day) && toDate(day) === text;
}

function problemsOf(recipe: Recipe): string[] {
  const problems: string[] = [];
  const whole = (name: string, value: number, least: number, most: number) => {
    if (!Number.isSafeInteger(value) || value < least || value > most) {
      problems.push(`${name} must be a whole number from ${least} to ${most}, not ${value}`);
    }
  };
  const share = (name: string, value: number, most: number) => {
    if (!(value >= 0 && value <= most))
      problems.push(`${name} must be a share from 0 to ${most}, not ${value}`);
  };
  const { first, last, days } = recipe.syncedOn;
  whole("seed", recipe.seed, 0, Number.MAX_SAFE_INTEGER);
  whole("rows", recipe.rows, 1, 1_000_000_000);
  whole("days", days, 1, MOST_DAYS);
  whole("venues", recipe.venues, 1, 1_000_000);
  whole("lateDays", recipe.lateDays, 2, MOST_DAYS);
  share("newVenues", recipe.newVenues, 0.9);
  for (const name of ["late", "corrections", "resent", "duplicates", "bad", "odd", "refunds"] as const) {
    share(name, recipe[name], 1);
  }
  if (!(recipe.corrections + recipe.resent + recipe.duplicates + recipe.bad <= 0.9)) {
    problems.push("corrections, resent, duplicates and bad together must not pass 0.9");
  }
  const span = toDay(last) - toDay(first) + 1;
  if (span < 1) problems.push(`the last sync date ${last} lies before the first, ${first}`);
  else if (span < days) problems.push(`${days} sync days do not fit between ${first} and ${last}`);
  if (last > LATEST) problems.push(`the last sync date ${last} lies after ${LATEST}`);
  const reach = reachOf(recipe);
  if (toDay(first) - reach < toDay(EARLIEST)) {
    problems.push(
      `the first sync date ${first} less ${reach} days lies before ${EARLIEST}, the earliest date of a warehouse`,
    );
  }
  return problems;
}

function baseProblems(options: GenerateOptions, recipe: Recipe, base: Recipe | undefined): string[] {
  if (base === undefined) return [];
  const problems: string[] = [];
  if (options.venues !== undefined || options.newVenues !== undefined) {
    problems.push("venues are those of the drops to come after; leave out venues and newVenues");
  }
  if (recipe.syncedOn.first <= base.syncedOn.last) {
    problems.push(
      `the first sync date must come after ${base.syncedOn.last}, the last one of ${options.after}`,
    );
  }
  return problems;
}

/** Greatest lateness of any row, in days. */
export function reachOf(recipe: Recipe): number {
  return recipe.late > 0 ? recipe.lateDays : 1;
}
