/** When each part of the warehouse was proved last. */
import { sql } from "drizzle-orm";
import type { Database, Session } from "../../db/client.ts";
import { reportedProofs, type Settings } from "../../db/schema.ts";
import { inWarehouseZone, isoInstant } from "./zone.ts";

/** A part of the warehouse, and when it was proved last. */
export type Proof = Readonly<typeof reportedProofs.$inferSelect>;

/**
 * All parts that are there to be proved: first what was never looked at, then what was not for longest, whatever came of
 * it. So what does not verify is looked at again when all others have had their turn.
 */
export async function listProofs({ db }: Session): Promise<readonly Proof[]> {
  const { subject, partition, provedAt, divergedAt } = reportedProofs;
  return db
    .select()
    .from(reportedProofs)
    .orderBy(
      sql`greatest(${provedAt}, ${divergedAt}) nulls first`,
      sql`${partition} nulls first`,
      sql`${subject} desc`,
    );
}

/** How people call a part of the warehouse: a partition by its name. */
export function nameOfProof({ subject, partition }: Pick<Proof, "subject" | "partition">): string {
  return partition ?? subject;
}

export interface ProofSummary {
  /** What was not proved for longest, and when it was: null where it never was. */
  readonly oldest: { readonly name: string; readonly provedAt: string | null } | null;
  /** How many parts were never proved. */
  readonly never: number;
  /** What did not verify when it was looked at last. */
  readonly diverged: readonly { readonly name: string; readonly divergedAt: string }[];
}

/** Sums up the proofs. Closings are left out until they were looked at once: that takes a flag. */
export async function summarizeProofs(options: {
  readonly database: Database;
  readonly settings: Settings;
  readonly signal?: AbortSignal | undefined;
}): Promise<ProofSummary> {
  const all = (await inWarehouseZone(options, listProofs)).filter(
    ({ subject, durationMs }) => subject !== "closings" || durationMs !== null,
  );
  const never = all.filter(({ provedAt }) => provedAt === null);
  // The texts are in one zone, whose offset changes: compare instants.
  const oldest =
    never[0] ??
    all.reduce<Proof | undefined>((least, proof) => (isEarlier(proof, least) ? proof : least), undefined);
  return {
    oldest:
      oldest === undefined ? null : { name: nameOfProof(oldest), provedAt: isoInstant(oldest.provedAt) },
    never: never.length,
    diverged: all.flatMap(({ divergedAt, ...proof }) =>
      divergedAt === null ? [] : [{ name: nameOfProof(proof), divergedAt: isoInstant(divergedAt) }],
    ),
  };
}

function isEarlier({ provedAt }: Proof, other: Proof | undefined): boolean {
  if (other === undefined) return true;
  return instantOf(provedAt) < instantOf(other.provedAt);
}

function instantOf(text: string | null): number {
  return Date.parse(isoInstant(text) ?? "");
}
