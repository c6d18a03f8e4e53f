/**
 * Reads from an archive what loads said, where the warehouse has forgotten it. Statements that do not stand are
 * forgotten in time; the files that said them are still there. A file is read again as it was read then: by the same
 * source, and without the lines that were rejected then.
 */
import { type SQL, sql } from "drizzle-orm";
import type { Database, Transaction } from "../../db/client.ts";
import { streamRows } from "../../db/cursor.ts";
import {
  absences,
  type Load,
  loads,
  rejects,
  type Settings,
  settings as settingsTable,
} from "../../db/schema.ts";
import { rulesFor } from "../drop/rules.ts";
import { type ArchivedFile, findArchivedFiles } from "../inbox/find.ts";
import { refuseChangedFile } from "../load/changed.ts";
import { CHUNK_LINES } from "../load/direct/chunk.ts";
import { winnersOf } from "../load/merge.ts";
import { values } from "../load/net.ts";
import { QUARANTINE_BYTES } from "../load/quarantine.ts";
import { createSelection, type Selection } from "../load/selection.ts";
import { emptyStaging, stageDrop, takeStagingSlot } from "../load/stage.ts";
import { startStopwatch } from "../load/steps.ts";
import type { LoadTask } from "../load/task.ts";
import type { FileSource, Source } from "../sources/source.ts";
import { namesOf, refusal, type UndoClaim } from "./claim.ts";
import { ARCHIVED, GROUPS, KEY, readGroupDates } from "./tables.ts";

/** Where the files of loads are. */
export interface Archive {
  /** A folder, which is searched with all folders below it. */
  readonly folder: string;
  /** The sources of today. One that read a file must be what it was then. */
  readonly sources: readonly Source[];
}

interface Options {
  readonly database: Database;
  readonly settings: Settings;
  readonly archive: Archive;
  readonly signal?: AbortSignal | undefined;
}

/** A load whose lines are needed, its file, and what says how it is read. */
interface Needed {
  readonly load: Load;
  readonly file: ArchivedFile;
  readonly source: FileSource | undefined;
}

/** More days after the sync date than any load took. What was too late then is among its rejected lines. */
const ANY_SLACK = 36_500;

/**
 * Reads the lines of all loads that became known before statements were kept, and that may have said something of
 * the groups. The file of the load that is undone comes first, because it says which groups these are.
 *
 * @throws RollbookError `not_found` with all files that are missing, `configuration` with all sources that are not
 *   what they were, `statements_pruned` where what was said then cannot be read now
 */
export async function readArchive(tx: Transaction, claim: UndoClaim, options: Options): Promise<void> {
  const { settings, signal } = options;
  await refuseSnapshot(tx, claim);
  const slot = await takeStagingSlot(tx, signal);
  if (claim.kind === "load") {
    const [own] = await findNeeded(tx, [claim.subject], options);
    if (own === undefined) {
      // Its groups are not known then, so any load may be needed.
      const all = await listOthers(tx, claim, undefined);
      await findNeeded(tx, [claim.subject, ...all], { ...options, isComplete: true });
      return;
    }
    const lines = await stageAgain(tx, slot, own, options);
    await tx.db.execute(sql`
      insert into ${GROUPS} (created_on, venue_key)
      select created_on, venue_key from (${lines}) lines
      except
      select created_on, venue_key from ${GROUPS}`);
    await tx.db.execute(sql`analyze ${GROUPS}`);
  }
  const names = [...claim.partitions, ...namesOf(settings, await readGroupDates(tx))];
  const others = await listOthers(tx, claim, names);
  for (const needed of await findNeeded(tx, others, { ...options, isComplete: true })) {
    const lines = await stageAgain(tx, slot, needed, options);
    const { loadId, syncedOn } = needed.load;
    await tx.db.execute(sql`
      insert into ${ARCHIVED} (${KEY}, load_id, synced_on, ${values()})
      select ${KEY}, ${loadId}::integer, ${syncedOn}::date, ${values()}
      from (${lines}) lines
      join ${GROUPS} using (created_on, venue_key)
      where total is not null`);
  }
  await emptyStaging(tx, slot);
  await tx.db.execute(sql`analyze ${ARCHIVED}`);
}

/**
 * The other loads that count and became known before statements were kept. Of a load that only brought new invoices
 * the ledger has all partitions in which it said something; of any other it may lack some.
 *
 * @param partitions left out, of all partitions
 */
async function listOthers(
  tx: Transaction,
  { subject }: UndoClaim,
  partitions: readonly string[] | undefined,
): Promise<readonly Load[]> {
  const isThere =
    partitions === undefined
      ? sql`true`
      : sql`(${loads.partitions} && ${sql.param(partitions)}::text[]
          or ${loads.corrected} + ${loads.unchanged} + ${loads.superseded} + ${loads.absent} > 0)`;
  return tx.db
    .select()
    .from(loads)
    .where(
      sql`${loads.status} = 'loaded' and ${loads.loadId} <> ${subject.loadId} and ${loads.read} > ${loads.rejected}
        and ${loads.knownAt} <= (select ${settingsTable.statementsKeptSince} from ${settingsTable}) and ${isThere}`,
    )
    .orderBy(loads.loadId);
}

/**
 * Finds the files and the sources of loads, before any of them is read.
 *
 * @returns without those whose file is not there, unless all must be
 */
async function findNeeded(
  tx: Transaction,
  drops: readonly Load[],
  options: Options & { readonly isComplete?: boolean },
): Promise<readonly Needed[]> {
  const { archive, signal, isComplete = false } = options;
  await refuseRetried(tx, drops);
  const sources = findSources(drops, archive);
  const files = await findArchivedFiles({ drops, folder: archive.folder, signal });
  const missing = drops.filter(({ loadId }) => !files.has(loadId));
  if (isComplete && missing.length > 0) {
    const list = missing.map(
      ({ loadId, fileName, sha256 }) => `${fileName} (load ${loadId}, SHA-256 ${sha256?.toString("hex")})`,
    );
    throw refusal(
      "not_found",
      `${archive.folder} lacks files that may say something of the same invoices: ${list.join(", ")}. Nothing was changed. Put them there, under any names, and run it again.`,
    );
  }
  return drops.flatMap((load) => {
    const file = files.get(load.loadId);
    return file === undefined ? [] : [{ load, file, source: sources.get(load.loadId) }];
  });
}

/** Absences of other loads that its own cover may be forgotten, too, and no file says which load stated any. */
async function refuseSnapshot(tx: Transaction, { subject, family }: UndoClaim): Promise<void> {
  const snapshot = await tx.db.execute(sql`
    select from ${absences}
    where load_id = any (${sql.param(family)}::integer[]) and invoice_ids is null
    limit 1`);
  if (snapshot.rows.length === 0) return;
  throw refusal(
    "statements_pruned",
    `load ${subject.loadId} holds all invoices of its venues and dates (--replace-venue-days), and what older files of this kind left out of these is forgotten and cannot be read from an archive. Nothing was changed. A newer file of this kind can say what is there instead.`,
  );
}

/** Which rules read lines again is not in the ledger. */
async function refuseRetried(tx: Transaction, drops: readonly Load[]): Promise<void> {
  const { rows } = await tx.db.execute<{ load_id: number; retry_of: number }>(sql`
    select load_id, retry_of
    from ${loads}
    where retry_of = any (${sql.param(drops.map(({ loadId }) => loadId))}::integer[]) and read > rejected
      and known_at <= (select ${settingsTable.statementsKeptSince} from ${settingsTable})
    order by load_id
    limit 1`);
  const [retry] = rows;
  if (retry === undefined) return;
  throw refusal(
    "statements_pruned",
    `rejected lines of load ${retry.retry_of} were read again (load ${retry.load_id}), and the ledger does not have by which rules, so what they said cannot be read from an archive. Nothing was changed. A newer file can correct the invoices instead.`,
  );
}

/** @throws RollbookError `configuration` */
function findSources(drops: readonly Load[], { sources }: Archive): ReadonlyMap<number, FileSource> {
  const found = new Map<number, FileSource>();
  const wrong = new Set<string>();
  for (const { loadId, source: name, sourceSha256, venueId } of drops) {
    if (name === null) continue;
    const source = sources.find((one) => one.name === name);
    if (source === undefined) {
      wrong.add(`load ${loadId} was read by source ${name}, and there is no such source now`);
    } else if (sourceSha256?.equals(source.sha256) !== true) {
      wrong.add(
        `load ${loadId} was read by source ${name} as its text was then (SHA-256 ${sourceSha256?.toString("hex")}), and ${source.file} has another text now`,
      );
    } else {
      const form = venueId === null ? source.form : { ...source.form, venueId: { constant: venueId } };
      found.set(loadId, { name, sha256: source.sha256, form });
    }
  }
  if (wrong.size > 0) {
    throw refusal(
      "configuration",
      `${[...wrong].join("\n")}\nNothing was changed. Put the sources of then into a folder, and name it: --sources`,
    );
  }
  return found;
}

/**
 * Stages the lines of a file that its load took. Whether comma and point changed places in its totals is not in the
 * ledger. But no total can be read in both ways with different results: so only the right way takes all the lines.
 *
 * @returns a query of them by key
 */
async function stageAgain(tx: Transaction, slot: number, needed: Needed, options: Options): Promise<SQL> {
  const { settings } = options;
  const { load, file, source } = needed;
  const rejected = await listRejected(tx, load);
  let taken = 0;
  for (const decimalComma of [false, true]) {
    await emptyStaging(tx, slot);
    const then = createSelection(rejected, []);
    let isRefused = false;
    const has = (line: number) => {
      isRefused ||= !then.has(line);
      return false;
    };
    const task = await makeTask(tx, needed, { ...options, decimalComma, selection: { ...then, has } });
    const { rows, sha256, refusal: refused } = await stageDrop(task, slot);
    await refuseChangedFile(sha256, task);
    taken = rows - then.positions.length;
    if (refused === null && !isRefused && taken === load.read - load.rejected) {
      return winnersOf(slot, settings, { sumRows: source?.form.sumRows, leftOut: then.positions });
    }
  }
  throw refusal(
    "statements_pruned",
    `${file.path} cannot be read as load ${load.loadId} read it: of ${load.read - load.rejected} lines that it took only ${taken} are taken by the rules of today. Nothing was changed. A newer file can correct the invoices instead.`,
  );
}

/** Numbers of the lines that a load rejected, ascending. */
async function listRejected(tx: Transaction, { loadId }: Load): Promise<readonly number[]> {
  const lines: number[] = [];
  const query = sql`select line from ${rejects} where load_id = ${loadId} order by line`;
  for await (const { line } of streamRows<{ line: string }>(tx, query)) lines.push(Number(line));
  return lines;
}

async function makeTask(
  tx: Transaction,
  { load, file, source }: Needed,
  options: Options & { readonly decimalComma: boolean; readonly selection: Selection },
): Promise<LoadTask> {
  const { settings, decimalComma } = options;
  const { loadId, sha256, bytes, syncedOn } = load;
  if (sha256 === null || bytes === null || syncedOn === null)
    throw new Error("a loaded drop has all of them");
  // What was closed then is among the rejected lines.
  const bounds = { syncedOn, syncSlack: ANY_SLACK, closed: [], closedPeriods: null, decimalComma };
  return {
    ...options,
    ...file,
    tx,
    loadId,
    bytes,
    sha256,
    syncedOn,
    source,
    form: source?.form,
    replacesVenueDays: false,
    rules: await rulesFor(tx, { ...settings, ...bounds }),
    rejectLimit: { share: 1, lines: 0 },
    refuseSuspicious: false,
    quarantineBytes: QUARANTINE_BYTES,
    chunkLines: CHUNK_LINES,
    stopwatch: startStopwatch(undefined),
  };
}
