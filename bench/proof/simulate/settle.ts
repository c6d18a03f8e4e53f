/** The end of a history: all is loaded, refreshed and proved. */
import { RollbookError } from "../../../db/errors.ts";
import { loadDrop } from "../../../etl/load/load.ts";
import { refreshPartitions } from "../../../etl/refresh/refresh.ts";
import { rejectsOf } from "../../../etl/testing/models/warehouse.ts";
import { undo } from "../../../etl/undo/undo.ts";
import { runCheckpoint, runVerify } from "./acts.ts";
import { takeIn } from "./check.ts";
import {
  compareAll,
  expectSame,
  expectTrue,
  partitionAt,
  rejectText,
  rejectTexts,
  totalTexts,
} from "./compare.ts";
import { isWhole } from "./content.ts";
import { placeDrop } from "./jobs.ts";
import { hashOf, type KnownDrop, type Life, readLines } from "./life.ts";
import { finishMove } from "./moves.ts";
import { AS_KNOWN, type Observation, observe } from "./observe.ts";
import { readBy, readingOf } from "./reading.ts";
import { undoable } from "./undos.ts";

/**
 * The end: what is not in is loaded without disturbance, all is refreshed and proved, nothing is left without
 * the loads, and the past is as it was.
 */
export async function settle(life: Life): Promise<void> {
  const { stage, model } = life;
  const { warehouse } = stage;
  const { database, settings } = warehouse;
  for (const [partition, state] of [...life.closed]) {
    if (state === "detached") await finishMove(life, { act: "attach", partition });
  }
  for (const [index, drop] of life.drops.entries()) {
    const { path, remove } = placeDrop(stage.site.folder, drop.file);
    const how = readBy(readingOf(drop.content, false));
    const report = await loadDrop({
      database,
      settings,
      path,
      maxRejects: 1,
      careful: index % 2 === 1,
      ...how,
    });
    remove();
    const allowed = drop.content.spoiled === null ? ["loaded", "already_loaded"] : ["rejected"];
    if (isWhole(drop.content) && mayRefuse(life, drop)) allowed.push("rejected");
    expectTrue(`at the end ${path} came to ${JSON.stringify(report)}`, allowed.includes(report.outcome));
  }
  let observed = await observe(warehouse);
  takeIn(life, observed);
  compareAll(observed, model);
  checkRefused(life, observed);
  await refreshPartitions({ database });
  observed = await observe(warehouse);
  compareAll(observed, model);
  const [queue] = await warehouse.query<{ rows: number }>(
    "select count(*)::int as rows from warehouse.venue_day_pending",
  );
  expectTrue(`${queue?.rows} changes are pending after a refresh`, queue?.rows === 0);
  await checkProof(life, observed);
  await takeOutAll(life, observed);
  await checkProof(life, observed);
  await undoAll(life);
  await checkProof(life, observed);
  await checkPast(life);
  await runCheckpoint(stage);
  await checkProof(life, observed);
  await checkPast(life);
}

/** Whether a line of a drop may be refused: by what it says, or for its date. */
function mayRefuse(life: Life, { file, syncedOn }: KnownDrop): boolean {
  const lines = readLines(life, { sha256: hashOf(file.bytes), syncedOn }) ?? [];
  return (
    rejectsOf(lines).length > 0 || life.closed.size > 0 || (life.refusesClosed && life.closings.length > 0)
  );
}

/** The quarantine of a refused drop names all its bad lines. */
function checkRefused(life: Life, observed: Observation): void {
  if (life.closed.size > 0) return;
  for (const load of observed.loads) {
    if (load.error_code !== "too_many_rejects" || load.synced_on === null) continue;
    const { sha256, synced_on: syncedOn } = load;
    const sure = rejectsOf(readLines(life, { sha256, syncedOn }) ?? []).map(rejectText);
    const kept = rejectTexts(observed, load.load_id).filter((text) => !text.endsWith("_closed"));
    expectSame(`rejects of the refused load ${load.load_id}`, kept, sure);
  }
}

async function checkProof(life: Life, { partitions }: Observation): Promise<void> {
  const { divergences, split } = await runVerify(life.stage, true);
  expectTrue(`verify found ${JSON.stringify(divergences)}`, divergences.length === 0);
  const hasInvoices = (createdOn: string) => partitionAt(partitions, createdOn)?.state !== "dropped";
  expectSame("invoice ids under several keys", split, life.model.split(hasInvoices));
}

/** Alone, a repair takes out every older statement that is in the live tables. */
async function takeOutAll(life: Life, { partitions }: Observation): Promise<void> {
  const { stage, model } = life;
  await runVerify(stage, true, "newest");
  const observed = await observe(stage.warehouse);
  takeIn(life, observed);
  compareAll(observed, model);
  const hasInvoices = (createdOn: string) => partitionAt(partitions, createdOn)?.state !== "dropped";
  expectSame(
    "older statements that were left",
    model.older(hasInvoices).map(({ uuid, createdOn, venue }) => `${uuid} ${createdOn} ${venue}`),
    [],
  );
}

/** Undoes all loads, after the repairs that were made because of them; only what was dropped refuses. */
async function undoAll(life: Life): Promise<void> {
  const { stage, model, closed } = life;
  const { database, settings } = stage.warehouse;
  const refused = new Set(closed.size === 0 ? [] : ["partition_closed", "usage"]);
  const wasPruned = life.ledger.some(({ pruned }) => pruned);
  if (wasPruned) refused.add("statements_pruned");
  for (const { load_id: loadId } of [...undoable(life, "take out"), ...undoable(life, "load")]) {
    try {
      await undo({ database, settings, loadId, because: "the history ends" });
    } catch (error) {
      if (!(error instanceof RollbookError && refused.has(error.code))) throw error;
    }
  }
  const observed = await observe(stage.warehouse);
  takeIn(life, observed);
  compareAll(observed, model);
  if (closed.size > 0 || wasPruned) return;
  expectSame("invoices that no load states", observed.invoices, []);
  expectSame("totals without loads", observed.reports, []);
}

/** The reports as known at earlier moments are what they were then. */
async function checkPast({ stage, model, ledger }: Life): Promise<void> {
  const step = Math.max(1, Math.floor(ledger.length / 4));
  for (let loads = 1; loads <= ledger.length; loads += step) {
    const at = ledger[loads - 1]?.known_at;
    const [row] = await stage.warehouse.query<{ reports: string[] }>(AS_KNOWN, [at]);
    expectSame(
      `the reports as known on ${at}`,
      row?.reports ?? [],
      totalTexts(model.totals(loads), () => true),
    );
  }
}
