/** Lives through a history: carries out its steps on a real warehouse, and holds everything against the model after each. */
import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { errorState } from "../../db/errors.ts";
import { loadDrop } from "../../etl/load.ts";
import { refreshPartitions } from "../../etl/refresh.ts";
import { verifyWarehouse } from "../../etl/verify.ts";
import {
  type DropFile,
  type LoadEnd,
  placeDrop,
  raiseErrors,
  runCommand,
  runEnsure,
  runHold,
  runInit,
  runLoad,
  runMove,
  runRefresh,
  runVerify,
  type Stage,
} from "./acts.ts";
import {
  compareAll,
  compareLoad,
  Difference,
  expectSame,
  expectTrue,
  partitionAt,
  rejectText,
  rejectTexts,
  totalTexts,
} from "./compare.ts";
import { dateOf, type LineTruth, nameOf, readContent, writeContent } from "./drop.ts";
import { type Figures, startTally, type Tally } from "./figures.ts";
import type { Act, Content, Drop, History } from "./history.ts";
import { type Applied, Model, rejectsOf } from "./model.ts";
import { AS_KNOWN, HELD, type Observation, type ObservedLoad, observe, READ, type Read } from "./observe.ts";
import type { SimulatedWarehouse, Site } from "./site.ts";

/** A drop that a history loads: its file, and what it says. */
interface KnownDrop {
  readonly file: DropFile;
  readonly content: Content;
  readonly syncedOn: string;
}

/** What is known while a history goes on. */
interface Life {
  readonly stage: Stage;
  readonly tally: Tally;
  readonly model: Model;
  readonly drops: readonly KnownDrop[];
  /** What each content says, by the SHA-256 of its bytes. */
  readonly known: Map<string, readonly LineTruth[]>;
  readonly timeZone: string;
  /** Partitions that are out of the live tables. */
  readonly closed: Map<string, "detached" | "dropped">;
  /** `known_at` of the loads in the model, in its order. */
  knownAt: string[];
}

interface Move {
  readonly act: "detach" | "attach" | "drop";
  readonly partition: string;
}

/**
 * Lives through a history on a warehouse of its own.
 *
 * @returns what happened in it
 * @throws Difference when something is not as it must be
 */
export async function liveThrough(history: History, site: Site): Promise<Figures> {
  const small = history.steps.some((acts) => acts.some((act) => act.do === "full"));
  const { timeZone, granularity } = history;
  const warehouse = await site.makeWarehouse({ timeZone, granularity, small });
  const tally = startTally();
  const life: Life = {
    stage: { site, warehouse, onFault: (kind) => tally.count("faults", kind) },
    tally,
    model: new Model(),
    ...readDrops(history),
    timeZone,
    closed: new Map(),
    knownAt: [],
  };
  try {
    for (const [index, acts] of history.steps.entries()) {
      try {
        await liveStep(life, acts);
      } catch (error) {
        if (error instanceof Difference) throw new Difference(`step ${index + 1}: ${error.message}`);
        throw error;
      }
      tally.add("steps", 1);
    }
    await settle(life);
  } finally {
    await site.untilUp();
    await warehouse.drop();
  }
  return tally.figures();
}

function readDrops({ contents, drops, timeZone }: History): Pick<Life, "drops" | "known"> {
  const known = new Map<string, readonly LineTruth[]>();
  const remember = (content: Content): Buffer => {
    const bytes = writeContent(content, timeZone);
    known.set(hashOf(bytes), readContent(content, timeZone));
    return bytes;
  };
  const made = drops.map((drop: Drop): KnownDrop => {
    const content = contents[drop.content % contents.length];
    if (content === undefined) throw new Error("a history without contents");
    const file = {
      name: nameOf(drop, content),
      bytes: remember(content),
      changed: remember(changedContent(content)),
    };
    return { file, content, syncedOn: dateOf(drop.syncDay) };
  });
  return { drops: made, known };
}

function hashOf(bytes: Buffer): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Another content of the same kind, so that the file is a drop all the same. */
function changedContent(content: Content): Content {
  const line = { venue: 0, invoice: 0, day: -3, second: 43_200, cents: 100, form: 0 };
  return { ...content, lines: [line, ...content.lines.slice(1)] };
}

async function liveStep(life: Life, planned: readonly Act[]): Promise<void> {
  const { stage, tally } = life;
  const { warehouse, site } = stage;
  const full = planned.some((act) => act.do === "full") && site.fillDisk !== undefined;
  // With its disk full a server that was killed could not come back.
  const acts = full ? planned.filter((act) => !crashes(act)) : planned;
  const move = await chooseMove(life, acts);
  const errors = acts.filter((act) => act.do === "error");
  const raised = await Promise.all(errors.map(async (act) => ({ act, end: await raiseErrors(stage, act) })));
  const readers = startReading(warehouse);
  const makeRoom = full ? site.fillDisk?.() : undefined;
  for (const act of acts) tally.count("acts", act.do);
  const disturbance: Disturbance = {
    crashed: acts.some(crashes),
    failing: full || errors.some(({ state }) => FAILING.has(state)),
    raising: errors.length > 0,
    moving: move !== undefined,
  };
  const loads: LoadAct[] = [];
  const results = await Promise.allSettled(
    acts.map((act) => carryOut(life, act, { move, disturbance, loads })),
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
  takeIn(life, observed, move);
  compareAll(observed, life.model);
  for (const load of loads) checkLoad(life, observed, load, disturbance);
  checkReads(life, observed, { reads, move, before, crashed: disturbance.crashed });
  for (const act of acts) {
    if (act.do === "clock") await turnClockBack(life, act.minutes);
    if (act.do === "tamper") await tamper(life, act.row);
  }
}

/** Errors that a load is not tried again after. */
const FAILING: ReadonlySet<string> = new Set(["55P03", "57014", "53100", "53200"]);

/** What may make acts fail, in this step. */
interface Disturbance {
  readonly crashed: boolean;
  readonly failing: boolean;
  readonly raising: boolean;
  readonly moving: boolean;
}

function crashes(act: Act): boolean {
  if (act.do === "crash") return true;
  return (act.do === "load" || act.do === "refresh") && act.fault?.kind === "crash";
}

interface LoadAct {
  readonly act: Act & { do: "load" | "command" };
  readonly drop: KnownDrop;
  readonly done: LoadEnd;
}

async function carryOut(
  life: Life,
  act: Act,
  step: { readonly move: Move | undefined; readonly disturbance: Disturbance; readonly loads: LoadAct[] },
): Promise<void> {
  const { stage, drops } = life;
  const { crashed, raising, failing } = step.disturbance;
  const tolerate = (work: Promise<unknown>, may: boolean) =>
    work.then(
      () => {},
      (error: unknown) => {
        if (!may) throw new Difference(`${act.do} failed: ${describe(error)}`);
      },
    );
  switch (act.do) {
    case "load":
    case "command": {
      const drop = drops[act.drop % drops.length];
      if (drop === undefined) throw new Error("a history without drops");
      const done =
        act.do === "load" ? await runLoad(stage, act, drop.file) : await runCommand(stage, act, drop.file);
      step.loads.push({ act, drop, done });
      return;
    }
    case "refresh": {
      const { error, struck } = await runRefresh(stage, act);
      if (error === undefined || struck || crashed || failing) return;
      throw new Difference(`refresh ${act.strategy} failed: ${error}`);
    }
    case "verify": {
      const verifying = runVerify(stage, act.identity).then(({ divergences }) =>
        expectTrue(`verify found ${JSON.stringify(divergences)}`, divergences.length === 0),
      );
      return tolerate(verifying, crashed);
    }
    case "init":
      return tolerate(runInit(stage), crashed);
    case "ensure":
      return tolerate(runEnsure(stage, act.day), crashed || failing);
    case "detach":
    case "attach":
    case "drop":
      // Others than the first of a step stand back.
      if (step.move?.act !== act.do) return;
      return tolerate(runMove(stage, act.do, step.move.partition), crashed || raising || failing);
    case "hold":
      return tolerate(runHold(stage, act), crashed);
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

/** The partition that the step's first such act moves, if there is one that can be. */
async function chooseMove(life: Life, acts: readonly Act[]): Promise<Move | undefined> {
  const act = acts.find((one) => one.do === "detach" || one.do === "attach" || one.do === "drop");
  if (act === undefined || !("partition" in act)) return undefined;
  const { partitions } = await observe(life.stage.warehouse);
  const able = partitions.filter(({ state }) =>
    act.do === "attach" ? state === "detached" : state === "open" || state === "stale",
  );
  const chosen = able[act.partition % Math.max(able.length, 1)];
  return chosen && { act: act.do, partition: chosen.partition };
}

/** What was cut off is done again, as a user would: the same call goes on. */
async function finishMove(life: Life, { act, partition }: Move): Promise<void> {
  const { closed, stage } = life;
  const state = act === "attach" ? "open" : act === "detach" ? "detached" : "dropped";
  await persist(async () => {
    const { partitions, offenders } = await observe(stage.warehouse);
    const found = partitions.find((one) => one.partition === partition);
    if (found?.state === state && offenders.length === 0) return;
    if (act === "attach" && found?.state !== "detached") return;
    await runMove(stage, act, partition);
  });
  if (act === "attach") closed.delete(partition);
  else closed.set(partition, act === "detach" ? "detached" : "dropped");
  life.tally.count("outcomes", `partition ${state === "open" ? "attached" : state}`);
}

/** After a crash of the server connections of the pool may be broken still. */
async function persist<T>(work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await work();
    } catch (error) {
      if (attempt === 6 || error instanceof Difference) throw error;
      await sleep(100);
    }
  }
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

/** Takes the loads that are new in the ledger into the model, and holds each against what it must have done. */
function takeIn(life: Life, observed: Observation, move: Move | undefined): void {
  const { model, tally } = life;
  const loaded = observed.loads.filter(({ status }) => status === "loaded");
  const before = model.applied().map(({ loadId }) => loadId);
  expectSame(
    "the loads that were in before",
    loaded.slice(0, before.length).map(({ load_id }) => String(load_id)),
    before.map(String),
  );
  const identities = loaded.map(({ sha256, synced_on }) => `${sha256} ${synced_on}`);
  expectTrue("a drop is loaded twice", new Set(identities).size === identities.length);
  for (const load of loaded.slice(before.length)) {
    const applied = apply(life, observed, load, move);
    compareLoad(observed, load, applied);
    tally.add("lines", applied.counts.read);
  }
  life.knownAt = loaded.map(({ known_at }) => known_at ?? "");
  expectTrue(
    "known_at does not increase",
    life.knownAt.every((at, index) => at > (life.knownAt[index - 1] ?? "")),
  );
}

function apply(life: Life, observed: Observation, load: ObservedLoad, move: Move | undefined): Applied {
  const lines = life.known.get(load.sha256 ?? "");
  if (lines === undefined || load.synced_on === null) {
    throw new Difference(`load ${load.load_id} has a content that no drop has`);
  }
  const isClosed = closedFor(life, observed, load, lines, move);
  return life.model.apply({ loadId: load.load_id, syncedOn: load.synced_on }, lines, isClosed);
}

/**
 * Whether the partition of a date was closed for a load. Of the one that moved in this step the quarantine tells: the load came before, or after,
 * with all its lines.
 */
function closedFor(
  life: Life,
  observed: Observation,
  load: ObservedLoad,
  lines: readonly LineTruth[],
  move: Move | undefined,
): (createdOn: string) => boolean {
  const nameAt = (createdOn: string) => partitionAt(observed.partitions, createdOn)?.partition ?? "";
  const refused = new Set(
    observed.rejects
      .filter(({ load_id, reason }) => load_id === load.load_id && reason === "partition_closed")
      .map(({ line }) => line),
  );
  const movedIsClosed = lines.some(
    (line) =>
      line.kind === "statement" && refused.has(line.number) && nameAt(line.createdOn) === move?.partition,
  );
  return (createdOn) => {
    const name = nameAt(createdOn);
    return name === move?.partition ? movedIsClosed : life.closed.has(name);
  };
}

/** Holds what a load's process said against the ledger, and against what it had to come to. */
function checkLoad(life: Life, observed: Observation, load: LoadAct, disturbance: Disturbance): void {
  const { act, drop, done } = load;
  const { end, struck } = done;
  const { crashed, failing, moving } = disturbance;
  const { bytes, changed } = drop.file;
  const fault = act.do === "load" ? act.fault : null;
  // A file that changes in time, or before another attempt, is loaded as it is then.
  const contents = fault?.kind === "file" ? [hashOf(bytes), hashOf(changed)] : [hashOf(bytes)];
  const isIn = observed.loads.some(
    ({ status, sha256, synced_on }) =>
      status === "loaded" && contents.includes(sha256 ?? "") && synced_on === drop.syncedOn,
  );
  const what = `${act.do} of ${JSON.stringify(drop.file.name)}`;
  const { outcome, detail } = outcomeOf(end);
  life.tally.count("outcomes", outcome);
  if (end.kind === "load") {
    for (const state of end.retries) life.tally.count("retries", state);
    checkReport(observed, end.report, what);
  }
  if (struck) {
    if (outcome === "killed" && fault?.kind === "kill" && fault.at === "committed") {
      expectTrue(`${what} was killed after its commit, and is not in`, isIn || drop.content.spoiled !== null);
    }
    return;
  }
  const allowed = allowedOutcomes(life, drop, act.do === "load" && act.strict, moving);
  if (crashed || failing) allowed.add("failed");
  expectTrue(
    `${what} came to ${outcome} (${detail}), not to ${[...allowed].join(" or ")}`,
    allowed.has(outcome),
  );
  const said = outcome === "loaded" || outcome === "already_loaded" || outcome === "done";
  if (said) expectTrue(`${what} said ${outcome}, and is not in`, isIn);
}

function outcomeOf(end: LoadEnd["end"]): { readonly outcome: string; readonly detail: string } {
  switch (end.kind) {
    case "load":
      return { outcome: end.report.outcome, detail: JSON.stringify(end.report.error ?? null) };
    case "error":
      return { outcome: end.code === "aborted" ? "aborted" : "error", detail: end.message };
    case "refresh":
      return { outcome: "error", detail: "a refresh" };
    case "ended": {
      if (end.signal !== null) return { outcome: "killed", detail: end.signal };
      const outcomes: Readonly<Record<number, string>> = { 0: "done", 1: "failed", 3: "rejected" };
      return { outcome: outcomes[end.code ?? -1] ?? "aborted", detail: `exit code ${end.code}` };
    }
  }
}

/** What a drop's load may come to when nothing struck it. */
function allowedOutcomes(life: Life, drop: KnownDrop, strict: boolean, moving: boolean): Set<string> {
  const { content, syncedOn, file } = drop;
  if (content.spoiled !== null) return new Set(["rejected"]);
  const lines = life.known.get(hashOf(file.bytes)) ?? [];
  const sure = rejectsOf(lines, syncedOn, () => false).length > 0;
  const allowed = new Set(["loaded", "already_loaded", "done"]);
  if (!strict) return allowed;
  const maybe = sure || moving || life.closed.size > 0;
  if (sure) allowed.delete("loaded");
  if (maybe) allowed.add("rejected");
  return allowed;
}

/** What a report says of a load is what the ledger has. */
function checkReport(
  observed: Observation,
  report: { readonly outcome: string; readonly loadId: number | null; readonly rows: object },
  what: string,
): void {
  if (report.outcome !== "loaded" && report.outcome !== "already_loaded") return;
  const entry = observed.loads.find(({ load_id }) => load_id === report.loadId);
  expectTrue(`${what} is not in the ledger as ${report.loadId}`, entry?.status === "loaded");
  if (report.outcome === "already_loaded") return;
  for (const [name, count] of Object.entries(report.rows)) {
    const kept = entry?.[name as keyof ObservedLoad];
    expectTrue(`${what} said ${count} ${name}, the ledger ${kept}`, kept === count);
  }
}

/** Each read showed the loads up to some commit, and exactly the totals that these make. */
function checkReads(
  life: Life,
  observed: Observation,
  step: {
    readonly reads: { readonly seen: readonly Read[]; readonly errors: readonly string[] };
    readonly move: Move | undefined;
    readonly before: number;
    readonly crashed: boolean;
  },
): void {
  const { model, tally } = life;
  const { seen, errors } = step.reads;
  if (!step.crashed) expectSame("errors of readers", errors, []);
  tally.add("reads", seen.length);
  const order = model.applied().map(({ loadId }) => loadId);
  const isShown = (createdOn: string) => {
    const name = partitionAt(observed.partitions, createdOn)?.partition;
    return name !== step.move?.partition && life.closed.get(name ?? "") !== "detached";
  };
  for (const read of seen) {
    const { length } = read.loads;
    expectSame("loads that a reader saw", read.loads.map(String), order.slice(0, length).map(String));
    expectTrue("a reader saw fewer loads than were in before", length >= step.before);
    expectSame(
      `totals that a reader saw with ${length} loads`,
      read.reports.filter((text) => isShown(text.slice(0, 10))),
      totalTexts(model.totals(length), isShown),
    );
  }
}

/** As if the clock had been ahead at the newest commit. */
async function turnClockBack(life: Life, minutes: number): Promise<void> {
  const { warehouse, onFault } = life.stage;
  const changed = await warehouse.query<{ known_at: string }>(
    `update warehouse.loads set known_at = known_at + $1 * interval '1 minute'
     where load_id = (select load_id from warehouse.loads where status = 'loaded' order by known_at desc limit 1)
     returning to_json(known_at) #>> '{}' as known_at`,
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

/** The end: what is not in is loaded without disturbance, all is refreshed and proved, and the past is as it was. */
async function settle(life: Life): Promise<void> {
  const { stage, model } = life;
  const { warehouse } = stage;
  const { database, settings } = warehouse;
  for (const [partition, state] of [...life.closed]) {
    if (state === "detached") await finishMove(life, { act: "attach", partition });
  }
  for (const [index, drop] of life.drops.entries()) {
    const { path, remove } = placeDrop(stage.site.folder, drop.file);
    const report = await loadDrop({ database, settings, path, maxRejects: 1, careful: index % 2 === 1 });
    remove();
    const allowed = drop.content.spoiled === null ? ["loaded", "already_loaded"] : ["rejected"];
    expectTrue(`at the end ${path} came to ${JSON.stringify(report)}`, allowed.includes(report.outcome));
  }
  let observed = await observe(warehouse);
  takeIn(life, observed, undefined);
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
  await checkPast(life);
}

/** The quarantine of a refused drop names all its bad lines. */
function checkRefused(life: Life, observed: Observation): void {
  if (life.closed.size > 0) return;
  for (const load of observed.loads) {
    if (load.error_code !== "too_many_rejects" || load.synced_on === null) continue;
    const lines = life.known.get(load.sha256 ?? "") ?? [];
    const sure = rejectsOf(lines, load.synced_on, () => false).map(rejectText);
    const kept = rejectTexts(observed, load.load_id).filter((text) => !text.endsWith("partition_closed"));
    expectSame(`rejects of the refused load ${load.load_id}`, kept, sure);
  }
}

async function checkProof(life: Life, { partitions }: Observation): Promise<void> {
  const { divergences, split } = await runVerify(life.stage, true);
  expectTrue(`verify found ${JSON.stringify(divergences)}`, divergences.length === 0);
  const hasInvoices = (createdOn: string) => partitionAt(partitions, createdOn)?.state !== "dropped";
  expectSame("invoice ids under several keys", split, life.model.split(hasInvoices));
}

/** The reports as known at earlier moments are what they were then. */
async function checkPast({ stage, model, knownAt }: Life): Promise<void> {
  const step = Math.max(1, Math.floor(knownAt.length / 4));
  for (let loads = 1; loads <= knownAt.length; loads += step) {
    const at = knownAt[loads - 1];
    const [row] = await stage.warehouse.query<{ reports: string[] }>(AS_KNOWN, [at]);
    expectSame(
      `the reports as known on ${at}`,
      row?.reports ?? [],
      totalTexts(model.totals(loads), () => true),
    );
  }
}
