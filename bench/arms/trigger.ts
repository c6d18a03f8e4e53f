/**
 * Statement triggers with transition tables, on the partitioned table itself, that keep a summary table. A
 * trigger for each row would be slower. PostgreSQL fires none on a partition for rows that are inserted
 * through its parent.
 */
import { type Arm, totalsOf } from "../run/arm.ts";
import { copyBatch, inTransaction, openSession, timePhase } from "../run/session.ts";
import { upsertBatch } from "./upsert.ts";

export const trigger: Arm = {
  name: "trigger",
  title: "statement trigger into a summary table",
  group: "other",
  site: "own",
  appliesTo: ({ history }) => history > 0,
  open: (site) =>
    openSession(site, {
      prepare: (client) => client.query(TRIGGERS),
      run: async (client) => {
        const { keyed, rows } = site.batch;
        const corrects = site.cell.corrections > 0;
        const work = () =>
          corrects ? upsertBatch(client, keyed) : copyBatch(client, "warehouse.invoices", keyed);
        const name = corrects ? "upsert+trigger" : "copy+trigger";
        return { phases: [await timePhase(name, () => inTransaction(client, work))], rows };
      },
    }),
  totals: () => totalsOf("bench.summary"),
};

const intoSummary = (changes: string) => `
    insert into bench.summary as stored (created_on, venue_key, invoices, total)
    ${changes}
    order by created_on, venue_key
    on conflict (created_on, venue_key) do update
      set invoices = stored.invoices + excluded.invoices, total = stored.total + excluded.total;
    return null;`;

// A trigger with transition tables can be for one kind of event only.
const TRIGGERS = `
  create function bench.add_inserted() returns trigger language plpgsql as $$
  begin
    ${intoSummary(`
    select created_on, venue_key, count(*), sum(total) from inserted group by created_on, venue_key`)}
  end $$;
  create function bench.add_updated() returns trigger language plpgsql as $$
  begin
    ${intoSummary(`
    select created_on, venue_key, sum(n), sum(total)
    from (
      select created_on, venue_key, 1 as n, total from after_it
      union all
      select created_on, venue_key, -1, -total from before_it
    ) changed
    group by created_on, venue_key`)}
  end $$;
  create trigger add_inserted after insert on warehouse.invoices
    referencing new table as inserted
    for each statement execute function bench.add_inserted();
  create trigger add_updated after update on warehouse.invoices
    referencing old table as before_it new table as after_it
    for each statement execute function bench.add_updated()`;
