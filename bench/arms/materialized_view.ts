/** PostgreSQL's own: a materialized view over all invoices, refreshed as a whole. */
import type { Arm } from "./arm.ts";
import { totalsOf } from "./arm.ts";
import { openSession, timed } from "./statements.ts";

export const materializedView: Arm = viewArm({
  name: "materialized_view",
  title: "REFRESH MATERIALIZED VIEW",
  view: "bench.plain_view",
  statement: "refresh materialized view bench.plain_view",
});

export const materializedViewConcurrently: Arm = viewArm({
  name: "materialized_view_concurrently",
  title: "REFRESH MATERIALIZED VIEW CONCURRENTLY",
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
        run: async (client) => ({
          phases: [{ name: "refresh", ms: await timed(() => client.query(statement)) }],
          rows: null,
          groups: null,
        }),
      }),
    totals: () => totalsOf(view),
  };
}
