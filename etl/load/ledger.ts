/** What the ledger keeps of a load: that it is in, or that it was refused. Of failed ones: failure.ts. */
import { eq, getTableColumns, is, SQL, sql } from "drizzle-orm";
import type { Transaction } from "../../db/client.ts";
import { type Load, loads } from "../../db/schema.ts";
import { checkRestated } from "../closings/restated_by_load.ts";
import type { Drop } from "./claim.ts";
import { columnsOfSource, readBy } from "./read_by.ts";
import { type Attempt, NO_LINES, type Refusal } from "./report.ts";
import type { LoadTask, TaskResult } from "./task.ts";

type Entry = { readonly [Name in keyof typeof loads.$inferInsert]?: (typeof loads.$inferInsert)[Name] | SQL };

/**
 * Makes an entry of the ledger; its number and all else that is not given are the database's to say. Who is not
 * the owner may write no other columns, and drizzle's insert names all.
 *
 * @returns its number
 */
export async function beginEntry(
  tx: Transaction,
  entry: Entry & Pick<Load, "fileName" | "status">,
): Promise<number> {
  const columns = getTableColumns(loads);
  const given = Object.entries(entry).filter(([, value]) => value !== undefined);
  const names = given.map(([name]) => sql.identifier(columns[name as keyof Entry].name));
  const values = given.map(([name, value]) =>
    is(value, SQL) ? value : sql.param(value, columns[name as keyof Entry]),
  );
  const { rows } = await tx.db.execute<{ load_id: number }>(sql`
    insert into ${loads} (${sql.join(names, sql`, `)})
    values (${sql.join(values, sql`, `)})
    returning load_id`);
  const [row] = rows;
  if (row === undefined) throw new Error("an insert returned no row");
  return row.load_id;
}

/**
 * Finishes an entry as the last statement before COMMIT. The database gives it its `known_at` under a lock that
 * is held until then, so the order of `known_at` is the order of the commits (migration 0017).
 */
export async function enterLedger(
  tx: Transaction,
  loadId: number,
  entry: Partial<typeof loads.$inferInsert>,
): Promise<void> {
  await tx.db
    .update(loads)
    .set({ ...entry, finishedAt: sql`clock_timestamp()` })
    .where(eq(loads.loadId, loadId));
}

/** Enters what became of a drop, as the last statement of its transaction. */
export async function enterResult(task: LoadTask, result: TaskResult): Promise<Attempt> {
  const { tx, loadId, syncedOn, stopwatch } = task;
  const source = readBy(task.source);
  const { rows, reasons, suspicious } = result;
  if (result.kind === "loaded") {
    const partitions = [...result.partitions];
    // Before the lock, which others wait for.
    const restated = await checkRestated(tx, { loadId, partitions, rules: task.rules });
    await enterLedger(tx, loadId, { ...rows, reasons, suspicious, partitions, timings: stopwatch.timings() });
    const { idsUnderTwoKeys } = result;
    return {
      outcome: "loaded",
      loadId,
      syncedOn,
      source,
      rows,
      reasons,
      suspicious,
      partitions,
      touched: [...new Set([...partitions, ...(result.replaced ?? [])])],
      ...(idsUnderTwoKeys > 0 && { idsUnderTwoKeys }),
      ...(restated.length > 0 && { restated }),
    };
  }
  const { code, message } = result.refusal;
  await tx.db
    .update(loads)
    .set({
      status: "rejected",
      ...rows,
      reasons,
      suspicious,
      finishedAt: sql`clock_timestamp()`,
      errorCode: code,
      errorMessage: message,
    })
    .where(eq(loads.loadId, loadId));
  return { ...REJECTED, loadId, syncedOn, source, rows, reasons, suspicious, error: { code, message } };
}

const REJECTED = { outcome: "rejected", partitions: [], touched: [] } as const;

/** Enters a drop that cannot be loaded because of its name. */
export async function recordRefusal(
  tx: Transaction,
  drop: Omit<Drop, "syncedOn">,
  refusal: Refusal,
): Promise<Attempt> {
  const { code, message } = refusal;
  const { fileName, sha256, bytes } = drop;
  const loadId = await beginEntry(tx, {
    fileName,
    sha256,
    bytes,
    ...columnsOfSource(drop.source),
    status: "rejected",
    startedAt: sql`clock_timestamp()`,
    finishedAt: sql`clock_timestamp()`,
    errorCode: code,
    errorMessage: message,
  });
  return {
    ...REJECTED,
    loadId,
    syncedOn: null,
    source: readBy(drop.source),
    rows: NO_LINES,
    reasons: [],
    suspicious: [],
    error: { code, message },
  };
}
