/** What the arms of PostgreSQL extensions share: they run only where the server has the extension. */
import type { BenchServer } from "../program/server.ts";
import type { Arm } from "../run/arm.ts";
import { copyBatch, openSession, timePhase } from "../run/session.ts";

/**
 * An arm on a clone of its own: `prepare` makes the extension's totals from the history, then the batch goes
 * in by COPY, then `refresh` brings the totals up to date, where that does not happen by itself.
 */
export function extensionArm(options: {
  readonly name: string;
  readonly title: string;
  readonly extension: string;
  readonly prepare: readonly string[];
  /** The table that the batch is copied into. */
  readonly table: string;
  readonly refresh?: string;
  readonly totals: string;
}): Arm {
  const { name, title, extension, prepare, table, refresh, totals } = options;
  return {
    name,
    title,
    group: "other",
    site: "own",
    appliesTo: ({ history, corrections }) => history > 0 && corrections === 0,
    unavailable: (server) => missingExtension(server, extension),
    open: (site) =>
      openSession(site, {
        prepare: async (client) => {
          // These extensions look for their own functions in public.
          await client.query("select set_config('search_path', 'public, pg_catalog', false)");
          for (const statement of prepare) await client.query(statement);
        },
        run: async (client) => {
          const phases = [await timePhase("copy", () => copyBatch(client, table, site.batch.keyed))];
          if (refresh !== undefined) phases.push(await timePhase("refresh", () => client.query(refresh)));
          return { phases, rows: site.batch.rows };
        },
      }),
    totals: () => totals,
  };
}

async function missingExtension({ admin }: BenchServer, extension: string): Promise<string | undefined> {
  const { rowCount } = await admin.query("select from pg_available_extensions where name = $1", [extension]);
  return rowCount === 0 ? `not available here: the server has no extension ${extension}` : undefined;
}
