/** The reader of forms against the model of them, on files made at random. `npm run fuzz` tries more of them. */
import { randomInt } from "node:crypto";
import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { addDays } from "../../../db/dates.ts";
import { unpack } from "../../drop/container.ts";
import { readLines } from "../../drop/lines.ts";
import { REJECT_REASONS } from "../../drop/reject.ts";
import type { LineRules } from "../../drop/rules.ts";
import { createZoneCalendar } from "../../drop/zone_calendar.ts";
import { type Choices, createChoices } from "../forms/choices.ts";
import { type FormFile, makeFormFile } from "../forms/file.ts";
import { dateOf, dayOfDate, offsetAt, offsetOfWall, ZONES } from "./clocks.ts";
import { type FormDrop, readFormed } from "./form.ts";
import type { World } from "./line.ts";
import { euros } from "./money.ts";

/** What a file comes to, as product and model both can say it. */
interface Outcome {
  readonly refusal?: string;
  readonly rows?: readonly string[];
  readonly rejects?: readonly string[];
  readonly skipped?: number;
}

test("reader and model agree on files that have a form, however they are cut", {
  timeout: 120_000,
}, async () => {
  const fixed = Array.from({ length: 120 }, (_, index) => index + 1);
  const further = Array.from({ length: 30 }, () => randomInt(2 ** 31));
  const seen = new Set<string>();
  let rows = 0;
  for (const seed of [...fixed, ...further]) {
    const file = makeFormFile(createChoices(seed));
    const random = createChoices(~seed);
    const bytes = random.once(6) ? gzipSync(Buffer.concat(file.lines)) : Buffer.concat(file.lines);
    const expected = tellModel(readFormed(bytes, false, file.form, file.world));
    expect(await readByProduct(file, cut(random, bytes)), tellFile(seed, file)).toEqual(expected);
    seen.add(expected.refusal?.split(" ")[0] ?? "whole");
    for (const reject of expected.rejects ?? []) seen.add(reject.split(" ")[1] ?? "");
    rows += expected.rows?.length ?? 0;
    if ((expected.skipped ?? 0) > 0) seen.add("skipped");
  }
  // The files are of all kinds, and most of what they hold is taken.
  const kinds = [...REJECT_REASONS, "whole", "skipped", "bad_header"];
  expect(kinds.filter((kind) => !seen.has(kind))).toEqual([]);
  expect(rows).toBeGreaterThan(1000);
});

function tellFile(seed: number, { form, world, lines }: FormFile): string {
  const text = JSON.stringify(Buffer.concat(lines).toString("latin1"));
  return `seed ${seed}: ${JSON.stringify({ form, world })}\n${text}`;
}

function tellModel({ lines, refusal }: FormDrop): Outcome {
  if (refusal !== undefined) return { refusal: `${refusal.code} ${refusal.line}` };
  const rows: string[] = [];
  const rejects: string[] = [];
  for (const { number, decision } of lines) {
    if (decision.kind === "rejected") rejects.push(`${number} ${decision.reason} ${decision.column}`);
    if (decision.kind !== "taken") continue;
    const { venue, uuid, instant, createdOn, cents } = decision.invoice;
    rows.push(JSON.stringify([number, venue, uuid, String(instant), createdOn, euros(cents)]));
  }
  return { rows, rejects, skipped: lines.filter(({ decision }) => decision.kind === "skipped").length };
}

async function readByProduct({ form, world }: FormFile, chunks: AsyncIterable<Buffer>): Promise<Outcome> {
  const text = await unpack({ raw: chunks, namedGzip: false, encoding: form.encoding });
  const rows: string[] = [];
  const rejects: string[] = [];
  let skipped = 0;
  let layout = { delimiter: ",", columns: [] as readonly string[] };
  for await (const event of readLines({ text, rules: rulesOf(world), form, numbered: true })) {
    if (event.kind === "refused") return { refusal: `${event.code} ${event.line}` };
    if (event.kind === "dialect") {
      layout = event.copy;
      continue;
    }
    skipped += event.skipped;
    for (const { line, reason, column } of event.rejects) rejects.push(`${line} ${reason} ${column}`);
    const copied = event.copy.toString().split("\n").slice(0, -1);
    expect(copied.length).toBe(event.rows);
    for (const [at, row] of copied.entries()) rows.push(tellRow(row, layout, world, event.lines?.[at]));
  }
  return { rows, rejects, skipped };
}

function tellRow(
  row: string,
  { delimiter, columns }: { readonly delimiter: string; readonly columns: readonly string[] },
  world: World,
  line: number | undefined,
): string {
  const cells = row.split(delimiter === "|" ? /(?<!\\)\|/ : new RegExp(`(?<!\\\\)${delimiter}`));
  const textOf = (name: string) =>
    (cells[columns.indexOf(name)] ?? "").replace(/\\(.)/g, (_, char) => (char === "t" ? "\t" : char));
  const instant = instantOf(textOf("datetime_created"), world);
  const { timeZone, dayStarts } = world;
  const start = Number(dayStarts.slice(0, 2)) * 3600 + Number(dayStarts.slice(3)) * 60;
  const second = Number(instant / 1_000_000n) - (instant % 1_000_000n < 0n ? 1 : 0);
  const day = Math.floor((second + offsetAt(ZONES[timeZone], second) - start) / 86_400);
  const [venue, uuid, total] = [textOf("venue_id"), textOf("invoice_id"), textOf("total")];
  return JSON.stringify([line, venue, canonical(uuid), String(instant), dateOf(day), canonicalTotal(total)]);
}

function canonical(uuid: string): string {
  const hex = uuid.replace(/[-{}]/g, "").toLowerCase();
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

function canonicalTotal(total: string): string {
  return total.replace(/^(-?)0+(?=\d)/, "$1").replace("-0.00", "0.00");
}

/** As PostgreSQL reads it: `2018-06-01 12:00:00.5+02`, or without an offset the wall clock's time. */
function instantOf(text: string, world: World): bigint {
  const [, date = "", hours = "0", minutes = "0", seconds = "0", fraction = "", offset] =
    /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?)? ?(Z|[+-][\d:]+)?$/.exec(text) ?? [];
  if (date === "") throw new Error(`no time: ${text}`);
  const wall = dayOfDate(date) * 86_400 + Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds);
  const second =
    wall - (offset === undefined ? offsetOfWall(ZONES[world.timeZone], wall) : secondsOf(offset));
  return BigInt(second) * 1_000_000n + BigInt(`${fraction}000000`.slice(0, 6));
}

function secondsOf(offset: string): number {
  if (offset === "Z") return 0;
  const [, sign, hours, minutes = "0", seconds = "0"] = /^([+-])(\d\d):?(\d\d)?:?(\d\d)?$/.exec(offset) ?? [];
  return (sign === "-" ? -1 : 1) * (Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds));
}

const RULES = new Map<World, LineRules>();

function rulesOf(world: World): LineRules {
  const known = RULES.get(world);
  if (known !== undefined) return known;
  const { thresholdOf } = createZoneCalendar(world);
  const range = ([from, to]: readonly [string, string]) => ({ from: thresholdOf(from), to: thresholdOf(to) });
  const rules = {
    earliest: thresholdOf(world.earliest),
    afterSync: thresholdOf(addDays(world.syncedOn, 1 + world.syncSlack)),
    closed: world.closed.map(range),
    closedPeriods: world.closedPeriods?.map(range) ?? null,
    decimalComma: world.decimalComma,
    dayStarts: world.dayStarts,
  };
  RULES.set(world, rules);
  return rules;
}

/** In one piece, byte by byte, or anywhere. */
async function* cut(random: Choices, bytes: Buffer): AsyncGenerator<Buffer, void, undefined> {
  const most = random.pick([bytes.length, 1, 7, 1000]);
  for (let from = 0; from < bytes.length; ) {
    const to = from + (most < 2 ? 1 : random.between(1, most));
    yield Buffer.from(bytes.subarray(from, to));
    from = to;
  }
}
