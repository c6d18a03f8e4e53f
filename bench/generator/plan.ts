import { toDay } from "../../db/dates.ts";
import { type Recipe, reachOf } from "./options.ts";
import { dayWeight } from "./pattern.ts";
import { apportion, createPermutation, deriveKey, mix32, type Permutation } from "./random.ts";
import { createVenues, type Venues } from "./venues.ts";

/**
 * What each file says, as numbers: how many lines of each kind, and about which invoices of which earlier
 * file. The plan of all files is made before the first line is written; its size follows the number of files,
 * never that of rows.
 *
 * A file's invoices are numbered by creation time. Later files repeat them in **rounds**: statement number x
 * about a file's `fresh` invoices is about invoice `x mod fresh`, read in steps of the golden section, in
 * round `x div fresh`. A later file takes the next statements of the row. So no invoice is repeated twice by
 * one file, none again before all others were, and who said what about an invoice is found from these few
 * runs, without a list of invoices.
 */
export interface FilePlan {
  /** Position among all files, those to come after included. */
  readonly index: number;
  readonly recipe: Recipe;
  readonly syncDay: number;
  /** 32 random bits of this file's own. */
  readonly key: number;
  /** The keys that turn (file, number) into an invoice's 64 bits; those of its recipe. */
  readonly idKeys: Uint32Array;
  /** Data lines: `valid + duplicates + bad`. */
  readonly lines: number;
  /** New invoices. */
  readonly fresh: number;
  /** Those of them that were created 2 days or more before. */
  readonly late: number;
  /** Repeated invoices of earlier files. */
  readonly repeats: readonly Repeat[];
  /** Lines whose statement counts: `fresh`, then the repeats in their order. */
  readonly valid: number;
  /** Earlier lines of keys that stand twice in this file. */
  readonly duplicates: number;
  readonly bad: number;
  /** What later files say about this file's invoices, by statement number. */
  readonly statements: readonly Statements[];
  /** The order of lines, when it is random: position to content number. */
  readonly shuffle: Permutation;
}

export interface Statements {
  /** First statement number. */
  readonly start: number;
  readonly count: number;
  /** Another total, or the same. */
  readonly corrects: boolean;
}

export interface Repeat extends Statements {
  readonly source: FilePlan;
}

export interface Plan {
  readonly venues: Venues;
  /** By sync date. */
  readonly files: readonly FilePlan[];
  /** The first file of the last recipe; those before it exist already. */
  readonly firstOwn: number;
  /** Range of `created_on` of all good lines: half-open, in days since 1970-01-01. */
  readonly firstCreated: number;
  readonly endCreated: number;
}

/** How many files back repeats reach, and how many come from there: mostly last week's, a few old ones. */
const REACH: readonly (readonly [gap: number, weight: number])[] = [
  [1, 20],
  [2, 14],
  [3, 10],
  [5, 8],
  [8, 6],
  [13, 5],
  [21, 4],
  [34, 3],
  [55, 3],
  [89, 2],
  [180, 2],
  [365, 2],
  [730, 1],
];

/** No file reaches further back than this many files. */
export const MAX_GAP = 730;

/** Roles of `deriveKey`; 1 to 3 belong to the venues. */
const ID_ROLES = [4, 5, 6, 7];
const FILE_ROLE = 16;

interface Draft extends FilePlan {
  readonly repeats: Repeat[];
  readonly statements: Statements[];
  /** Statements of later files about this file's invoices. */
  statedCount: number;
}

/** Plans the files of all recipes, which follow each other in time. The venues are those of the first. */
export function planDrops(recipes: readonly Recipe[]): Plan {
  const [first] = recipes;
  if (first === undefined) throw new RangeError("no recipe");
  const files: Draft[] = [];
  let firstOwn = 0;
  for (const recipe of recipes) {
    firstOwn = files.length;
    planRecipe(recipe, files);
  }
  const created = files.map((file) => file.syncDay - reachOf(file.recipe));
  return {
    venues: createVenues({
      seed: first.seed,
      venues: first.venues,
      newVenues: first.newVenues,
      firstDay: toDay(first.syncedOn.first),
      lastDay: toDay(first.syncedOn.last),
    }),
    files,
    firstOwn,
    firstCreated: created.reduce((least, day) => Math.min(least, day), toDay(first.syncedOn.first)),
    endCreated: toDay((recipes[recipes.length - 1] as Recipe).syncedOn.last) + 1,
  };
}

function planRecipe(recipe: Recipe, files: Draft[]): void {
  const { days } = recipe.syncedOn;
  const from = toDay(recipe.syncedOn.first);
  const span = toDay(recipe.syncedOn.last) - from;
  const syncDays = Array.from(
    { length: days },
    (_, k) => from + (days === 1 ? 0 : Math.floor((k * span) / (days - 1))),
  );
  const weights = Float64Array.from(syncDays, (day) => dayWeight(day - 1, recipe));
  const shares = { bad: 0, duplicates: 0, corrections: 0, resent: 0, late: 0 };
  const due = createDues(shares);
  const idKeys = Uint32Array.from(ID_ROLES, (role) => deriveKey(recipe.seed, role));
  apportion(recipe.rows, weights, 0).forEach((lines, k) => {
    files.push(planFile({ recipe, files, lines, due, idKeys, syncDay: syncDays[k] as number }));
  });
}

type Share = "bad" | "duplicates" | "corrections" | "resent" | "late";

/** Whole numbers that follow shares of growing counts without drifting from them. */
type Due = (share: Share, rate: number, count: number) => number;

function createDues(seen: Record<Share, number>): Due {
  return (share, rate, count) => {
    const before = Math.floor(rate * seen[share] + 0.5);
    seen[share] += count;
    return Math.min(count, Math.floor(rate * seen[share] + 0.5) - before);
  };
}

interface FileOptions {
  readonly recipe: Recipe;
  readonly files: readonly Draft[];
  readonly lines: number;
  readonly syncDay: number;
  readonly due: Due;
  readonly idKeys: Uint32Array;
}

function planFile({ recipe, files, lines, syncDay, due, idKeys }: FileOptions): Draft {
  const index = files.length;
  const key = deriveKey(recipe.seed, FILE_ROLE + index);
  const badDue = due("bad", recipe.bad, lines);
  // At least one good line in a file that is not empty.
  const most = recipe.bad <= 0.01 ? Math.floor(lines / 100) : Math.max(0, lines - 1);
  const bad = Math.min(badDue, most);
  const duplicates = Math.min(due("duplicates", recipe.duplicates, lines), Math.floor((lines - bad) / 2));
  const valid = lines - bad - duplicates;
  const repeats: Repeat[] = [];
  const budget = new Map<Draft, number>();
  const corrections = Math.min(due("corrections", recipe.corrections, lines), valid);
  takeRepeats({ files, repeats, budget, key, count: corrections, corrects: true });
  const left = valid - corrections;
  takeRepeats({
    files,
    repeats,
    budget,
    key: mix32(key + 1),
    count: Math.min(due("resent", recipe.resent, lines), left),
    corrects: false,
  });
  const fresh = valid - repeats.reduce((sum, repeat) => sum + repeat.count, 0);
  return {
    index,
    recipe,
    syncDay,
    key,
    idKeys,
    lines,
    fresh,
    late: due("late", recipe.late, fresh),
    repeats,
    valid,
    duplicates,
    bad,
    statements: [],
    shuffle: createPermutation(Math.max(1, lines), mix32(key + 2)),
    statedCount: 0,
  };
}

interface RepeatOptions {
  readonly files: readonly Draft[];
  readonly repeats: Repeat[];
  /** What the file may still repeat of each earlier file: an invoice at most once. */
  readonly budget: Map<Draft, number>;
  readonly key: number;
  readonly count: number;
  readonly corrects: boolean;
}

function takeRepeats({ files, repeats, budget, key, count, corrects }: RepeatOptions): void {
  const reach = REACH.filter(([gap]) => gap <= files.length);
  if (reach.length === 0 || count === 0) return;
  const wanted = apportion(
    count,
    Float64Array.from(reach, ([, weight]) => weight),
    key / 2 ** 32,
  );
  let missing = 0;
  reach.forEach(([gap], k) => {
    const source = files[files.length - gap] as Draft;
    const available = budget.get(source) ?? source.fresh;
    const taken = Math.min(available, (wanted[k] as number) + missing);
    missing += (wanted[k] as number) - taken;
    if (taken === 0) return;
    budget.set(source, available - taken);
    repeats.push({ source, start: source.statedCount, count: taken, corrects });
    source.statements.push({ start: source.statedCount, count: taken, corrects });
    source.statedCount += taken;
  });
}

/** The line of the file, by content number, whose key stands there a second time: that of duplicate `k`. */
export function duplicatedContent(file: FilePlan, k: number): number {
  const stride = Math.floor(file.valid / file.duplicates);
  return k * stride + (mix32(file.key + 3 + k) % stride);
}

/** The duplicate of a content number, or -1. */
export function duplicateOf(file: FilePlan, content: number): number {
  if (file.duplicates === 0) return -1;
  const k = Math.floor(content / Math.floor(file.valid / file.duplicates));
  return k < file.duplicates && duplicatedContent(file, k) === content ? k : -1;
}
