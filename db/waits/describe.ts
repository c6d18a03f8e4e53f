/** Says in a sentence or two for which lock a session waits, and who holds it. */
import type { Holder, Wait } from "./look.ts";

/** So many holders are named. */
const NAMED = 4;

export function describeWait({ what, waitedMs, holders }: Wait): string {
  return `waiting for ${what}, for ${describeTime(waitedMs / 1000)} so far. ${describeHolders(holders)}`;
}

export function describeHolders(holders: readonly Holder[]): string {
  if (holders.length === 0) return "Who holds it cannot be seen.";
  const named = holders.slice(0, NAMED).map(describeHolder);
  const more = holders.length > NAMED ? `; and ${holders.length - NAMED} more` : "";
  const idle = holders.find(({ state }) => state?.startsWith("idle in transaction"));
  const remedy =
    idle === undefined
      ? ""
      : ` Nothing happens in pid ${idle.pid}: end its transaction there, or end the session: select pg_terminate_backend(${idle.pid})`;
  return `Held by ${named.join("; ")}${more}.${remedy}`;
}

function describeHolder({
  pid,
  user,
  application,
  state,
  stateSeconds,
  transactionBegan,
  waitsFor,
}: Holder): string {
  if (pid === 0) return "a prepared transaction (see pg_prepared_xacts)";
  const known = [
    user === null ? undefined : `user ${user}`,
    application === null ? undefined : application,
    state === null
      ? "what it does is hidden from this login, which is no member of pg_read_all_stats"
      : `${state}${stateSeconds === null ? "" : ` for ${describeTime(stateSeconds)}`}`,
    transactionBegan === null ? undefined : `in a transaction since ${transactionBegan} UTC`,
    waitsFor.length === 0 ? undefined : `itself waiting for pid ${waitsFor.join(", ")}`,
  ];
  return `pid ${pid} (${known.filter((piece) => piece !== undefined).join(", ")})`;
}

function describeTime(seconds: number): string {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}
