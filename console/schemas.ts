/** What queries and answers are made of. The descriptions go into the description of the API. */
import * as v from "valibot";

export const count = () => v.pipe(v.number(), v.integer());
export const euros = () => v.pipe(v.string(), v.regex(/^-?\d+\.\d\d$/), v.description("Euros, exact."));
export const date = () => v.pipe(v.string(), v.isoDate("give a date as YYYY-MM-DD"));
/** The first day of the month is not said: `2026-10`. */
export const month = () => v.pipe(v.string(), v.regex(/^\d{4}-(0[1-9]|1[0-2])$/, "give a month as YYYY-MM"));
export const instant = () =>
  v.pipe(v.string(), v.regex(/^\d{4,}-\d\d-\d\dT/), v.description("ISO 8601, in the zone of the warehouse."));

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
