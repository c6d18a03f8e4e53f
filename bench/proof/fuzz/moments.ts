/**
 * Texts of dates and times, right and wrong, often next to a bound of the dates that are taken or a change of
 * the clock.
 */
import { dateOf, dayOfDate, offsetAt, ZONES } from "../../../etl/testing/models/clocks.ts";
import type { World } from "../../../etl/testing/models/line.ts";
import { digits, list, type Random, replaceAt } from "../../generator/choices.ts";

/**
 * Seconds since 1970-01-01, UTC, next to which something changes: a bound of the dates that are taken, or the
 * clock.
 */
export function edgesOf(world: World): readonly number[] {
  const zone = ZONES[world.timeZone];
  const [hour = 0, minute = 0] = world.dayStarts.split(":").map(Number);
  const afterSync = dayOfDate(world.syncedOn) + 1;
  const closed = [...world.closed, ...(world.closedPeriods ?? [])].flat();
  const bounds = [dayOfDate(world.earliest), afterSync, ...closed.map(dayOfDate)];
  const days = world.syncSlack === 0 ? bounds : [...bounds, afterSync + world.syncSlack];
  const midnights = days.map((day) => day * 86_400 - offsetAt(zone, day * 86_400));
  const starts = midnights.map((midnight) => midnight + hour * 3600 + minute * 60);
  const changes = zone.changes.map(([second]) => second).filter((second) => isNear(second, world));
  return [...midnights, ...starts, ...changes];
}

/** Within the dates that are taken, and some days around them. */
function isNear(second: number, { earliest, syncedOn }: World): boolean {
  const day = Math.floor(second / 86_400);
  return day > dayOfDate(earliest) - 5 && day < dayOfDate(syncedOn) + 5;
}

const AWAY = [
  0, 0, 1, -1, 59, 60, 61, 1799, 1800, 1801, 2669, 2670, 2671, 3599, 3600, 3601, 7200, 86_399, 86_400, 93_600,
];
const FIRST_SECOND = -62_135_596_800;
const LAST_SECOND = 253_402_300_799;

/** An instant: mostly of the dates that are taken, often next to an edge. */
function someSecond(random: Random, world: World, edges: readonly number[]): number {
  const kind = random.below(16);
  if (kind === 0)
    return (
      random.pick([FIRST_SECOND, LAST_SECOND, 0, -1, 946_684_800, -2_208_988_800]) + random.between(-2, 2)
    );
  if (kind < 6) {
    const sign = random.pick([1, -1]);
    const away = random.once(3) ? random.below(100_000) : random.pick(AWAY);
    return random.pick(edges) + sign * away;
  }
  const first = dayOfDate(world.earliest);
  const days = dayOfDate(world.syncedOn) + 1 - first;
  // Of other zones some dates will do: the direct way asks PostgreSQL for the clock of each.
  const day = world.timeZone === "UTC" ? random.below(days) : Math.floor((random.below(200) * days) / 200);
  return (first + day) * 86_400 + random.below(86_400);
}

/** A clock's reading, `YYYY-MM-DDTHH:MM:SS`. */
function clockText(second: number): string {
  const bounded = Math.min(Math.max(second, FIRST_SECOND), LAST_SECOND);
  const day = Math.floor(bounded / 86_400);
  const rest = bounded - day * 86_400;
  return `${dateOf(day)}T${two(rest / 3600)}:${two((rest / 60) % 60)}:${two(rest % 60)}`;
}

function two(value: number): string {
  return String(Math.floor(value)).padStart(2, "0");
}

export function plainTime(random: Random, world: World, edges: readonly number[]): string {
  const second = someSecond(random, world, edges);
  // On the wall clock, next to a change of it either reading of it.
  if (random.once(2)) return clockText(second + wallOffset(random, world, second));
  return `${clockText(second)}Z`;
}

function wallOffset(random: Random, world: World, second: number): number {
  const zone = ZONES[world.timeZone];
  return offsetAt(zone, second + random.pick([0, 0, 0, 3600, -3600, 86_400, -86_400]));
}

const BAD_TIMES =
  list(`· ·01.06.2018Z·1.6.2018·01.06.18·32.01.2018·29.02.2018·01.13.2018·01.06.0000·01-06-2018·01.06-2018·
2018.06.01·2018_06_01·01.06.2018t12:00·01.06.2018  12:00·01.06.2018, 12:00·01.06.2018 24:00·01.06.2018+02·
2018-06-01T12:00:00  Z·2018-06-01T12:00:00\tZ·2018-06-01T12:00:00 utc·2018-06-01T12:00:00Utc·
2018-06-01T12:00:00 CEST·2018-06-01T12:00:00UTC+2·2018-06-01T12:00:00 +2·2018-06-01T12:00:00 + 02·
2018-06-01T12:00:00ZZ·2018-06-01T12:00 GMTT·2018-06-01T12:00:00.Z·2018-06-01T12:00 ·2018-06-01 UTC·now·epoch·infinity·-infinity·today·2018-06-01T·2018-06-01 ·2018-06-01T12·2018-06-01T12:·
2018-06-01T12:00:·2018-06-01T1200·2018-06-01T12:00:00.·2018-06-01T12:00:00,5·2018-06-01T12:00.5·
2018-06-01T12:00:00.1234567890·2018-06-01t12:00:00·2018-06-01T12:00:00z·2018-06-01  12:00:00·
2018-06-01\t12:00:00·2018-06-01T12:00:00 Z·2018-06-01T12:00:00 +02·2018-06-01T12:00:00+2·
2018-06-01T12:00:00+002·2018-06-01T12:00:00+02:0·2018-06-01T12:00:00+02:·2018-06-01T12:00:00+020000·
2018-06-01T12:00:00+02:00:00·2018-06-01T12:00:00UTC·2018-06-01T12:00:00 Europe/Berlin·2018-06-01Z·
2018-06-01+02·20180601·20180601T120000·2018-6-1·01.06.2018·06/01/2018·2018-W22-5·2018-152·0000-01-01·
10000-01-01·-2018-06-01·+2018-06-01·2018-06-01 BC·2018-00-01·2018-13-01·2018-06-00·2018-06-31·
2018-02-29·1900-02-29·2000-02-29·2100-02-29·2016-02-29·2018-06-01T24:00:00·2018-06-01T23:60:00·
2018-06-01T23:59:60·2018-06-01T12:00:00Z0·1527811200·2018-06-01T12:00:00−02·٢٠١٨-٠٦-٠١·2018‐06‐01·
2018-06-01T12:00:00\u00a0·0001-01-01T00:00:00+15:59·9999-12-31T23:59:59-15:59·
9999-12-31T23:59:59.999999999Z·0001-01-01`);

export function oddTime(random: Random, world: World, edges: readonly number[]): string {
  if (random.once(5)) return random.pick(BAD_TIMES);
  const second = someSecond(random, world, edges);
  let offset = wallOffset(random, world, second);
  let mark = "";
  const kind = random.below(6);
  if (kind < 2) {
    offset = 0;
    mark = random.pick(["Z", "Z", "Z", "z", "UTC", "GMT"]);
  } else if (kind < 5) {
    const minutes = random.once(3)
      ? random.between(-959, 959)
      : random.pick([0, 60, 120, -60, -210, 330, 345, 840, -720, 959, -959]);
    offset = minutes * 60;
    mark = writeOffset(random, minutes);
  }
  if (mark !== "" && random.once(4)) mark = ` ${mark}`;
  const clock = clockText(second + offset);
  const date = random.once(3) ? clock.slice(0, 10).split("-").reverse().join(".") : clock.slice(0, 10);
  if (random.once(12)) return date;
  let time = clock.slice(11);
  if (random.once(4)) time = time.slice(0, 5);
  else if (random.once(3)) time += `.${digits(random, random.pick([1, 1, 3, 5, 6, 7, 8, 9, 10]))}`;
  const text = date + random.pick(["T", "T", " "]) + time + mark;
  return random.once(20)
    ? replaceAt(
        text,
        random.below(text.length),
        random.pick(["", " ", "0", "9", "-", ":", "T", "+", ".", "Z", "l"]),
      )
    : text;
}

function writeOffset(random: Random, minutes: number): string {
  const size = Math.abs(minutes);
  const sign = minutes < 0 ? "-" : minutes > 0 ? "+" : random.pick(["+", "-"]);
  const [hours, rest] = [two(size / 60), two(size % 60)];
  if (random.once(15))
    return random.pick(["+16", "-16:00", "+15:60", "+99", "+2359", "+15:59", "-1559", "+00", "-00:00"]);
  if (rest === "00" && random.once(2)) return sign + hours;
  return `${sign}${hours}${random.pick([":", ""])}${rest}`;
}
