/** Checks the format of times that a source gives. */
import { DateTime } from "luxon";
import { TIME_LOCALE } from "../drop/value/time_reader.ts";

/** The most characters of a format. */
const MAX_FORMAT_LENGTH = 100;

/**
 * Luxon's tokens that can be read, but for the short ones of whole dates and times (`D`, `T`, `ff`): who writes `DD.MM.YYYY` or
 * `ddTHH` means something else.
 */
const TOKENS: ReadonlySet<string> = new Set(
  (
    "y yy yyyy yyyyyy M MM MMM MMMM L LL LLL LLLL d dd o ooo kk kkkk W WW c ccc cccc E EEE EEEE G GG GGGGG q " +
    "H HH h hh a m mm s ss S SSS u uu uuu Z ZZ ZZZ z"
  ).split(" "),
);

const HINT = "yyyy, MM, dd, HH, mm and ss are tokens, other letters stand between '";

/** Afternoon and morning; digits of one and of two places; years that are over. */
const TIMES = [DateTime.utc(2013, 11, 23, 22, 47, 38, 987), DateTime.utc(2001, 2, 3, 4, 5, 6, 7)];
/** Written without zeros in front, its numbers could be others. */
const AMBIGUOUS = DateTime.utc(2013, 11, 1, 1, 11, 1);

/** Why a format is of no use, with the remedy; undefined for a good one. It must read what it writes. */
export function checkTimeFormat(format: string): string | undefined {
  if (format.length > MAX_FORMAT_LENGTH) return `is longer than ${MAX_FORMAT_LENGTH} characters`;
  const letters = format.replace(/'[^']*'/g, " ").matchAll(/([a-z])\1*/gi);
  for (const [token] of letters) {
    if (!TOKENS.has(token)) return `has ${token}, which is no token: ${HINT}`;
  }
  for (const time of TIMES) {
    const fault = checkOne(format, time);
    if (fault !== undefined) return fault;
  }
  if (checkOne(format, AMBIGUOUS) === undefined) return undefined;
  return "cannot tell its numbers apart: write them with two digits, for example dd and MM";
}

function checkOne(format: string, time: DateTime): string | undefined {
  const text = time.toFormat(format, { locale: TIME_LOCALE });
  const read = readBack(text, format);
  if (read === undefined) return `cannot read ${JSON.stringify(text)}, which it writes itself: ${HINT}`;
  if (read.year !== time.year) return `has no year: write yyyy for it. ${HINT}`;
  if (read.month !== time.month) return `has no month: write MM for it. ${HINT}`;
  if (read.day !== time.day) return `has no day: write dd for it. ${HINT}`;
  const isDate = read.hour === 0 && read.minute === 0 && read.second === 0 && read.millisecond === 0;
  if (isDate || read.hour === time.hour) return undefined;
  return `has no hour, or not which half of the day: write HH for 0 to 23, or hh and a for AM and PM. ${HINT}`;
}

function readBack(text: string, format: string): DateTime | undefined {
  try {
    const read = DateTime.fromFormat(text, format, { zone: "utc", locale: TIME_LOCALE });
    return read.isValid ? read : undefined;
  } catch {
    // Tokens that contradict each other.
    return undefined;
  }
}
