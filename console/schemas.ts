/** What queries and answers are made of. The descriptions go into the description of the API. */
import * as v from "valibot";
import { toDate, toDay } from "../db/dates.ts";

export const count = () => v.pipe(v.number(), v.integer());
export const euros = () => v.pipe(v.string(), v.regex(/^-?\d+\.\d\d$/), v.description("Euros, exact."));
export const date = () => v.pipe(v.string(), v.isoDate("give a date as YYYY-MM-DD"));
/** The first day of the month is not said: `2026-10`. */
export const month = () => v.pipe(v.string(), v.regex(/^\d{4}-(0[1-9]|1[0-2])$/, "give a month as YYYY-MM"));
export const instant = () =>
  v.pipe(v.string(), v.regex(/^\d{4,}-\d\d-\d\dT/), v.description("ISO 8601, in the zone of the warehouse."));

/** A date of an address: one that there is. A year before and after it there are dates, too: a page may look so far. */
export const givenDate = () =>
  v.pipe(
    date(),
    v.check(isDate, "there is no such date"),
    v.check((text) => text >= "0002" && text < "9999", "give a date of the years 0002 to 9998"),
  );

function isDate(text: string): boolean {
  const day = toDay(text);
  return !Number.isNaN(day) && toDate(day) === text;
}

/** The id of an invoice in an address. */
export const givenInvoice = () =>
  v.pipe(
    v.string(),
    v.toLowerCase(),
    v.regex(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/, "give the id of an invoice"),
  );

/** The most characters that a venue's id has (etl/drop/row.ts). */
const LONGEST_VENUE = 200;

/** The id of a venue in an address. */
export const givenVenue = () =>
  v.pipe(v.string(), v.maxLength(LONGEST_VENUE, `give at most ${LONGEST_VENUE} characters`));

/** What the drop format, which is no source, is called in an address. */
export const NO_SOURCE = "-";

/** The name of a source in an address. */
export const givenSource = () =>
  v.pipe(
    v.string(),
    v.maxLength(255, "give at most 255 characters"),
    v.description(`Name of a source; ${NO_SOURCE}: the drop format.`),
  );

/** The greatest number that PostgreSQL's integer holds. */
const MOST = 2 ** 31 - 1;

/** A number of a load in an address. */
export const loadNumber = () =>
  v.pipe(
    v.string(),
    v.regex(/^[1-9]\d{0,9}$/, "give the number of a load"),
    v.transform(Number),
    v.maxValue(MOST, "give the number of a load"),
  );
