/**
 * What the product makes of a drop: by the reader as a whole, by the careful path alone, and by the direct
 * way's columns.
 */
import { isUtf8 } from "node:buffer";
import { type SQL, sql } from "drizzle-orm";
import pg from "pg";
import { type Database, type Transaction, withTransaction } from "../../../db/client.ts";
import { toDate } from "../../../db/dates.ts";
import type { Settings } from "../../../db/schema.ts";
import { createdOnSql } from "../../../db/settings.ts";
import { unpack } from "../../../etl/drop/container.ts";
import { DEFAULT_DIALECT, type Dialect } from "../../../etl/drop/dialect.ts";
import { readLines } from "../../../etl/drop/lines.ts";
import { createRecogniser, NOT_CANONICAL } from "../../../etl/drop/recognise.ts";
import type { RefusedEvent } from "../../../etl/drop/refuse.ts";
import type { Reject } from "../../../etl/drop/reject.ts";
import { type CopyLayout, copyStatement } from "../../../etl/drop/row.ts";
import type { LineRules } from "../../../etl/drop/rules.ts";
import { rulesFor } from "../../../etl/drop/rules.ts";
import { LEFT_OUT, type LineFormat, lineFormat, validateRecord } from "../../../etl/drop/validate.ts";
import { copyAll } from "../../../etl/load/copy.ts";
import { type Chunk, type Chunks, createChunks } from "../../../etl/load/direct/chunk.ts";
import { createKeyMaps, findOffsets, type KeyMaps, resolveKeys } from "../../../etl/load/direct/keys.ts";
import { fillChunk, writeCents } from "../../../etl/load/direct/pack.ts";
import type { ReadLine } from "../../../etl/testing/models/format.ts";
import type { World } from "../../../etl/testing/models/line.ts";
import type { MadeDrop } from "./mutants.ts";

/** What the reader tells of a drop, however it was cut into batches. */
export interface Reading {
  readonly dialect: Dialect;
  readonly copy: CopyLayout;
  /** Rows of COPY text, a piece for each batch. */
  readonly pieces: readonly Buffer[];
  readonly rows: number;
  readonly rejects: readonly Reject[];
  /** How many records the source leaves out. */
  readonly skipped: number;
  readonly refusal: RefusedEvent | undefined;
}

export async function readByProduct(drop: MadeDrop, rules: LineRules): Promise<Reading> {
  const { form, isNamedGz } = drop;
  const text = await unpack({ raw: chunksOf(drop), namedGzip: isNamedGz, encoding: form?.encoding });
  let [dialect, copy, rows, refusal]: [Dialect, CopyLayout, number, RefusedEvent | undefined] = [
    DEFAULT_DIALECT,
    { delimiter: ",", columns: [] },
    0,
    undefined,
  ];
  const pieces: Buffer[] = [];
  const rejects: Reject[] = [];
  let skipped = 0;
  for await (const event of readLines({ text, rules, form })) {
    if (event.kind === "dialect") ({ dialect, copy } = event);
    else if (event.kind === "refused") refusal = event;
    else {
      pieces.push(event.copy);
      rows += event.rows;
      skipped += event.skipped;
      for (const reject of event.rejects) rejects.push(reject);
    }
  }
  return { dialect, copy, pieces, rows, rejects, skipped, refusal };
}

async function* chunksOf({ bytes, cuts }: MadeDrop): AsyncGenerator<Buffer, void, undefined> {
  let from = 0;
  for (const to of [...cuts, bytes.length]) {
    const end = Math.min(to, bytes.length);
    if (end > from) yield Buffer.from(bytes.subarray(from, end));
    from = Math.max(from, end);
  }
}

/** The two paths of a line, each alone. */
export interface Paths {
  /** Whether the fast path knows the line. */
  readonly recognise: (line: ReadLine) => boolean;
  /** Its row by the careful path, or its reject; undefined where it counts for nothing. */
  readonly decideCarefully: (line: ReadLine) => string | Reject | undefined;
}

/** `text`: what the lines are of. */
export function pathsOf(text: Buffer, dialect: Dialect, rules: LineRules): Paths {
  const format: LineFormat = lineFormat({ dialect, rules });
  const recogniser = createRecogniser({ format });
  // As the reader ends the last line: a CR before it is no part of the end.
  const batch = Buffer.concat([text, Buffer.from("\r\n")]);
  return {
    recognise: ({ from, bytes: line }) => recogniser(batch, from, isUtf8(line)) !== NOT_CANONICAL,
    decideCarefully: ({ from, bytes: line, number }) => {
      const place = { batch, from, to: from + line.length, line: number };
      // The fast path knows no record of several lines.
      const bytes = { ...place, utf8: false, lines: 1, broken: false };
      const decided = validateRecord({ bytes, format });
      if (decided === LEFT_OUT || (typeof decided === "object" && "row" in decided))
        throw new Error("the fast path takes a line that the source leaves out, or calls void");
      return decided;
    },
  };
}

/** The product with a warehouse behind it: what its rows mean is asked of PostgreSQL. */
export interface Product {
  readonly rulesOf: (world: World) => Promise<LineRules>;
  readonly readRows: (world: World, layout: CopyLayout, rows: RowTexts) => Promise<RowMeanings>;
}

/** Rows of COPY text. */
export interface RowTexts {
  /** As the reader wrote them. */
  readonly pieces: readonly Buffer[];
  /** Of the careful path, where it writes otherwise. */
  readonly otherwise: readonly string[];
}

/** What the rows say, in order, each written by {@link meaning}. */
export interface RowMeanings {
  /** To PostgreSQL. */
  readonly stored: readonly string[];
  readonly otherwise: readonly string[];
  /** To the direct way; undefined where it leaves a row to staging. */
  readonly direct: readonly (string | undefined)[];
}

const SEPARATOR = "\u0001";

/** One text for what a row says. No venue holds control characters. */
export function meaning(
  venue: string,
  uuid: string,
  micros: bigint,
  createdOn: string,
  euros: string,
): string {
  return [venue, uuid, micros, createdOn, euros].join(SEPARATOR);
}

const STAGING = "warehouse.staging_1";
const MOST_ROWS = 64 * 1024;

/** `database`: one with a warehouse in it, which stays empty. */
export function openProduct(database: Database): Product {
  const rules = new Map<World, LineRules>();
  const offsets = new Map<World, Map<number, number | null>>();
  const chunks = createChunks(MOST_ROWS);
  const inZone = <T>({ timeZone }: World, work: (tx: Transaction) => Promise<T>) =>
    withTransaction({ database, opening: [`set local timezone = ${pg.escapeLiteral(timeZone)}`] }, work);
  return {
    rulesOf: async (world) => {
      const made =
        rules.get(world) ?? (await inZone(world, (tx) => rulesFor(tx, { closedPeriods: null, ...world })));
      rules.set(world, made);
      return made;
    },
    readRows: (world, layout, { pieces, otherwise }) =>
      inZone(world, async (tx) => {
        const settings: Settings = {
          timeZone: world.timeZone,
          granularity: "month",
          earliest: world.earliest,
          dayStarts: world.dayStarts,
        };
        const createdOn = createdOnSql(sql.raw("datetime_created"), settings);
        const maps = createKeyMaps(settings);
        const known = offsets.get(world) ?? maps.offsets;
        offsets.set(world, known);
        return {
          stored: await readBack(tx, layout, { pieces, createdOn }),
          otherwise:
            otherwise.length === 0 ? [] : await readBack(tx, layout, { pieces: otherwise, createdOn }),
          direct: await readDirectly(tx, layout, pieces, { chunks, maps: { ...maps, offsets: known } }),
        };
      }),
  };
}

/** What PostgreSQL has of the rows once they are in staging. */
async function readBack(
  tx: Transaction,
  layout: CopyLayout,
  { pieces, createdOn }: { readonly pieces: readonly (Buffer | string)[]; readonly createdOn: SQL },
): Promise<readonly string[]> {
  await tx.client.query(`truncate ${STAGING}`);
  await copyAll(tx, copyStatement(STAGING, layout), pieces);
  // As one text: a row for each would take longer than all else.
  const { rows } = await tx.db.execute<{ all: string | null }>(sql`
    select string_agg(concat_ws(E'\\x01', venue_id, invoice_id,
                                (extract(epoch from datetime_created) * 1000000)::bigint,
                                ${createdOn}, total), E'\\n' order by ctid) as all
    from ${sql.raw(STAGING)}`);
  return rows[0]?.all?.split("\n") ?? [];
}

async function readDirectly(
  tx: Transaction,
  layout: CopyLayout,
  pieces: readonly Buffer[],
  { chunks, maps }: { readonly chunks: Chunks; readonly maps: KeyMaps },
): Promise<readonly (string | undefined)[]> {
  const found: (string | undefined)[] = [];
  for (const rows of pieces) {
    for (let from = 0; from < rows.length; ) {
      const chunk = chunks();
      const odd: number[] = [];
      const onOdd = () => odd.push(chunk.lines);
      from = fillChunk({ chunk, texts: maps.texts, layout, rows, from, onOdd });
      await findOffsets(maps, tx, chunk);
      // As if all venues had a key.
      while (maps.venueKeys.length < maps.venues.ids.length) maps.venueKeys.push(1);
      resolveKeys(maps, chunk, null);
      let next = 0;
      for (let line = 0; line <= chunk.lines; line++) {
        for (; odd[next] === line; next++) found.push(undefined);
        if (line < chunk.lines) found.push(directMeaning(chunk, maps.venues.ids, line));
      }
    }
  }
  return found;
}

function directMeaning(chunk: Chunk, venues: readonly string[], line: number): string | undefined {
  if (chunk.taken[line] !== 1) return undefined;
  const hex = chunk.invoice.toString("hex", line * 16, line * 16 + 16);
  const uuid = hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
  const micros = BigInt(chunk.instant[line] ?? 0) * 1_000_000n + BigInt(chunk.micros[line] ?? 0);
  const venue = venues[chunk.venue[line] ?? 0] ?? "";
  return meaning(venue, uuid, micros, toDate(chunk.day[line] ?? 0), writeCents(chunk.cents[line] ?? 0));
}
