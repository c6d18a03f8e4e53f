/** Partitions that a step moves: which one, and its move done to the end. */
import { runMove } from "./acts.ts";
import type { Act } from "./history.ts";
import { type Life, type Move, persist } from "./life.ts";
import { observe } from "./observe.ts";

/** The partition that the step's first such act moves, if there is one that can be. */
export async function chooseMove(life: Life, acts: readonly Act[]): Promise<Move | undefined> {
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
export async function finishMove(life: Life, { act, partition }: Move): Promise<void> {
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
