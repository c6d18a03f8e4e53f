/**
 * pg_ivm: a view that its triggers keep up to date within the COPY. It refuses partitioned tables, so it is
 * made on a plain table of the same invoices.
 */
import { extensionArm } from "./extensions.ts";

export const pgIvm = extensionArm({
  name: "pg_ivm",
  title: "pg_ivm",
  extension: "pg_ivm",
  prepare: [
    "create extension if not exists pg_ivm",
    "create table bench.plain (like warehouse.invoices including indexes)",
    "insert into bench.plain select * from warehouse.invoices",
    `select pgivm.create_immv('bench.maintained', $$
       select created_on, venue_key, count(*) as invoices, sum(total) as total
       from bench.plain
       group by created_on, venue_key$$)`,
  ],
  table: "bench.plain",
  totals: "select created_on, venue_key, invoices, total from bench.maintained",
});
