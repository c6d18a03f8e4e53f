/**
 * pg_trickle: a stream table, differential or full, on a plain table of the same invoices. Written after its
 * documentation; not yet run, because no server at hand has it.
 */
import { extensionArm } from "./extensions.ts";

export const pgTrickle = streamArm("pg_trickle", "DIFFERENTIAL");
export const pgTrickleFull = streamArm("pg_trickle_full", "FULL");

function streamArm(name: string, mode: "DIFFERENTIAL" | "FULL") {
  return extensionArm({
    name,
    title: `pg_trickle stream table, ${mode.toLowerCase()}`,
    extension: "pg_trickle",
    prepare: [
      "create extension if not exists pg_trickle",
      "create table bench.plain (like warehouse.invoices including indexes)",
      "insert into bench.plain select * from warehouse.invoices",
      `select pgtrickle.create_stream_table(
         name => 'bench.streamed',
         query => $$
           select created_on, venue_key, count(*) as invoices, sum(total) as total
           from bench.plain
           group by created_on, venue_key$$,
         schedule => '1d',
         refresh_mode => '${mode}')`,
    ],
    table: "bench.plain",
    refresh: "select pgtrickle.refresh_stream_table('bench.streamed')",
    totals: "select created_on, venue_key, invoices, total from bench.streamed",
  });
}
