/**
 * Carries out the acts of a step at once, with readers beside them, and checks everything when they are over.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { errorState } from "../../../db/errors.ts";
import { refreshPartitions } from "../../../etl/refresh/refresh.ts";
import { verifyWarehouse } from "../../../etl/verify/verify.ts";
import {
  passTwoDays,
  raiseErrors,
  refuseClosed,
  runCheckpoint,
  runClose,
  runDismiss,
  runEnsure,
  runHold,
  runInit,
  runMove,
  runPrune,
  runSlices,
  runVerify,
} from "./acts.ts";
import { checkLoad, checkReads, takeIn } from "./check.ts";
import { checkRestated } from "./closings.ts";
import { compareAll, Difference, expectSame, expectTrue } from "./compare.ts";
import { knowsVoid } from "./content.ts";
import type { Act } from "./history.ts";
import { holdLie, tellForGood } from "./hostile.ts";
import { type FaultyEnd, runCommand, runLoad, runRefresh, runRetry, runUndo } from "./jobs.ts";
import {
  type Disturbance,
  hashOf,
  type Life,
  type LoadAct,
  type Move,
  persist,
  type RetryAct,
  type UndoAct,
} from "./life.ts";
import { chooseMove, finishMove } from "./moves.ts";
import { HELD, observe, READ, type Read } from "./observe.ts";
import { readingOf } from "./reading.ts";
import { checkRetry, fileOf } from "./rejects.ts";
import type { SimulatedWarehouse } from "./site.ts";
import { checkUndo, chooseReplaced, chooseTarget } from "./undos.ts";

export async function liveStep(life: Life, planned: readonly Act[]): Promise<void> {
  const { stage, tally } = life;
  const { warehouse, site } = stage;
  const full = planned.some((act) => act.do === "full") && site.fillDisk !== undefined;
  // With its disk full a server that was killed could not come back.
  const acts = full ? planned.filter((act) => !crashes(act)) : planned;
  const move = await chooseMove(life, acts);
  for (const act of acts) {
    if (act.do !== "refuse closed") continue;
    await refuseClosed(stage, act.refuse);
    life.refusesClosed = act.refuse;
  }
  if (acts.some((act) => act.do === "prune")) await passTwoDays(stage);
  const errors = acts.filter((act) => act.do === "error");
  const raised = await Promise.all(errors.map(async (act) => ({ act, end: await raiseErrors(stage, act) })));
  const readers = startReading(warehouse);
  const makeRoom = full ? site.fillDisk?.() : undefined;
  for (const act of acts) tally.count("acts", nameOf(life, act));
  const disturbance: Disturbance = {
    crashed: acts.some(crashes),
    full,
    failing: full || errors.some(({ state }) => FAILING.has(state)),
    raising: errors.length > 0,
    moving: move !== undefined,
    locking: acts.some(
      (act) =>
        act.do === "hostile" || (act.do === "hold" && (act.what === "invoices" || act.what === "rollup")),
    ),
    closing: acts.some((act) => act.do === "close"),
    deciding: acts.filter(decides).length > 1,
  };
  const loads: LoadAct[] = [];
  const retries: RetryAct[] = [];
  const undos: UndoAct[] = [];
  const results = await Promise.allSettled(
    acts.map((act) => {
      const rivals = acts.filter((one) => one.do === act.do).length - 1;
      return carryOut(life, act, { move, disturbance, loads, retries, undos, rivals });
    }),
  );
  makeRoom?.();
  await site.untilUp();
  const reads = await readers.stop();
  for (const { act, end } of raised) {
    const times = await persist(end);
    if (times > 0) tally.count("faults", `error ${act.state}`, times);
  }
  for (const result of results) if (result.status === "rejected") throw result.reason;
  await untilNothingHeld(warehouse);
  if (move !== undefined) await finishMove(life, move);
  const observed = await persist(() => observe(warehouse));
  const before = life.model.applied().length;
  const { ledger, closings } = life;
  const replacing = loads.filter(({ replaces }) => replaces !== undefined);
  const contents = replacing.flatMap(({ drop: { file } }) => [hashOf(file.bytes), hashOf(file.changed)]);
  takeIn(life, observed, { move, replacing: new Set(contents) });
  compareAll(observed, life.model);
  const recent = new Set(
    life.model
      .applied()
      .slice(before)
      .map(({ loadId }) => loadId),
  );
  for (const load of loads) checkLoad(life, observed, load, { disturbance, recent });
  for (const one of retries) checkRetry(life, observed, one, { disturbance, recent });
  for (const one of undos) checkUndo(life, observed, one, { disturbance, recent, before: ledger });
  // What is closed in this step, an entry may know of or not.
  if (closings.length === observed.closings.length) {
    for (const { done } of [...loads, ...retries, ...undos]) checkTold(life, done);
  }
  checkReads(life, observed, { reads, move, before, disturbance });
  for (const act of acts) {
    if (act.do === "clock") await turnClockBack(life, act.minutes);
    if (act.do === "tamper") await tamper(life, act.row);
    if (act.do === "hostile" && act.when === "after") await tellForGood(life, act);
  }
}

/** What a process said that it has changed of closed periods, unless its answer may be that of another attempt. */
function checkTold({ model, closings }: Life, { end, struck }: FaultyEnd): void {
  if (end.kind !== "load" && end.kind !== "retry" && end.kind !== "undo") return;
  if (struck || (end.kind === "load" && end.retries.length > 0)) return;
  const { loadId, restated = [] } = end.report;
  const applied = model.applied().find((one) => one.loadId === loadId);
  const isIts = end.kind !== "load" || end.report.outcome === "loaded";
  if (isIts && applied !== undefined) checkRestated(`entry ${loadId}`, closings, applied.deltas, restated);
}

/** A load by what its drop says beside its invoices, if it does. */
function nameOf({ drops }: Life, act: Act): string {
  const says = act.do === "load" ? drops[act.drop % drops.length]?.content.says : undefined;
  return says === undefined || says === "nothing" ? act.do : `${act.do} (${says})`;
}

/** Whether it decides about rejected lines, or may undo a load. */
function decides(act: Act): boolean {
  if (act.do === "load") return act.replaces !== null;
  return act.do === "retry" || act.do === "dismiss" || act.do === "undo";
}

/** Errors that a load is not tried again after. */
const FAILING: ReadonlySet<string> = new Set(["55P03", "57014", "53100", "53200"]);

function crashes(act: Act): boolean {
  if (act.do === "crash") return true;
  return "fault" in act && act.fault?.kind === "crash";
}

async function carryOut(
  life: Life,
  act: Act,
  step: {
    readonly move: Move | undefined;
    readonly disturbance: Disturbance;
    readonly loads: LoadAct[];
    readonly retries: RetryAct[];
    readonly undos: UndoAct[];
    /** Other acts of this kind in the step. */
    readonly rivals: number;
  },
): Promise<void> {
  const { stage, drops } = life;
  const { crashed, full, raising, failing, moving, deciding } = step.disturbance;
  const tolerate = (work: Promise<unknown>, may: boolean) =>
    work.then(
      () => {},
      (error: unknown) => {
        if (error instanceof Difference) throw error;
        if (!may) throw new Difference(`${act.do} failed: ${describe(error)}`);
      },
    );
  switch (act.do) {
    case "load":
    case "command": {
      const drop = drops[act.drop % drops.length];
      if (drop === undefined) throw new Error("a history without drops");
      const { file, content } = drop;
      // The command line has no source for it.
      if (act.do === "command" && knowsVoid(content, false)) return;
      const replaces = act.do === "load" ? chooseReplaced(life, act) : undefined;
      const done =
        act.do === "load"
          ? await runLoad(stage, act, { file, reading: readingOf(content, false), replaces })
          : await runCommand(stage, act, drop);
      step.loads.push({ act, drop, replaces, done });
      return;
    }
    case "retry": {
      const root = life.open[act.open % Math.max(life.open.length, 1)]?.root;
      const entry = life.ledger.find(({ load_id }) => load_id === root);
      const content = life.texts.get(entry?.sha256 ?? "")?.content;
      if (root === undefined || entry === undefined || content === undefined) return;
      const how = { root, file: fileOf(life, entry), reading: readingOf(content, true) };
      step.retries.push({ root, done: await runRetry(stage, act, how) });
      return;
    }
    case "dismiss": {
      const open = life.open[act.open % Math.max(life.open.length, 1)];
      if (open === undefined) return;
      return tolerate(runDismiss(stage, open), crashed || raising || failing || deciding);
    }
    case "close":
      return tolerate(
        runClose(stage, act),
        crashed || raising || failing || moving || life.closed.size > 0 || life.ledger.length === 0,
      );
    case "prune":
      return tolerate(runPrune(stage), crashed || raising || failing);
    case "checkpoint":
      return tolerate(runCheckpoint(stage), crashed || failing);
    case "undo": {
      const target = chooseTarget(life, act);
      if (target === undefined) return;
      step.undos.push({ target, done: await runUndo(stage, act, target) });
      return;
    }
    case "refresh": {
      const { error, struck } = await runRefresh(stage, act);
      if (error === undefined || struck || crashed || failing) return;
      throw new Difference(`refresh ${act.strategy} failed: ${error}`);
    }
    case "verify": {
      const running = act.bySlices ? runSlices(stage) : runVerify(stage, act.identity);
      const verifying = running.then(({ divergences }) =>
        expectTrue(`verify found ${JSON.stringify(divergences)}`, divergences.length === 0),
      );
      return tolerate(verifying, crashed || full);
    }
    case "take out": {
      const repairing = runVerify(stage, true, "newest").then(({ divergences }) =>
        expectTrue(`verify found ${JSON.stringify(divergences)}`, divergences.length === 0),
      );
      return tolerate(repairing, crashed || raising || failing);
    }
    case "init":
      return tolerate(runInit(stage), crashed || full);
    case "ensure":
      return tolerate(runEnsure(stage, act.day), crashed || failing);
    case "detach":
    case "attach":
    case "drop":
      // Other moves than the first of a step stand back; the same one is made by several.
      if (step.move?.act !== act.do) return;
      return tolerate(
        runMove(stage, act.do, step.move.partition),
        // Who comes second finds nothing left to attach.
        crashed || raising || failing || (act.do === "attach" && step.rivals > 0),
      );
    case "hold":
      return tolerate(runHold(stage, act), crashed || full);
    case "hostile":
      return act.when === "beside" ? tolerate(holdLie(life, act), crashed || full) : undefined;
    case "crash":
      await sleep(act.afterMs);
      stage.site.crash();
      stage.onFault("server killed");
      return;
    case "full":
      if (stage.site.fillDisk !== undefined) stage.onFault("disk filled");
      return;
  }
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return `${errorState(error) ?? ""} ${error.stack ?? error.message}`;
}

/** Waits until the server has noticed who is gone. */
async function untilNothingHeld(warehouse: SimulatedWarehouse): Promise<void> {
  let held: readonly { held: string }[] = [];
  for (let attempt = 0; attempt < 1500; attempt += 1) {
    held = await persist(() => warehouse.query<{ held: string }>(HELD));
    if (held.length === 0) return;
    await sleep(10);
  }
  throw new Difference(`still held: ${held.map((row) => row.held).join("; ")}`);
}

/** Seldom enough to leave the loads some of the machine. */
const READ_EVERY_MS = 15;

/** Reads the reports all the time, until it is stopped. */
function startReading(warehouse: SimulatedWarehouse): {
  readonly stop: () => Promise<{ readonly seen: readonly Read[]; readonly errors: readonly string[] }>;
} {
  let stopped = false;
  const seen = new Map<string, Read>();
  const errors: string[] = [];
  const reading = (async () => {
    while (!stopped) {
      try {
        const [read] = await warehouse.query<Record<string, unknown>>(READ);
        seen.set(JSON.stringify(read), read as unknown as Read);
      } catch (error) {
        errors.push(describe(error));
      }
      await sleep(READ_EVERY_MS);
    }
  })();
  return {
    stop: async () => {
      stopped = true;
      await reading;
      return { seen: [...seen.values()], errors };
    },
  };
}

/** As if the clock had been ahead at the newest commit; unless it is closed or pruned by then. */
async function turnClockBack(life: Life, minutes: number): Promise<void> {
  const { warehouse, onFault } = life.stage;
  const changed = await warehouse.query<{ known_at: string }>(
    `with changed as (
       update warehouse.loads set known_at = known_at + $1 * interval '1 minute'
       where load_id = (select load_id from warehouse.loads where known_at is not null order by known_at desc limit 1)
         and known_at > (select statements_kept_since from warehouse.settings)
         and not exists (select from warehouse.closings c where c.known_at >= loads.known_at)
       returning old.known_at as before, new.known_at as after),
     moved as (update warehouse.checkpoints c set known_at = after from changed where c.known_at = before)
     select to_json(after) #>> '{}' as known_at from changed`,
    [minutes],
  );
  if (changed.length > 0) onFault("clock turned back");
}

/** Changes the rollup by hand: verify names the group, and the next refresh mends it. */
async function tamper(life: Life, row: number): Promise<void> {
  const { stage, model } = life;
  const { warehouse } = stage;
  const rows = await warehouse.query<{
    created_on: string;
    venue_key: number;
    venue_id: string;
    state: string;
  }>(
    `select r.created_on::text, r.venue_key, v.venue_id, p.state
     from warehouse.venue_day_rollup r
     join warehouse.venues v using (venue_key)
     join warehouse.partitions p on r.created_on >= p.lower and r.created_on < p.upper
     order by 1, 2`,
  );
  const chosen = rows[row % Math.max(rows.length, 1)];
  if (chosen === undefined) return;
  await warehouse.query(
    "update warehouse.venue_day_rollup set total = total + 0.01 where created_on = $1 and venue_key = $2",
    [chosen.created_on, chosen.venue_key],
  );
  stage.onFault("rollup tampered with");
  const { divergences } = await runVerify(stage, false);
  const groups = divergences.flatMap((found) =>
    found.kind === "group" ? [`${found.createdOn} ${found.venueId}`] : [],
  );
  expectSame("groups that verify named", groups, [`${chosen.created_on} ${chosen.venue_id}`]);
  const { database, settings } = warehouse;
  // Only an open partition becomes stale; what stands for a dropped one's invoices is repaired on request.
  if (chosen.state === "dropped") await verifyWarehouse({ database, settings, repair: true });
  else await refreshPartitions({ database });
  compareAll(await observe(warehouse), model);
}
