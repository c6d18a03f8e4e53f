/** Reports the rejected lines that nobody has decided on yet. */
import { and, asc, eq, sql } from "drizzle-orm";
import { type Database, withSession } from "../../db/client.ts";
import { type OpenRejects, openRejects, type Settings } from "../../db/schema.ts";
import { inWarehouseZone, isoInstant } from "./zone.ts";

/** Reads what is open, by load and reason, the oldest load first. */
export async function readOpenRejects(options: {
  readonly database: Database;
  readonly settings: Settings;
  /** Only those of this load. */
  readonly loadId?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}): Promise<readonly OpenRejects[]> {
  const { loadId } = options;
  const rows = await inWarehouseZone(options, ({ db }) =>
    db
      .select()
      .from(openRejects)
      .where(and(loadId === undefined ? undefined : eq(openRejects.loadId, loadId)))
      .orderBy(asc(openRejects.loadId), asc(openRejects.firstLine)),
  );
  return rows.map((row) => ({ ...row, rejectedAt: isoInstant(row.rejectedAt) }));
}

/** All that is open, added up. */
export interface OpenSum {
  readonly files: number;
  readonly lines: number;
  /** Of the totals that could be read, in euros. */
  readonly total: string;
}

export async function sumOpenRejects(options: {
  readonly database: Database;
  readonly signal?: AbortSignal | undefined;
}): Promise<OpenSum> {
  const [sum] = await withSession(options, async ({ db }) => {
    const { rows } = await db.execute<{ files: string; lines: string; total: string }>(sql`
      select count(distinct load_id) as files, coalesce(sum(lines), 0) as lines,
             coalesce(sum(total), 0)::numeric(24, 2)::text as total
      from ${openRejects}`);
    return rows;
  });
  if (sum === undefined) throw new Error("an aggregate returned no row");
  return { files: Number(sum.files), lines: Number(sum.lines), total: sum.total };
}
