/** The wall clock of a zone, by the time-zone data of Node.js. */
import { IANAZone } from "luxon";

const DAY = 86_400;
/** No zone's clock is further from UTC, and no change moves it by more. */
const REACH = 26 * 3600;

/** Finds the instant of a wall-clock time; both in seconds since 1970-01-01, the wall clock read as if it were UTC. */
export type WallClock = (wall: number) => number;

/** What a zone's clock shows, both ways; likewise in seconds. */
export interface ZoneClock {
  /** A time that comes twice, or never, is read by the smaller offset, as PostgreSQL reads it. */
  readonly instantOf: WallClock;
  readonly wallOf: (instant: number) => number;
}

/** @param name an IANA name that exists */
export function createZoneClock(name: string): ZoneClock {
  const zone = IANAZone.create(name);
  const offsetAt = (instant: number) => Math.round(zone.offset(instant * 1000) * 60);
  // Nearly all days have one offset from beginning to end.
  const steady = new Map<number, number | undefined>();
  const steadyOffset = (second: number) => {
    const day = Math.floor(second / DAY);
    if (!steady.has(day)) {
      const offsets = [-REACH, 0, DAY, DAY + REACH].map((reach) => offsetAt(day * DAY + reach));
      steady.set(day, new Set(offsets).size === 1 ? offsets[0] : undefined);
    }
    return steady.get(day);
  };
  return {
    instantOf: (wall) => wall - (steadyOffset(wall) ?? offsetOf(wall, offsetAt)),
    wallOf: (instant) => instant + (steadyOffset(instant) ?? offsetAt(instant)),
  };
}

/** The wall clock of a zone. */
export function createWallClock(name: string): WallClock {
  return createZoneClock(name).instantOf;
}

/** The offset of a wall-clock time on a day that is near a change of the clock. */
function offsetOf(wall: number, offsetAt: (instant: number) => number): number {
  const offsets = [offsetAt(wall - REACH), offsetAt(wall + REACH)];
  const fitting = offsets.filter((offset) => offsetAt(wall - offset) === offset);
  return Math.min(...(fitting.length === 0 ? offsets : fitting));
}
