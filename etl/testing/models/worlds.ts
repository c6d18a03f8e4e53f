/**
 * Warehouses and sync dates that drops are made for: clocks with gaps and overlaps at the bounds, closed
 * ranges, decimal commas.
 */
import type { World } from "./line.ts";

const PLAIN = { closed: [], decimalComma: false } as const;

export const WORLDS: readonly World[] = [
  {
    ...PLAIN,
    timeZone: "UTC",
    earliest: "2000-01-01",
    syncedOn: "2018-07-01",
    closed: [["2018-02-01", "2018-03-01"]],
  },
  { timeZone: "UTC", earliest: "0004-02-29", syncedOn: "2099-12-31", closed: [], decimalComma: true },
  { ...PLAIN, timeZone: "Europe/Berlin", earliest: "2000-01-01", syncedOn: "2018-07-01" },
  // Both bounds are days on which the clock changes.
  {
    timeZone: "Europe/Berlin",
    earliest: "2018-03-25",
    syncedOn: "2018-10-28",
    closed: [],
    decimalComma: true,
  },
  {
    ...PLAIN,
    timeZone: "America/New_York",
    earliest: "2008-01-01",
    syncedOn: "2026-11-01",
    closed: [["2026-03-01", "2026-04-01"]],
  },
  // The clock lacks 2011-12-30: as the first date, as the sync date, and as the day after it.
  { ...PLAIN, timeZone: "Pacific/Apia", earliest: "2011-12-30", syncedOn: "2012-04-01" },
  { ...PLAIN, timeZone: "Pacific/Apia", earliest: "2011-01-01", syncedOn: "2011-12-30" },
  {
    ...PLAIN,
    timeZone: "Pacific/Apia",
    earliest: "2011-09-24",
    syncedOn: "2011-12-29",
    closed: [["2011-11-01", "2011-12-01"]],
  },
  // Midnights that never come and midnights that come twice.
  {
    ...PLAIN,
    timeZone: "America/Sao_Paulo",
    earliest: "2016-10-16",
    syncedOn: "2017-02-18",
    closed: [["2016-12-01", "2017-01-01"]],
  },
  {
    ...PLAIN,
    timeZone: "America/Sao_Paulo",
    earliest: "2015-02-22",
    syncedOn: "2018-11-03",
    closed: [["2017-02-19", "2017-10-15"]],
  },
  // Dates that come for a minute, go, and come again.
  { ...PLAIN, timeZone: "America/St_Johns", earliest: "2009-11-01", syncedOn: "2010-11-06" },
  {
    ...PLAIN,
    timeZone: "America/St_Johns",
    earliest: "2009-03-09",
    syncedOn: "2010-10-31",
    closed: [
      ["2009-11-01", "2009-11-02"],
      ["2010-03-14", "2010-03-15"],
    ],
  },
  { ...PLAIN, timeZone: "Australia/Lord_Howe", earliest: "2009-10-04", syncedOn: "2018-04-01" },
  {
    timeZone: "Asia/Kathmandu",
    earliest: "2010-01-01",
    syncedOn: "2018-07-01",
    closed: [],
    decimalComma: true,
  },
  { ...PLAIN, timeZone: "Africa/Monrovia", earliest: "1972-01-07", syncedOn: "1972-01-20" },
  { ...PLAIN, timeZone: "Africa/Monrovia", earliest: "1960-01-01", syncedOn: "1972-01-06" },
];
