/** Somebody with a loader's login, and SQL by hand: beside the other acts, and after them. */
import { chooseFor, type It, LIES, type Lie, namedBy, takeBack, tellLie } from "../../../etl/testing/lies.ts";
import { runVerify } from "./acts.ts";
import { takeIn } from "./check.ts";
import { compareAll, Difference, expectSame, expectTrue } from "./compare.ts";
import type { Act } from "./history.ts";
import { hashOf, type Life, persist } from "./life.ts";
import { observe } from "./observe.ts";

/** Tells a lie in a transaction that is held open for a while, beside all that goes on, and rolled back. */
export async function holdLie(life: Life, act: Act & { do: "hostile" }): Promise<void> {
  const { warehouse, onFault } = life.stage;
  const lie: Lie = LIES[act.lie];
  const about = await choose(life, lie, act.about);
  if (about === undefined) return;
  const told = await tellLie({ database: warehouse.asLoader, lie, about, rollBackAfterMs: act.ms });
  // Another act may have taken away what it is about.
  if (told.kind === "told" && told.rows > 0) {
    expectTrue(`${act.lie} was not refused`, lie.must.be !== "refused");
  }
  onFault(`lie told and rolled back: ${topicOf(act)}`);
}

/** Tells a lie for good, and sees what becomes of it: it is refused, or changes nothing, or verify names it. */
export async function tellForGood(life: Life, act: Act & { do: "hostile" }): Promise<void> {
  const { stage, model, tally } = life;
  const { warehouse, onFault } = stage;
  const lie: Lie = LIES[act.lie];
  const about = await persist(() => choose(life, lie, act.about));
  if (about === undefined) return;
  // Its connections may be broken since the server was killed.
  await persist(() => warehouse.asLoader.pool.query("select 1"));
  const told = await tellLie({ database: warehouse.asLoader, lie, about });
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
      const expected = [...new Set(must.as(told.it))];
      expectSame(`what verify named of the lie ${act.lie}`, namedBy(divergences, lie, told.it), expected);
      await takeBack(warehouse, lie, told.it);
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

async function choose({ stage, drops }: Life, lie: Lie, which: number): Promise<It | undefined> {
  const toCome = drops
    .filter(({ content }) => content.spoiled === null)
    .map(({ file, syncedOn }) => ({ sha256: hashOf(file.bytes), synced_on: syncedOn }));
  const able = await chooseFor(lie, stage.warehouse.query, toCome);
  return able[which % Math.max(able.length, 1)];
}

/** What a lie is about: the word before the colon. */
function topicOf({ lie }: Act & { do: "hostile" }): string {
  return lie.slice(0, lie.indexOf(":"));
}
