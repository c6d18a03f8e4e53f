/** Guesses which columns hold the time of an invoice, and how it is written: by trying, on all values of the sample. */
import { createTimeReader, type TimeReader } from "../../drop/value/time_reader.ts";
import { isUsual, type Layout, type SampleColumn } from "./layout.ts";
import { scoreName } from "./names.ts";

export interface TimeGuess {
  /** One, or date and time. */
  readonly columns: readonly SampleColumn[];
  /** Luxon's tokens; undefined: the forms of the drop format, or an epoch. */
  readonly format?: string | undefined;
  readonly epoch?: "seconds" | "milliseconds" | undefined;
  /** Another format that reads all values, with day and month changed. */
  readonly undecided?: string | undefined;
  /** Whether there is a time of day. */
  readonly timed: boolean;
  readonly score: number;
}

/** Where values can be read in two ways, what speaks for one of them. */
export interface DateHints {
  /** The last day that there can be, `YYYY-MM-DD`; undefined where it is not known. */
  readonly lastDay: string | undefined;
}

const DATES = [
  "yyyy-MM-dd yyyy/MM/dd yyyy.MM.dd yyyyMMdd",
  "dd.MM.yyyy d.M.yyyy dd.MM.yy d.M.yy",
  "dd/MM/yyyy MM/dd/yyyy d/M/yyyy M/d/yyyy dd/MM/yy MM/dd/yy d/M/yy M/d/yy",
  "dd-MM-yyyy MM-dd-yyyy d-M-yyyy M-d-yyyy yyyy-M-d yyyy/M/d",
  "dd-MMM-yyyy dd-MMM-yy d-MMM-yyyy",
]
  .join(" ")
  .split(" ")
  .concat("d MMM yyyy", "d MMMM yyyy", "MMM d, yyyy", "MMMM d, yyyy", "EEE, d MMM yyyy", "EEE MMM d yyyy");
const CLOCKS = [
  "HH:mm:ss",
  "HH:mm",
  "H:mm:ss",
  "H:mm",
  "hh:mm:ss a",
  "hh:mm a",
  "h:mm:ss a",
  "h:mm a",
].concat(...["HH:mm:ss.SSS", "HH.mm.ss", "HH.mm", "HHmmss", "HHmm"]);
const BETWEEN = [" ", "'T'", ", "];
const OFFSETS = ["", " ZZZ", " ZZ", "ZZZ", "ZZ"];

const DAY_STARTS = "00:00";

/** The reader of a format, made when it is needed first. */
const readers = new Map<string, TimeReader>();

function readerOf(format: string): TimeReader {
  let reader = readers.get(format);
  if (reader === undefined) {
    reader = createTimeReader({ format, dayStarts: DAY_STARTS });
    readers.set(format, reader);
  }
  return reader;
}

const readPlain = createTimeReader({ dayStarts: DAY_STARTS });
const readsAll = (values: readonly string[], reader: TimeReader) =>
  values.length > 0 && values.every((value) => reader(value) !== undefined);
const readsUsual = (values: readonly string[], reader: TimeReader) =>
  isUsual(values, (value) => reader(value) !== undefined);

/** The guesses, the best first. */
export function guessTimes({ columns }: Layout, hints: DateHints): readonly TimeGuess[] {
  const clocks = columns.filter(({ distinct }) => findClock(distinct) !== undefined);
  const guesses = columns.flatMap((column): TimeGuess[] => {
    const name = scoreName(column.name, "time");
    const known = findForm(column.distinct, hints);
    if (known === undefined) return [];
    // Digits alone may be a number of anything.
    if (/^\d+$/.test(column.distinct[0] ?? "") && name <= 0 && column.name !== "") return [];
    const paired = known.timed ? undefined : findPair(column, clocks, hints);
    const score = name + ((paired ?? known).timed ? 6 : 0);
    return [{ columns: [column], ...known, ...paired, score }];
  });
  return guesses.toSorted((one, other) => other.score - one.score);
}

type TimeForm = Pick<TimeGuess, "format" | "epoch" | "undecided" | "timed">;

/** Three numbers, eight digits, or a month in letters: there are many formats to try. */
const DATE_LIKE = /\d[./-]\d{1,2}[./-]\d{2}|\d{8}|\d[ -]?[A-Za-z]{3}|[A-Za-z]{3,9} \d/;

/** How the values of a column are written, if all are times or dates. */
function findForm(values: readonly string[], hints: DateHints): TimeForm | undefined {
  const [first = ""] = values;
  if (!/\d/.test(first) || first.length > 60) return undefined;
  if (readsUsual(values, readPlain)) return { timed: first.length > "YYYY-MM-DD".length };
  const epoch = findEpoch(values);
  if (epoch !== undefined) return { epoch, timed: true };
  if (!DATE_LIKE.test(first)) return undefined;
  const dates = fittingOf(DATES, values);
  if (dates.length > 0) return { ...choose(dates, values, hints), timed: false };
  const formats = DATES.flatMap((date) =>
    BETWEEN.flatMap((between) => CLOCKS.map((clock) => `${date}${between}${clock}`)),
  );
  const fitting = fittingOf(formats, values);
  if (fitting.length > 0) return { ...choose(fitting, values, hints), timed: true };
  const zoned = DATES.flatMap((date) =>
    CLOCKS.flatMap((clock) => OFFSETS.slice(1).map((offset) => `${date} ${clock}${offset}`)),
  );
  const found = /[+-]\d\d/.test(first) ? fittingOf(zoned, values) : [];
  return found.length === 0 ? undefined : { ...choose(found, values, hints), timed: true };
}

/** What a token looks like. The reader decides; but to make one takes a thousand times as long. */
const LOOKS: Readonly<Record<string, string>> = {
  yyyy: "\\d{4}",
  yy: "\\d{2}",
  MMMM: "[A-Za-z]+",
  MMM: "[A-Za-z]{3,4}",
  EEE: "[A-Za-z]{3}",
  SSS: "\\d{3}",
  a: "[ap]\\.?m\\.?",
};

function looksLike(format: string): RegExp {
  const pattern = format.replace(/'T'|([A-Za-z])\1*|[^A-Za-z]/g, (part) => {
    if (part === "'T'") return "T";
    if (!/^[A-Za-z]/.test(part)) return part === " " ? "\\s" : `\\${part}`;
    return LOOKS[part] ?? (part.startsWith("Z") ? "[+-].+" : `\\d{${part.length},2}`);
  });
  return new RegExp(`^${pattern}$`, "i");
}

/** The formats with their looks, each made once. */
const looks = new Map<string, RegExp>();

function isLike(format: string, values: readonly string[]): boolean {
  let look = looks.get(format);
  if (look === undefined) {
    look = looksLike(format);
    looks.set(format, look);
  }
  return isUsual(values, (value) => look.test(value));
}

function fittingOf(all: readonly string[], values: readonly string[]): readonly string[] {
  const formats = all.filter((format) => isLike(format, values));
  const whole = formats.filter((format) => readsAll(values, readerOf(format)));
  return whole.length > 0 ? whole : formats.filter((format) => readsUsual(values, readerOf(format)));
}

const FIRST_SECOND = 946_684_800;
const LAST_SECOND = 4_102_444_800;

/** Numbers of the years 2000 to 2099. */
function findEpoch(values: readonly string[]): TimeGuess["epoch"] {
  const within = (unit: number) =>
    isUsual(values, (value) => {
      const second = /^\d{9,13}(\.\d+)?$/.test(value) ? Number(value) / unit : 0;
      return second >= FIRST_SECOND && second < LAST_SECOND;
    });
  return within(1) ? "seconds" : within(1000) ? "milliseconds" : undefined;
}

/** The format of a time of day. */
function findClock(values: readonly string[]): string | undefined {
  return CLOCKS.find((clock) => isLike(clock, values));
}

/** So many columns are tried beside a date. */
const MOST_CLOCKS = 5;

/** The column with the time of day, beside one with the date. */
function findPair(
  date: SampleColumn,
  clocks: readonly SampleColumn[],
  hints: DateHints,
): (TimeForm & Pick<TimeGuess, "columns">) | undefined {
  const named = clocks.filter(({ name }) => name === "" || scoreName(name, "clock") > 0);
  for (const clock of named.slice(0, MOST_CLOCKS)) {
    const joined = date.values.map((value, index) => `${value} ${clock.values[index] ?? ""}`);
    const distinct = [...new Set(joined)].filter((value) => value !== " ");
    const form = findForm(distinct, hints);
    if (form?.timed) return { ...form, columns: [date, clock] };
  }
  return undefined;
}

/** The first, and the one with day and month changed that fits, too. Where there are both, hints choose. */
function choose(
  formats: readonly string[],
  values: readonly string[],
  { lastDay }: DateHints,
): Pick<TimeGuess, "format" | "undecided"> {
  const [first = ""] = formats;
  const other = formats.find((format) => format === changed(first));
  if (other === undefined || first.includes(".")) return { format: first };
  const isPast = (format: string) =>
    lastDay === undefined ||
    values.every((value) => (readerOf(format)(value)?.text ?? "").slice(0, lastDay.length) <= lastDay);
  const american = [first, other].find((format) => /^M/.test(format)) ?? first;
  const european = american === first ? other : first;
  const usual = / a$/.test(first) ? american : european;
  const rare = usual === american ? european : american;
  if (isPast(rare) && !isPast(usual)) return { format: rare, undecided: usual };
  return { format: usual, undecided: rare };
}

/** Day and month in the other order. */
function changed(format: string): string {
  return format.replace(/(d+|M+)([-/])(d+|M+)/, "$3$2$1");
}
