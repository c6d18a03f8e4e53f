/** What did not come, for people. */
import type { MissingSyncDate, VenueActivity } from "../../db/schema.ts";
import { formatCount, shorten } from "./format.ts";
import { formatTable } from "./table.ts";

/** A table of venues. */
export function formatSilentVenues(venues: readonly VenueActivity[], width?: number): string {
  return formatTable(
    [
      { title: "silent venue" },
      { title: "days", align: "right" },
      { title: "last synced on" },
      { title: "typical days", align: "right", leftOut: 3 },
      { title: "last seen on", leftOut: 2 },
      { title: "last created on", leftOut: 1 },
    ],
    venues.map((venue) => [
      shorten(venue.venueId ?? ""),
      formatCount(venue.daysSilent ?? 0),
      venue.lastSyncedOn ?? "",
      venue.typicalDays?.toFixed(1) ?? "",
      venue.lastSeenOn ?? "",
      venue.lastCreatedOn,
    ]),
    width,
  );
}

/** A table of sync dates. */
export function formatMissingSyncDates(missing: readonly MissingSyncDate[], width?: number): string {
  return formatTable(
    [{ title: "no file of" }, { title: "days ago", align: "right" }, { title: "source" }],
    missing.map(({ source, syncedOn, daysMissing }) => [
      syncedOn,
      formatCount(daysMissing),
      source === null ? "(drop format)" : shorten(source),
    ]),
    width,
  );
}
