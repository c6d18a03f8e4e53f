/** Compares what the product makes of a drop with what the model says of it. */

import { usesComma } from "../../../etl/drop/lines.ts";
import { readDropName } from "../../../etl/drop/name.ts";
import type { Reject } from "../../../etl/drop/reject.ts";
import { type FormLine, readFormed } from "../../../etl/testing/models/form.ts";
import { type ReadLine, readFile } from "../../../etl/testing/models/format.ts";
import type { Invoice, Layout } from "../../../etl/testing/models/line.ts";
import { euros } from "../../../etl/testing/models/money.ts";
import { readName } from "../../../etl/testing/models/name.ts";
import type { MadeDrop } from "./mutants.ts";
import { meaning, type Paths, type Product, pathsOf, type Reading, readByProduct } from "./product.ts";

/** Something on which not all agree. */
export interface Difference {
  readonly what: string;
  /** The line at fault, where there is one. */
  readonly line?: { readonly number: number; readonly text: string; readonly base64: string };
  readonly said: Readonly<Record<string, unknown>>;
}

/** What was seen in a drop in which all agree. */
export interface Agreement {
  readonly lines: number;
  readonly taken: number;
  /** Lines that a source leaves out. */
  readonly skipped: number;
  /** Of those taken, the ones that the fast path passes on as they are. */
  readonly recognised: number;
  /** Of those taken, the ones that the direct way keys in memory. */
  readonly keyed: number;
  readonly reasons: Readonly<Record<string, number>>;
  readonly refusal: string | undefined;
}

export type Comparison =
  | ({ readonly kind: "same" } & Agreement)
  | ({ readonly kind: "different" } & Difference);

/** Reads the drop all ways and compares. A crash of the product is a difference, too. */
export async function compareDrop(product: Product, drop: MadeDrop): Promise<Comparison> {
  try {
    return await compareAll(product, drop);
  } catch (error) {
    if (error instanceof Different) return { kind: "different", ...error.difference };
    const said = error instanceof Error ? (error.stack ?? error.message) : String(error);
    return { kind: "different", what: "the product broke down", said: { product: said } };
  }
}

/** What product and model say differently of a file's name. */
export function compareName(name: string): Difference | undefined {
  const model = readName(name);
  const read = readDropName({ fileName: name });
  const reader = read.kind === "named" ? { syncedOn: read.syncedOn } : read.code;
  if (JSON.stringify(model) === JSON.stringify(reader)) return undefined;
  return { what: "sync date", said: { name: JSON.stringify(name), model, reader } };
}

class Different extends Error {
  readonly difference: Difference;
  constructor(what: string, said: Readonly<Record<string, unknown>>, line?: ReadLine) {
    super(what);
    this.difference = { what, said, ...(line && { line: showLine(line) }) };
  }
}

function showLine({ number, bytes }: ReadLine) {
  const shown = Buffer.from(bytes.subarray(0, 4096));
  return { number, text: shown.toString("latin1"), base64: shown.toString("base64") };
}

/** What the model says of a drop. */
interface Expected {
  readonly text: Buffer;
  readonly lines: readonly FormLine[];
  readonly refusal: { readonly code: string; readonly line: number | undefined } | undefined;
  /** Undefined where a source gives the form: places of columns tell too little of it. */
  readonly layout?: Layout;
  readonly isWhole: boolean;
}

function readByModel({ bytes, isNamedGz, world, form }: MadeDrop): Expected {
  return form === undefined ? readFile(bytes, isNamedGz, world) : readFormed(bytes, isNamedGz, form, world);
}

async function compareAll(product: Product, drop: MadeDrop): Promise<Comparison> {
  const { world, form } = drop;
  const expected = readByModel(drop);
  const { isWhole } = expected;
  const dates = await product.rulesOf(world);
  const rules = { ...dates, decimalComma: usesComma(dates, form) };
  const reading = await readByProduct(drop, rules);
  compareRefusals(expected.refusal, reading, isWhole);
  if (isWhole && expected.refusal === undefined && expected.layout !== undefined) {
    const { delimiter, cells, positions } = reading.dialect;
    same("dialect", expected.layout, { delimiter, cells, positions });
  }
  // Of a file that a source reads, and that is refused, nothing is loaded.
  if (form !== undefined && expected.refusal !== undefined)
    return { ...NOTHING, refusal: expected.refusal.code };
  // Of a damaged file the reader may have less than what could be had.
  const decided = reading.rows + reading.rejects.length + reading.skipped;
  const known = isWhole ? expected.lines : expected.lines.slice(0, decided);
  const lines = known.flatMap((line) =>
    line.decision.kind === "skipped" ? [] : [{ ...line, decision: line.decision }],
  );
  same("lines that are left out", known.length - lines.length, reading.skipped);
  compareRejects(lines, reading.rejects);
  const taken = takenOf(lines);
  if (taken.length !== reading.rows)
    throw new Different("number of rows", { model: taken.length, reader: reading.rows });

  const rows = splitRows(reading.pieces);
  if (rows.length !== reading.rows)
    throw new Different("rows in COPY text", { counted: reading.rows, found: rows.length });
  const paths = pathsOf(expected.text, reading.dialect, rules);
  const { recognised, otherwise } = compareCareful(lines, rows, paths);
  const seen = {
    lines: known.length,
    taken: taken.length,
    skipped: reading.skipped,
    recognised,
    reasons: countReasons(lines),
    refusal: reading.refusal?.code,
  };
  if (taken.length === 0) return { kind: "same", keyed: 0, ...seen };
  const wanted = taken.map(meaningOf);
  const found = await product.readRows(world, reading.copy, {
    pieces: reading.pieces,
    otherwise: otherwise.map(({ row }) => row),
  });
  compareMeanings("reader", taken, wanted, found.stored);
  compareMeanings("direct way", taken, wanted, found.direct);
  const again = otherwise.map(({ line }) => line);
  compareMeanings("careful path", again, again.map(meaningOf), found.otherwise);
  return { kind: "same", keyed: found.direct.filter((each) => each !== undefined).length, ...seen };
}

const NOTHING = {
  kind: "same",
  lines: 0,
  taken: 0,
  skipped: 0,
  recognised: 0,
  keyed: 0,
  reasons: {},
} as const;

type TakenLine = ReadLine & { readonly invoice: Invoice };

function takenOf(lines: readonly ReadLine[]): readonly TakenLine[] {
  return lines.flatMap((line) =>
    line.decision.kind === "taken" ? [{ ...line, invoice: line.decision.invoice }] : [],
  );
}

function compareRefusals(expected: Expected["refusal"], { refusal }: Reading, isWhole: boolean): void {
  const said = { model: expected ?? (isWhole ? "whole" : "truncated"), reader: refusal ?? "whole" };
  // Of a damaged file it depends on how much came out which of two refusals is seen first.
  if (!isWhole && refusal?.code === "truncated") return;
  if (!isWhole && expected === undefined) throw new Different("refusal", said);
  if (expected?.code !== refusal?.code) throw new Different("refusal", said);
  if (expected?.line !== undefined && expected.line !== refusal?.line) throw new Different("refusal", said);
}

function same(what: string, model: unknown, reader: unknown): void {
  if (JSON.stringify(model) !== JSON.stringify(reader)) throw new Different(what, { model, reader });
}

function compareRejects(lines: readonly ReadLine[], rejects: readonly Reject[]): void {
  let next = 0;
  for (const line of lines) {
    const found = rejects[next]?.line === line.number ? rejects[next] : undefined;
    if (found !== undefined) next++;
    compareReject("reader", line, found);
  }
  if (next < rejects.length)
    throw new Different("a reject of no line", { reader: showReject(rejects[next]) });
}

/** `found`: what the reader says of the line; undefined: it was taken. */
function compareReject(who: string, line: ReadLine, found: Reject | undefined): void {
  const { decision } = line;
  const agrees =
    decision.kind === "taken"
      ? found === undefined
      : found !== undefined &&
        found.reason === decision.reason &&
        found.column === decision.column &&
        found.line === line.number &&
        found.raw.equals(line.bytes);
  if (agrees) return;
  const model = decision.kind === "taken" ? meaningOf(decision) : decision;
  throw new Different("decision", { model, [who]: showReject(found) }, line);
}

function showReject(reject: Reject | undefined): unknown {
  if (reject === undefined) return "taken";
  const { line, reason, column, raw } = reject;
  return { line, reason, column, raw: raw.subarray(0, 4096).toString("base64") };
}

interface Otherwise {
  readonly line: TakenLine;
  readonly row: string;
}

/**
 * Decides by the careful path alone the lines that the fast path knows; all others went there already.
 * Returns those whose rows are written otherwise than the reader did, for it passes them on as they are.
 */
function compareCareful(
  lines: readonly ReadLine[],
  rows: readonly string[],
  paths: Paths,
): { readonly recognised: number; readonly otherwise: readonly Otherwise[] } {
  const otherwise: Otherwise[] = [];
  let recognised = 0;
  let next = 0;
  for (const line of lines) {
    const { decision } = line;
    const row = decision.kind === "taken" ? rows[next++] : undefined;
    if (!paths.recognise(line)) continue;
    recognised++;
    const decided = paths.decideCarefully(line);
    if (decided === undefined)
      throw new Different("decision", { model: decision, "careful path": "nothing" }, line);
    compareReject("careful path", line, typeof decided === "string" ? undefined : decided);
    if (decision.kind !== "taken")
      throw new Different("decision", { model: decision, "fast path": "taken" }, line);
    if (typeof decided === "string" && decided !== `${row}\n`) {
      otherwise.push({ line: { ...line, invoice: decision.invoice }, row: decided });
    }
  }
  return { recognised, otherwise };
}

function splitRows(pieces: readonly Buffer[]): readonly string[] {
  const text = pieces.map((piece) => piece.toString("utf8")).join("");
  return text === "" ? [] : text.split("\n").slice(0, -1);
}

function compareMeanings(
  who: string,
  taken: readonly ReadLine[],
  wanted: readonly string[],
  found: readonly (string | undefined)[],
): void {
  if (found.length !== wanted.length)
    throw new Different("number of values", { model: wanted.length, [who]: found.length });
  for (const [index, each] of found.entries()) {
    // The direct way leaves some rows to staging.
    if (each === wanted[index] || (each === undefined && who === "direct way")) continue;
    throw new Different("values", { model: wanted[index], [who]: each }, taken[index]);
  }
}

function meaningOf({
  invoice: { venue, uuid, instant, createdOn, cents },
}: {
  readonly invoice: Invoice;
}): string {
  return meaning(venue, uuid, instant, createdOn, euros(cents));
}

function countReasons(lines: readonly ReadLine[]): Readonly<Record<string, number>> {
  const reasons: Record<string, number> = {};
  for (const { decision } of lines) {
    if (decision.kind === "rejected") reasons[decision.reason] = (reasons[decision.reason] ?? 0) + 1;
  }
  return reasons;
}
