/** All arms, in the order of the report. */
import type { Arm } from "../run/arm.ts";
import { copy, copySorted } from "./copy.ts";
import { delta, deltaSingle } from "./delta.ts";
import { duckdb, duckdbDedupe } from "./duckdb.ts";
import { lookback } from "./lookback.ts";
import { materializedView, materializedViewConcurrently } from "./materialized_view.ts";
import { auto, full, partition } from "./ours.ts";
import { pgIvm } from "./pg_ivm.ts";
import { pgTrickle, pgTrickleFull } from "./pg_trickle.ts";
import { timescaledb } from "./timescaledb.ts";
import { touchedGroups } from "./touched_groups.ts";
import { trigger } from "./trigger.ts";
import { upsert } from "./upsert.ts";

export const ARMS: readonly Arm[] = [
  delta,
  deltaSingle,
  auto,
  partition,
  full,
  copy,
  copySorted,
  upsert,
  trigger,
  touchedGroups,
  materializedView,
  materializedViewConcurrently,
  lookback,
  duckdb,
  duckdbDedupe,
  timescaledb,
  pgIvm,
  pgTrickle,
  pgTrickleFull,
];
