import { type Command, InvalidArgumentError, Option } from "commander";
import type { ArchiveReport } from "../../inbox/archive.ts";
import { describe as describeFailure } from "../../inbox/archive.ts";
import { cutBatches, weighFiles } from "../../inbox/batch.ts";
import { readEarlierLoads } from "../../inbox/earlier.ts";
import type { InboxFile } from "../../inbox/list.ts";
import { goRound, type Round, type Taken } from "../../inbox/round.ts";
import { startTally } from "../../load/tally.ts";
import { note, writeJson, writeLine } from "../../output.ts";
import { readFreshness } from "../../reports/status.ts";
import { countOf } from "../../terminal/format.ts";
import type { Warehouse } from "../../warehouse.ts";
import { type Context, EXIT } from "../context.ts";
import { parseWhole, syncedOnOption } from "../flags.ts";
import { declareKind } from "../kind.ts";
import { addLoadOptions, type LoadFlags } from "../load_flags.ts";
import { type FollowedWarehouse, withLineage } from "../open.ts";
import { loadListed, showLoad } from "../show_load.ts";
import { refreshAndShow } from "../show_refresh.ts";
import { readInboxSources } from "../sources.ts";
import { jsonArchived, showArchived } from "./archive.ts";
import { requireInbox } from "./folder.ts";
import { addReadyOptions, findReady, jsonBatch, labelOf, type ReadyFlags } from "./ready.ts";

interface TakeFlags extends Omit<LoadFlags, "refresh" | "ignoreMissing" | "follow" | "inbox">, ReadyFlags {
  readonly atOnce: number;
  readonly upTo?: number;
  readonly since?: Date;
}

export function defineTake(verb: Command, context: Context): void {
  const command = declareKind(verb, "works")
    .description(
      "One round of `watch`: load the files that are ready, oldest sync date first, refresh everything that is pending, whoever loaded it, and move the files to archive/ or rejected/. A file leaves the folder last, so whatever is cut off is finished by the next round. A rejected file is exit code 3; an error ends it with 1, and what was loaded by then is found loaded next time.",
    )
    .argument("<folder>", "the inbox");
  addReadyOptions(command)
    .addOption(
      new Option(
        "--up-to <megabytes>",
        "load nothing when the ready files are more than that together, each counted as 0.25 MB more than it is; with --json the batches are printed that other processes may load (default: load whatever is ready)",
      ).argParser(parseMegabytes),
    )
    .option("--at-once <n>", "files loaded at a time", parseWhole(1, 16), 1)
    .addOption(
      new Option(
        "--since <instant>",
        "also tell of drops that were loaded or rejected since then, whoever did it: for a scheduler that tries again and does not know what its earlier attempt did. With offset, for example 2026-10-05T03:00:00Z",
      ).argParser(parseInstant),
    )
    .addOption(syncedOnOption());
  addLoadOptions(command)
    .addHelpText("after", "\nExample:\n  rollbook inbox take inbox --wait 600 --json\n")
    .action(async (folder: string, flags: TakeFlags) => context.finish(await take(context, folder, flags)));
}

function parseMegabytes(text: string): number {
  const value = /^\d{1,9}(\.\d{1,3})?$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isNaN(value)) throw new InvalidArgumentError("Give a number of megabytes, for example 100.");
  return value;
}

function parseInstant(text: string): Date {
  const isWhole = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)$/.test(text);
  const time = isWhole ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(time)) {
    throw new InvalidArgumentError("Give an instant with its offset, for example 2026-10-05T03:00:00Z.");
  }
  return new Date(time);
}

async function take(context: Context, folder: string, flags: TakeFlags): Promise<number> {
  const inbox = await requireInbox(context, folder);
  const sources = await readInboxSources(context, inbox, flags);
  const ready = await findReady(context, inbox, sources, flags);
  if (flags.upTo !== undefined && weighFiles(ready) > flags.upTo * 1e6) {
    await showLeftOver(context, ready, flags);
    return EXIT.done;
  }
  return withLineage(context, { create: true }, async (warehouse) => {
    if (flags.json) await showTaken(context, ready, flags);
    const known = new Set<number | null>();
    const round = await goRound({
      ...warehouse,
      inbox,
      files: ready,
      atOnce: flags.atOnce,
      signal: context.signal,
      load: async (file, place) => {
        const report = await loadListed(context, warehouse, file, { ...flags, kind: "load" }, place);
        known.add(report.loadId);
        return report;
      },
      refresh: async (touched) => {
        const earlier = await showEarlier(context, warehouse, known, flags);
        await refreshPending(context, warehouse, new Set([...touched, ...earlier]), flags);
      },
    });
    let notMoved = 0;
    for (const taken of round.taken) if (!(await showMoved(context, taken, flags))) notMoved += 1;
    if (round.taken.length === 0 && !flags.json) await writeLine(context, "No file is ready.");
    return conclude(context, round, ready.length, notMoved);
  });
}

/** What is too much for one process. */
async function showLeftOver(context: Context, ready: readonly InboxFile[], flags: TakeFlags): Promise<void> {
  const batches = cutBatches(ready, flags.batches, flags.syncedOn);
  for (const batch of batches) {
    if (flags.json) await writeJson(context, { kind: "batch", ...jsonBatch(batch) });
  }
  const files = countOf(ready.length, "file");
  note(
    context,
    `${files}, more than ${flags.upTo} MB: nothing was loaded. Take them with a greater --up-to, or with load.`,
  );
}

/** For programs that show what is under way. */
async function showTaken(context: Context, ready: readonly InboxFile[], flags: TakeFlags): Promise<void> {
  const [batch] = cutBatches(ready, 1, flags.syncedOn);
  if (batch === undefined) return;
  const { bytes, syncedFrom, syncedTo } = batch;
  const files = ready.length;
  await writeJson(context, { kind: "ready", files, bytes, syncedFrom, syncedTo, label: labelOf(batch) });
}

/**
 * Tells of what this round has not loaded.
 *
 * @returns the partitions that it touched
 */
async function showEarlier(
  context: Context,
  { database }: Warehouse,
  known: ReadonlySet<number | null>,
  { since, json }: TakeFlags,
): Promise<readonly string[]> {
  if (since === undefined) return [];
  const earlier = await readEarlierLoads({ database, since, signal: context.signal });
  const others = earlier.filter(({ loadId }) => !known.has(loadId));
  for (const report of others) await showLoad(context, report, { json: json ?? false, kind: "load" });
  return others.flatMap(({ touched }) => touched);
}

/** Also what others left pending; programs get the exact totals of each partition that was touched or refreshed. */
async function refreshPending(
  context: Context,
  warehouse: FollowedWarehouse,
  touched: ReadonlySet<string>,
  { json = false }: TakeFlags,
): Promise<void> {
  const refreshed = await refreshAndShow(context, warehouse, "pending", json);
  const names = new Set([...touched, ...refreshed.map(({ partition }) => partition)]);
  if (!json || names.size === 0) return;
  for (const partition of await readFreshness({ ...warehouse, signal: context.signal })) {
    if (names.has(partition.partition)) await writeJson(context, { kind: "partition", ...partition });
  }
}

/** @returns false when it should have been moved, and was not */
async function showMoved(
  context: Context,
  { file, report, move }: Taken,
  flags: TakeFlags,
): Promise<boolean> {
  if (move.kind === "stays") return true;
  const { json = false } = flags;
  const stays = { file: file.path, loadId: report.loadId, movedTo: null };
  const outcome = report.outcome === "rejected" ? "rejected" : "loaded";
  const moved: ArchiveReport =
    move.kind === "moved"
      ? { ...stays, outcome, movedTo: move.to }
      : move.kind === "gone"
        ? { ...stays, outcome: "missing" }
        : { ...stays, outcome: "failed", error: describeFailure(move.error) };
  if (json) await writeJson(context, { kind: "move", ...jsonArchived(moved) });
  // Where another process has moved it, there is nothing to tell people.
  if (move.kind !== "gone") await showArchived(context, moved, json);
  return move.kind !== "not_moved";
}

function conclude(context: Context, { taken, away }: Round, ready: number, notMoved: number): number {
  const tally = startTally();
  for (const { report } of taken) tally.add(report);
  if (away?.step === "refresh") throw away.error;
  if (away !== undefined && taken.length < ready) {
    note(context, `${countOf(ready - taken.length, "file")} not tried: the database is out of reach`);
  }
  return notMoved > 0 ? EXIT.failed : EXIT[tally.outcome()];
}
