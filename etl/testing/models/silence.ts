/**
 * A model of who is silent, from a plain list of what came: it shares nothing with the views of migration 0012. All days are
 * numbers.
 */

/** A drop of `syncedOn` brought something new of a venue, of this creation date. */
export interface News {
  readonly venue: string;
  readonly syncedOn: number;
  readonly createdOn: number;
}

export interface ModelActivity {
  readonly lastCreatedOn: number;
  readonly lastSyncedOn: number | null;
  readonly syncDates: number | null;
  readonly typicalDays: number | null;
  readonly daysSilent: number | null;
  /** The first day, today or later, on which it is silent if nothing comes; null: none. */
  readonly silentFrom: number | null;
}

const WINDOW = 90;

/** What each venue did, as it looks on that day. */
export function modelActivity(news: readonly News[], today: number): ReadonlyMap<string, ModelActivity> {
  const venues = new Map<string, News[]>();
  for (const one of news) venues.set(one.venue, [...(venues.get(one.venue) ?? []), one]);
  return new Map([...venues].map(([venue, own]) => [venue, modelVenue(own, today)]));
}

function modelVenue(news: readonly News[], today: number): ModelActivity {
  const lastCreatedOn = Math.max(...news.map(({ createdOn }) => createdOn));
  const days = [...new Set(news.map(({ syncedOn }) => syncedOn))].filter((day) => day <= today);
  days.sort((one, other) => one - other);
  const last = days.at(-1);
  if (last === undefined) {
    return {
      lastCreatedOn,
      lastSyncedOn: null,
      syncDates: null,
      typicalDays: null,
      daysSilent: null,
      silentFrom: null,
    };
  }
  const recent = days.filter((day) => last - day < WINDOW);
  const gaps = recent.slice(1).map((day, index) => day - (recent[index] ?? day));
  const sum = gaps.reduce((all, gap) => all + gap, 0);
  const isSilentOn = (day: number) => day - last >= 2 && (day - last) * gaps.length > 3 * sum;
  // Day after day, as people would wait.
  let silentFrom: number | null = gaps.length === 0 ? null : last;
  while (silentFrom !== null && !isSilentOn(silentFrom)) silentFrom += 1;
  return {
    lastCreatedOn,
    lastSyncedOn: last,
    syncDates: recent.length,
    typicalDays: gaps.length === 0 ? null : sum / gaps.length,
    daysSilent: today - last,
    silentFrom,
  };
}

/** Days of the last 90 on which a daily sender has no file: the oldest first. `days`: those on which it has. */
export function modelMissing(days: readonly number[], today: number): readonly number[] {
  const there = new Set(days.filter((day) => day <= today && today - day < WINDOW));
  if (there.size < 21) return [];
  const [first, last] = [Math.min(...there), Math.max(...there)];
  if (there.size < 0.9 * (last - first + 1)) return [];
  const missing: number[] = [];
  for (let day = first; day <= today; day += 1) {
    if (!there.has(day) && (day < last || today - day >= 2)) missing.push(day);
  }
  return missing;
}
