/** Somebody with a loader's login, and SQL by hand (lies.ts): beside the other acts, and after them. */
import { setTimeout as sleep } from "node:timers/promises";
import { errorState } from "../../../db/errors.ts";
import { refreshPartitions } from "../../../etl/refresh/refresh.ts";
import type { Divergence } from "../../../etl/verify/divergence.ts";
import { verifyWarehouse } from "../../../etl/verify/verify.ts";
import { runVerify } from "./acts.ts";
import { takeIn } from "./check.ts";
import { compareAll, Difference, expectSame, expectTrue } from "./compare.ts";
import type { Act } from "./history.ts";
import { type It, LIES, type Lie } from "./lies.ts";
import { hashOf, type Life, persist } from "./life.ts";
import { observe } from "./observe.ts";
import type { SimulatedWarehouse } from "./site.ts";

/** It gives up before it is one of a deadlock, so no load is ended because of it. */
const LOCK_TIMEOUT_MS = 50;

/** Tells a lie in a transaction that is held open for a while, beside all that goes on, and rolled back. */
export async function holdLie(life: Life, act: Act & { do: "hostile" }): Promise<void> {
  const { warehouse, onFault } = life.stage;
  const lie: Lie = LIES[act.lie];
  const it = await choose(life, lie, act.about);
  if (it === undefined) return;
  const told = await tell(warehouse, lie, it, async () => {
    await sleep(act.ms);
    return "rollback";
  });
  if (told.kind === "told") expectTrue(`${act.lie} was not refused`, lie.must.be !== "refused");
  onFault(`lie told and rolled back: ${topicOf(act)}`);
}

/** Tells a lie for good, and sees what becomes of it: it is refused, or changes nothing, or verify names it. */
export async function tellLie(life: Life, act: Act & { do: "hostile" }): Promise<void> {
  const { stage, model, tally } = life;
  const { warehouse, onFault } = stage;
  const lie: Lie = LIES[act.lie];
  const it = await persist(() => choose(life, lie, act.about));
  if (it === undefined) return;
  const told = await tell(warehouse, lie, it, async () => "commit");
  onFault(`lie told: ${topicOf(act)}`);
  const { must } = lie;
  tally.count("outcomes", `lie ${must.be === "nothing" ? "that changes nothing" : must.be}`);
  if (told.kind === "refused") {
    const expected = must.be === "refused" && must.state === told.state;
    if (!expected) throw new Difference(`${act.lie} was refused: ${told.state} ${told.message}`);
  } else {
    expectTrue(`${act.lie} was not refused`, must.be !== "refused");
    if (must.be === "named") {
      const { divergences } = await runVerify(stage, true);
      const may = new Set(must.andMay?.(told.it));
      const named = new Set(divergences.flatMap(nameOf).filter((name) => !may.has(name)));
      expectSame(`what verify named of the lie ${act.lie}`, [...named], [...new Set(must.as(told.it))]);
      await takeBack(warehouse, must.takeBack, told.it);
    }
  }
  const observed = await observe(warehouse);
  takeIn(life, observed);
  compareAll(observed, model);
  const { divergences } = await runVerify(stage, false);
  expectTrue(
    `after the lie ${act.lie} verify found ${JSON.stringify(divergences)}`,
    divergences.length === 0,
  );
}

/** What the lies say of it; a period that was closed is another thing than what changed it. */
function nameOf(found: Divergence): readonly string[] {
  switch (found.kind) {
    case "group":
    case "orphan":
      return [`${found.kind} ${found.createdOn} ${found.venueId}`];
    case "control":
    case "table":
      return [`${found.kind} ${found.partition}`];
    case "load":
      return [`load ${found.loadId}`];
    default:
      return [];
  }
}

async function choose({ stage, drops }: Life, { about }: Lie, which: number): Promise<It | undefined> {
  const known = drops
    .filter(({ content }) => content.spoiled === null)
    .map(({ file, syncedOn }) => ({ sha256: hashOf(file.bytes), synced_on: syncedOn }));
  const values = about.includes("$1") ? [JSON.stringify(known)] : [];
  const rows = await stage.warehouse.query<{ it: It }>(`select to_jsonb(a) as it from (${about}) a`, values);
  return rows[which % Math.max(rows.length, 1)]?.it;
}

type Told =
  | { readonly kind: "told"; readonly it: It }
  | { readonly kind: "refused"; readonly state: string | undefined; readonly message: string };

/** Runs it with the loader's rights. */
async function tell(
  { asLoader }: SimulatedWarehouse,
  lie: Lie,
  about: It,
  end: () => Promise<"commit" | "rollback">,
): Promise<Told> {
  // A connection that breaks emits this event, too; the statement rejects, and that is what counts.
  const ignore = () => {};
  const client = await persist(async () => {
    const fresh = await asLoader.pool.connect();
    fresh.on("error", ignore);
    try {
      await fresh.query("begin");
      await fresh.query(`set local lock_timeout = ${LOCK_TIMEOUT_MS}`);
      return fresh;
    } catch (error) {
      fresh.off("error", ignore);
      fresh.release(true);
      throw error;
    }
  });
  let broken = true;
  try {
    let it = about;
    for (const statement of lie.tell) {
      const values = statement.includes("$1") ? [JSON.stringify(it)] : [];
      const { rows } = await client.query(statement, values);
      it = { ...it, ...rows[0] };
    }
    await client.query(await end());
    broken = false;
    return { kind: "told", it };
  } catch (error) {
    return { kind: "refused", state: errorState(error), message: String(error) };
  } finally {
    client.off("error", ignore);
    client.release(broken);
  }
}

async function takeBack(
  { database, settings, query }: SimulatedWarehouse,
  how: readonly string[] | "refresh" | "repair",
  it: It,
): Promise<void> {
  if (how === "repair" || (how === "refresh" && it.state === "dropped")) {
    // Only an open partition becomes stale; what stands for a dropped one's invoices is repaired on request.
    await verifyWarehouse({ database, settings, repair: true });
  } else if (how === "refresh") {
    await refreshPartitions({ database });
  } else {
    for (const statement of how) {
      await query(statement, statement.includes("$1") ? [JSON.stringify(it)] : []);
    }
  }
}

/** What a lie is about: the word before the colon. */
function topicOf({ lie }: Act & { do: "hostile" }): string {
  return lie.slice(0, lie.indexOf(":"));
}
