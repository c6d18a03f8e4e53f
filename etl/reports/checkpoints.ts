/** Makes checkpoints: what the groups were at a moment, so that "as known on" need not add up all loads. */
import { sql } from "drizzle-orm";
import { type Database, withSession } from "../../db/client.ts";
import { checkpoints, loads } from "../../db/schema.ts";

export interface MadeCheckpoints {
  /** Checkpoints that were made. */
  readonly checkpoints: number;
  /** Entries of the ledger that they cover. */
  readonly loads: number;
  /** Partitions that came back, and that all checkpoints hold again. */
  readonly partitions: readonly string[];
}

export interface CheckpointOptions {
  readonly database: Database;
  readonly signal?: AbortSignal | undefined;
  /** Called after each step with the entries of the ledger that are covered, of those that were to be covered. */
  readonly onProgress?: ((loads: number, of: number) => void) | undefined;
}

/**
 * Makes checkpoints up to the newest load, each in a short transaction of its own: what was done stays if this is cut
 * off. Loads and readers go on meanwhile; several processes at once share the work.
 */
export async function makeCheckpoints(options: CheckpointOptions): Promise<MadeCheckpoints> {
  return withSession(options, async ({ db }) => {
    const left = await db.execute<{ loads: string }>(sql`
      select count(*) as loads from ${loads} where known_at > (select max(known_at) from ${checkpoints})`);
    const of = Number(left.rows[0]?.loads);
    const made = { checkpoints: 0, loads: 0, partitions: [] as string[] };
    for (;;) {
      const { rows } = await db.execute<Step>(
        sql`select checkpoint, loads, partition from warehouse.make_checkpoint()`,
      );
      const step = rows[0];
      if (step?.partition != null) made.partitions.push(step.partition);
      else if (step?.checkpoint != null) {
        made.checkpoints += 1;
        made.loads += Number(step.loads);
      } else return made;
      options.onProgress?.(made.loads, Math.max(of, made.loads));
    }
  });
}

interface Step extends Record<string, unknown> {
  readonly checkpoint: number | null;
  readonly loads: string | null;
  readonly partition: string | null;
}
