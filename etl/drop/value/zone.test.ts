import { sql } from "drizzle-orm";
import fc from "fast-check";
import { expect, test } from "vitest";
import { withSession } from "../../../db/client.ts";
import { createTestDatabase } from "../../../db/testing/database.ts";
import { createWallClock } from "./zone.ts";

const ZONES = [
  "Europe/Berlin",
  "America/New_York",
  "America/Sao_Paulo",
  "America/St_Johns",
  "Australia/Lord_Howe",
  "Pacific/Apia",
  "Asia/Kolkata",
  "Africa/Casablanca",
  "UTC",
];
/** From 1990 to 2022: years for which all time-zone databases agree. */
const YEARS = { min: Date.UTC(1990) / 1000, max: Date.UTC(2022) / 1000 };

test.each(ZONES)("the wall clock of %s shows what PostgreSQL's does, also when it changes", async (zone) => {
  const warehouse = await createTestDatabase();
  const clock = createWallClock(zone);
  // Near each change: the days on which noon has another offset than the noon before.
  const noons = Array.from(
    { length: (YEARS.max - YEARS.min) / 86_400 },
    (_, day) => YEARS.min + day * 86_400 + 43_200,
  );
  const changes = noons.filter((noon) => clock(noon) - clock(noon - 86_400) !== 86_400);
  const anywhere = fc.sample(fc.integer(YEARS), { numRuns: 500, seed: 1 });
  const near = changes.flatMap((noon) => Array.from({ length: 73 }, (_, half) => noon - half * 1800));
  const walls = [...anywhere, ...near];
  const { rows } = await withSession(warehouse, ({ db }) =>
    db.execute<{ wall: number; instant: number }>(sql`
      select wall::float8 as wall,
             extract(epoch from (to_timestamp(wall) at time zone 'UTC') at time zone ${zone})::float8 as instant
      from unnest(${sql.param(walls)}::bigint[]) as walls (wall)`),
  );
  const differences = rows
    .map(({ wall, instant }) => ({ wall: new Date(wall * 1000).toISOString(), instant, own: clock(wall) }))
    .filter(({ instant, own }) => instant !== own);
  expect(differences).toEqual([]);
  expect(rows.length).toBe(walls.length);
});
