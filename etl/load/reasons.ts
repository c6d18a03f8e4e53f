/** What was rejected of a drop, by reason: how much, where first, what it may be worth, and what to do. */
import { toDay } from "../../db/dates.ts";
import type { ReasonSummary } from "../../db/reason_summary.ts";
import type { Settings } from "../../db/schema.ts";
import { readCreatedOn } from "../drop/calendar.ts";
import { CELL_LENGTH, REJECT_REASONS, type Reject, type RejectReason } from "../drop/reject.ts";
import type { LineRules } from "../drop/rules.ts";
import type { Timestamp } from "../drop/value/timestamp.ts";
import { centsOf, writeEuros } from "../drop/value/total.ts";
import { printable } from "../escape.ts";
import type { FileSource } from "../sources/source.ts";
import { findRemedy, type Look, lookOf } from "./remedy.ts";
import type { LoadTask } from "./task.ts";

/** Counts rejects as they are read, in constant memory. */
export interface Reasons {
  readonly byReason: Map<RejectReason, Counted>;
  /** Sum of the sizes of the totals that could be read, in cents. */
  money: bigint;
}

/** What is counted of one reason. */
interface Counted {
  readonly first: Reject;
  count: number;
  cents: bigint;
  totals: number;
  /** How many cells look so. */
  readonly looks: Map<Look, number>;
  /** Of lines that were created after the sync date: the earliest and the latest time of each kind. */
  readonly times: Map<Timestamp["kind"], { earliest: number; latest: number }>;
}

export function startReasons(): Reasons {
  return { byReason: new Map(), money: 0n };
}

export function addReject(reasons: Reasons, reject: Reject): void {
  const { reason, total } = reject;
  let counted = reasons.byReason.get(reason);
  if (counted === undefined) {
    counted = { first: reject, count: 0, cents: 0n, totals: 0, looks: new Map(), times: new Map() };
    reasons.byReason.set(reason, counted);
  }
  counted.count++;
  const look = lookOf(reject);
  if (look !== undefined) counted.looks.set(look, (counted.looks.get(look) ?? 0) + 1);
  if (reason === "created_after_sync") addTime(counted, reject);
  if (total === null) return;
  const cents = centsOf(total);
  counted.cents += cents;
  counted.totals++;
  reasons.money += cents < 0n ? -cents : cents;
}

function addTime({ times }: Counted, { created }: Reject): void {
  if (created === null) return;
  const { kind, second } = created;
  const known = times.get(kind);
  if (known === undefined) times.set(kind, { earliest: second, latest: second });
  else {
    known.earliest = Math.min(known.earliest, second);
    known.latest = Math.max(known.latest, second);
  }
}

/** The drop that reasons are about. */
export interface ReasonsAbout {
  readonly rules: Pick<LineRules, "decimalComma">;
  readonly settings: Pick<Settings, "timeZone" | "earliest">;
  readonly syncedOn: string;
  /** What says how it is read. */
  readonly source?: FileSource | undefined;
  /** Finds `created_on` of each of these times. */
  readonly findCreatedOn: (
    times: readonly Pick<Timestamp, "kind" | "second">[],
  ) => Promise<readonly string[]>;
}

/** The reasons in the order of the drop format. The database of the load says which dates times have. */
export function summariseReasons(reasons: Reasons, task: LoadTask): Promise<readonly ReasonSummary[]> {
  const { tx: session, settings } = task;
  return summariseReasonsAbout(reasons, {
    ...task,
    findCreatedOn: (times) => readCreatedOn({ session, ...settings, times }),
  });
}

/** The same without a database. */
export async function summariseReasonsAbout(
  reasons: Reasons,
  about: ReasonsAbout,
): Promise<readonly ReasonSummary[]> {
  const summaries: ReasonSummary[] = [];
  for (const reason of REJECT_REASONS) {
    const counted = reasons.byReason.get(reason);
    if (counted !== undefined) summaries.push(await summarise(reason, counted, about));
  }
  return summaries;
}

async function summarise(
  reason: RejectReason,
  counted: Counted,
  about: ReasonsAbout,
): Promise<ReasonSummary> {
  const { count, totals } = counted;
  const { line, column, cell } = counted.first;
  const createdOn = await readDates(counted, about);
  return {
    reason,
    column,
    count,
    line,
    cell: keepText(cell ?? counted.first.raw.toString("utf8", 0, 4 * CELL_LENGTH)),
    total: totals === 0 ? null : writeEuros(counted.cents),
    totals,
    createdOn,
    remedy:
      createdOn === null
        ? findRemedy({ ...counted.first, looks: counted.looks }, about)
        : explainDates(count, createdOn, about),
  };
}

/** As the database takes it: no NUL, and no half of a character where it is cut. */
function keepText(text: string): string {
  return Buffer.from(text.slice(0, CELL_LENGTH)).toString().replaceAll("\0", "\ufffd");
}

async function readDates(
  { times }: Counted,
  { findCreatedOn }: ReasonsAbout,
): Promise<readonly [string, string] | null> {
  if (times.size === 0) return null;
  const ends = [...times].flatMap(([kind, { earliest, latest }]) => [
    { kind, second: earliest },
    { kind, second: latest },
  ]);
  const dates = (await findCreatedOn(ends)).toSorted();
  return [dates.at(0) ?? "", dates.at(-1) ?? ""];
}

/** Asks whether the sync date is the right one for lines that were created after it. */
function explainDates(count: number, [first, last]: readonly [string, string], about: ReasonsAbout): string {
  const { syncedOn, settings, source } = about;
  const lines = `${count} ${count === 1 ? "line" : "lines"} created on ${first}${first === last ? "" : ` to ${last}`}`;
  const after = `${lines}, after the sync date ${syncedOn} (zone ${settings.timeZone})`;
  const days = toDay(last) - toDay(syncedOn);
  return days <= MOST_SLACK
    ? `${after}: is the name a business day or a UTC date? ${source === undefined ? `--sync-slack ${days}` : `sync_slack: ${days} in source ${source.name}`}`
    : `${after}: is the sync date right? --synced-on gives another`;
}

/** Lines of a business day, or of a UTC date, are at most so many days late. */
const MOST_SLACK = 1;

/** A reason in a sentence without its end, safe on a terminal. */
export function describeReason(summary: ReasonSummary): string {
  const { reason, column, count, line, cell, remedy } = summary;
  const where = column === null ? "" : ` (${column})`;
  const text = cell === null ? "" : `: ${quote(cell)}`;
  const first = `${count === 1 ? "" : "first "}line ${line}${text}`;
  const why = remedy === null ? "" : `; ${remedy}`;
  return `${count} ${reason}${where}, ${first}${describeMoney(summary)}${why}`;
}

function describeMoney({ count, total, totals }: ReasonSummary): string {
  if (total === null) return "";
  return totals === count ? `, total ${total}` : `, ${totals} totals could be read: ${total}`;
}

/** So much of a cell is shown. */
const SHOWN_CHARACTERS = 60;

function quote(cell: string): string {
  const characters = [...cell];
  const shown = characters.slice(0, SHOWN_CHARACTERS).join("");
  return `"${printable(shown)}${characters.length > SHOWN_CHARACTERS ? "..." : ""}"`;
}
