/** TimescaleDB: a continuous aggregate on a hypertable of the same invoices. */
import { extensionArm } from "./extensions.ts";

export const timescaledb = extensionArm({
  name: "timescaledb",
  title: "TimescaleDB continuous aggregate",
  extension: "timescaledb",
  prepare: [
    "create extension if not exists timescaledb schema public",
    "create table bench.hyper (like warehouse.invoices)",
    "select create_hypertable('bench.hyper', by_range('created_at', interval '1 month'))",
    "insert into bench.hyper select * from warehouse.invoices",
    "create unique index on bench.hyper (created_at, venue_key, invoice_id)",
    `create materialized view bench.continuous with (timescaledb.continuous) as
     select time_bucket('1 day', created_at) as day, venue_key, count(*) as invoices, sum(total) as total
     from bench.hyper
     group by day, venue_key
     with no data`,
    "call refresh_continuous_aggregate('bench.continuous', null, null)",
  ],
  table: "bench.hyper",
  refresh: "call refresh_continuous_aggregate('bench.continuous', null, null)",
  totals: `select (day at time zone 'UTC')::date as created_on, venue_key, invoices, total
    from bench.continuous`,
});
