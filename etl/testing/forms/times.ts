/** Times as a form has them: by a format, as a number, or as the drop format does; some of them wrong. */
import { dateOf, dayOfDate, offsetAt, ZONES, type ZoneName } from "../models/clocks.ts";
import type { Form } from "../models/form.ts";
import type { World } from "../models/line.ts";
import { type Choices, digits, replaceAt } from "./choices.ts";

interface Times {
  /** One for each column that a time takes. */
  readonly parts: readonly string[];
  /** `near`: soon after the last. */
  readonly make: (near: boolean) => string[];
  readonly form: Omit<Form["created"], "columns">;
}

const FORMATS = [
  "dd/MM/yyyy HH:mm",
  "dd/MM/yyyy HH:mm:ss",
  "dd.MM.yyyy HH:mm",
  "M/d/yy h:mm a",
  "MM/dd/yyyy hh:mm:ss a",
  "yyyyMMdd HHmmss",
  "yyyyMMddHHmm",
  "yyyy-MM-dd HH:mm:ss ZZ",
  "yyyy-MM-dd HH:mm:ss ZZZ",
  "yyyy-MM-dd'T'HH:mm:ssZZ",
  "yyyy-MM-dd'T'HH:mm:ss.SSS",
  "dd.MM.yyyy",
  "dd.MM.yyyy HH:mm 'Uhr'",
  "d.M.yyyy H:mm",
  "d MMM yyyy H:mm",
  "dd.MM.yy HH:mm",
  "dd.MM.yyyy HH",
];

/** Some of the drop format. */
const DROP_FORMATS = ["yyyy-MM-dd HH:mm:ss", "yyyy-MM-dd'T'HH:mm", "dd.MM.yyyy HH:mm", "yyyy-MM-dd"];

/** The years in which the model's clocks are right. */
const YEARS: Readonly<Partial<Record<ZoneName, readonly [from: number, to: number]>>> = {
  UTC: [1, 9999],
  "Asia/Kolkata": [1947, 2050],
  "Asia/Kathmandu": [1987, 2050],
  "Europe/Berlin": [1998, 2036],
  "America/New_York": [2008, 2036],
  "Australia/Lord_Howe": [2009, 2036],
};

/** `isPlain`: as in the drop format. */
export function makeTimes(random: Choices, world: World, isPlain: boolean): Times {
  const zone = !isPlain && random.once(3) ? pickZone(random, world) : undefined;
  const kind = isPlain ? 1 : random.below(8);
  if (kind === 0) return makeEpochs(random, world);
  const format = kind < 3 ? undefined : random.pick(FORMATS);
  const written = format ?? (isPlain ? "yyyy-MM-dd'T'HH:mm:ss" : random.pick(DROP_FORMATS));
  const isSplit = !isPlain && random.once(2) && / /.test(written) && !written.includes("'");
  const parts = isSplit ? written.split(" ") : [written];
  const clock = ZONES[zone ?? world.timeZone];
  let second = someSecond(random, world);
  return {
    parts,
    make: (isNear) => {
      second = isNear ? second + random.below(1000) : someSecond(random, world);
      const minutes = random.pick([0, 60, -210, 345]);
      const hasOffset = /Z/.test(written);
      const near = second + random.pick([0, 0, 0, 3600, -3600]);
      const wall = second + (hasOffset ? minutes * 60 : offsetAt(clock, near));
      const cells = parts.map((part) => write(random, part, wall, minutes));
      return random.once(12) ? spoil(random, cells, wall) : cells;
    },
    form: { format, zone },
  };
}

function makeEpochs(random: Choices, world: World): Times {
  const epoch = random.pick(["seconds", "milliseconds"] as const);
  const make = () => {
    const second = someSecond(random, world);
    const plain = epoch === "seconds" ? `${second}` : `${second}${digits(random, 3)}`;
    if (!random.once(8)) return [plain];
    const tail = ["", ".5", ".123456789", ".1234567890", ".", "e0", " ", "x", "00", "000000", "L"];
    const head = ["", "", "-", "+", "0", " ", "'"];
    return [random.pick(head) + plain + random.pick(tail)];
  };
  return { parts: ["x"], make, form: { epoch } };
}

function pickZone(random: Choices, { earliest, syncedOn }: World): ZoneName {
  const names = Object.keys(YEARS) as ZoneName[];
  return random.pick(
    names.filter((name) => {
      const [from, to] = YEARS[name] ?? [9999, 1];
      return Number(earliest.slice(0, 4)) >= from && Number(syncedOn.slice(0, 4)) <= to;
    }),
  );
}

/** Mostly of the dates that are taken, often next to a bound of them or to a change of a clock. */
function someSecond(random: Choices, world: World): number {
  const [first, last] = [dayOfDate(world.earliest), dayOfDate(world.syncedOn)];
  const changes = ZONES[world.timeZone].changes.map(([second]) => second);
  const near = changes.filter((second) => second > first * 86_400 && second < last * 86_400);
  if (near.length > 0 && random.once(5)) return random.pick(near) + random.between(-7300, 7300);
  if (random.once(20)) return random.pick([first, last + 1]) * 86_400 + random.between(-50_000, 50_000);
  return random.between(first, last) * 86_400 + random.below(86_400);
}

const MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");

/** A clock's reading by a format. `minutes`: its offset. */
function write(random: Choices, format: string, wall: number, minutes: number): string {
  const day = Math.floor(wall / 86_400);
  const [year = "", month = "", date = ""] = dateOf(day).split("-");
  const clock = wall - day * 86_400;
  const hour = Math.floor(clock / 3600);
  const two = (value: number) => String(value).padStart(2, "0");
  const half = hour % 12 === 0 ? 12 : hour % 12;
  const size = Math.abs(minutes);
  const offset = [`${minutes < 0 ? "-" : "+"}${two(Math.floor(size / 60))}`, two(size % 60)];
  const written: Readonly<Record<string, string>> = {
    ...{
      yyyy: year,
      yy: year.slice(2),
      MMM: MONTHS[Number(month) - 1] ?? "",
      MM: month,
      M: `${Number(month)}`,
    },
    ...{ dd: date, d: `${Number(date)}`, HH: two(hour), H: `${hour}`, hh: two(half), h: `${half}` },
    ...{ mm: two(Math.floor(clock / 60) % 60), ss: two(clock % 60), SSS: digits(random, 3) },
    ...{
      a: random.pick(hour < 12 ? ["AM", "am"] : ["PM", "pm", "Pm"]),
      ZZ: offset.join(":"),
      ZZZ: offset.join(""),
    },
  };
  return format.replace(
    /'([^']*)'|([a-zA-Z])\2*/g,
    (token, text?: string) => text ?? written[token] ?? token,
  );
}

const ODD = ["", "", " ", "0", "9", "-", ":", "T", ".", "Z", "\u00a0", "٣", "/", "a", "+"];

/** One cell blank, of another form, or with another character in it. */
function spoil(random: Choices, cells: readonly string[], wall: number): string[] {
  const at = random.below(cells.length);
  const cell = cells[at] ?? "";
  const spoiled = () => {
    const kind = random.below(8);
    if (kind === 0) return random.pick(["", " ", "0", "now", "Invalid DateTime"]);
    if (kind === 1) return write(random, random.pick(FORMATS), wall, 0);
    if (kind === 2) return cell.replace(/\d\d(?=\D*$)/, random.pick(["60", "61", "24", "99"]));
    if (kind === 3) return cell.replace(/\d+(?=:)/, random.pick(["24", "25", "0", "00", "13", "12", "7"]));
    if (kind === 4) return cell.replace(/^\d\d/, random.pick(["00", "31", "32", "1"]));
    if (kind === 5) return cell.replace(/[+-]\d\d/, random.pick(["+16", "-15", "+2", "+99", "-00"]));
    if (kind === 6)
      return random.pick([` ${cell}`, `${cell} `, `${cell}x`, `${cell}\t`, cell.replace(" ", "  ")]);
    return replaceAt(cell, random.below(cell.length), random.pick(ODD));
  };
  return cells.map((each, index) => (index === at ? spoiled() : each));
}
