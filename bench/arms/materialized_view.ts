/** PostgreSQL's own: a materialized view over all invoices, refreshed as a whole. */
import { type Arm, totalsOf } from "../run/arm.ts";
import { openSession, timePhase } from "../run/session.ts";

export const materializedView: Arm = viewArm({
  name: "materialized_view",
  title: "refresh materialized view",
  view: "bench.plain_view",
  statement: "refresh materialized view bench.plain_view",
});

export const materializedViewConcurrently: Arm = viewArm({
  name: "materialized_view_concurrently",
  title: "refresh materialized view concurrently",
  view: "bench.concurrent_view",
  statement: "refresh materialized view concurrently bench.concurrent_view",
});

function viewArm(
  options: Pick<Arm, "name" | "title"> & { readonly view: string; readonly statement: string },
): Arm {
  const { name, title, view, statement } = options;
  return {
    name,
    title,
    group: "other",
    site: "shared",
    loadedBy: "floor",
    appliesTo: ({ history }) => history > 0,
    open: (site) =>
      openSession(site, {
        run: async (client) => ({ phases: [await timePhase("refresh", () => client.query(statement))] }),
      }),
    totals: () => totalsOf(view),
  };
}
