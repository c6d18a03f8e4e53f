/**
 * Warehouses and sync dates that drops are made for: clocks with gaps and overlaps at the bounds, closed
 * partitions and periods, decimal commas, business days that begin at night, days beyond the sync date.
 */
import type { World } from "./line.ts";

const PLAIN = { dayStarts: "00:00", syncSlack: 0, closed: [], decimalComma: false } as const;

export const WORLDS: readonly World[] = [
  {
    ...PLAIN,
    timeZone: "UTC",
    earliest: "2000-01-01",
    syncedOn: "2018-07-01",
    closed: [["2018-02-01", "2018-03-01"]],
    // Around a closed partition, and one beside another.
    closedPeriods: [
      ["2018-01-01", "2018-04-01"],
      ["2018-04-01", "2018-04-02"],
    ],
  },
  { ...PLAIN, timeZone: "UTC", earliest: "0004-02-29", syncedOn: "2099-12-31", decimalComma: true },
  { ...PLAIN, timeZone: "UTC", dayStarts: "04:00", earliest: "2000-01-01", syncedOn: "2018-07-01" },
  { ...PLAIN, timeZone: "Europe/Berlin", earliest: "2000-01-01", syncedOn: "2018-07-01" },
  // Both bounds are days on which the clock changes.
  {
    ...PLAIN,
    timeZone: "Europe/Berlin",
    earliest: "2018-03-25",
    syncedOn: "2018-10-28",
    decimalComma: true,
  },
  // Business days begin in the hour that the clock lacks, or has twice.
  {
    ...PLAIN,
    timeZone: "Europe/Berlin",
    dayStarts: "02:30",
    earliest: "2018-03-25",
    syncedOn: "2018-10-28",
    closed: [["2018-06-01", "2018-07-01"]],
    closedPeriods: [["2018-03-25", "2018-03-26"]],
  },
  { ...PLAIN, timeZone: "Europe/Berlin", dayStarts: "03:00", earliest: "2017-10-29", syncedOn: "2018-03-25" },
  {
    ...PLAIN,
    timeZone: "America/New_York",
    earliest: "2008-01-01",
    syncedOn: "2026-11-01",
    closed: [["2026-03-01", "2026-04-01"]],
    closedPeriods: [
      ["2025-01-01", "2026-01-01"],
      ["2025-11-01", "2025-12-01"],
    ],
  },
  {
    ...PLAIN,
    timeZone: "America/New_York",
    dayStarts: "23:59",
    earliest: "2025-11-02",
    syncedOn: "2026-03-08",
    syncSlack: 1,
    decimalComma: true,
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
    closedPeriods: [["2011-12-01", "2012-01-01"]],
  },
  {
    ...PLAIN,
    timeZone: "Pacific/Apia",
    dayStarts: "05:30",
    earliest: "2011-09-24",
    syncedOn: "2011-12-29",
    syncSlack: 1,
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
    closedPeriods: [["2017-10-15", "2018-02-18"]],
  },
  {
    ...PLAIN,
    timeZone: "America/Sao_Paulo",
    dayStarts: "00:30",
    earliest: "2016-10-16",
    syncedOn: "2018-11-04",
  },
  // Dates that come for a minute, go, and come again.
  { ...PLAIN, timeZone: "America/St_Johns", earliest: "2009-11-01", syncedOn: "2010-11-06" },
  {
    ...PLAIN,
    timeZone: "America/St_Johns",
    earliest: "2009-03-09",
    syncedOn: "2010-10-31",
    syncSlack: 7,
    closed: [
      ["2009-11-01", "2009-11-02"],
      ["2010-03-14", "2010-03-15"],
    ],
  },
  { ...PLAIN, timeZone: "Australia/Lord_Howe", earliest: "2009-10-04", syncedOn: "2018-04-01" },
  {
    ...PLAIN,
    timeZone: "Australia/Lord_Howe",
    dayStarts: "01:45",
    earliest: "2017-10-01",
    syncedOn: "2018-04-01",
  },
  {
    ...PLAIN,
    timeZone: "Asia/Kathmandu",
    earliest: "2010-01-01",
    syncedOn: "2018-07-01",
    decimalComma: true,
  },
  { ...PLAIN, timeZone: "Africa/Monrovia", earliest: "1972-01-07", syncedOn: "1972-01-20" },
  { ...PLAIN, timeZone: "Africa/Monrovia", earliest: "1960-01-01", syncedOn: "1972-01-06", syncSlack: 1 },
];
