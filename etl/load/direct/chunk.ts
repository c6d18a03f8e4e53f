/**
 * Lines of a drop by column, as the direct way keeps them in memory: numbers and bytes, without an object for
 * each line.
 */
import { COLUMNS, type Column, ROW } from "../../drop/row.ts";
import type { LoadTask } from "../task.ts";

/** Lines that are sorted and written at a time, at most. Some 70 bytes of memory each, twice. */
export const CHUNK_LINES = 256 * 1024;
export const UUID_BYTES = 16;
/** 2000-01-01, from which PostgreSQL counts microseconds. In seconds since 1970-01-01. */
export const POSTGRES_EPOCH = 946_684_800;

/** What a chunk keeps of a column of each type: an entry for each line. */
export type Cells =
  /** Index into the column's {@link Texts}. */
  | { readonly type: "text"; readonly text: Int32Array }
  /** 16 bytes for each line. */
  | { readonly type: "uuid"; readonly bytes: Buffer }
  | {
      readonly type: "timestamp with time zone";
      /** Whole seconds since 1970-01-01 on the clock that the line shows, and microseconds beyond them. */
      readonly second: Float64Array;
      readonly micros: Int32Array;
      /** 1 where the line shows the warehouse's wall clock, 0 where it shows an instant. */
      readonly wall: Uint8Array;
    }
  | { readonly type: "numeric(14,2)"; readonly cents: Float64Array };
export type CellsOf<C extends Column> = Extract<Cells, { type: (typeof ROW)[C]["type"] }>;
type AllCells = { readonly [C in Column]: CellsOf<C> };

/** The first `lines` entries of each array are in use. */
export interface Chunk {
  lines: number;
  /** The columns of a row. */
  readonly cells: AllCells;
  /** Those of them that key, date and sum are made of. */
  readonly venue: Int32Array;
  readonly invoice: Buffer;
  readonly second: Float64Array;
  readonly micros: Int32Array;
  readonly wall: Uint8Array;
  readonly cents: Float64Array;
  /** 1 for the lines that have a key (keys.ts), which is in the arrays below. */
  readonly taken: Uint8Array;
  /** Creation date, in days since 1970-01-01. */
  readonly day: Int32Array;
  readonly venueKey: Int32Array;
  /** Seconds since 1970-01-01, without the microseconds. */
  readonly instant: Float64Array;
  /** What the sort works on, two words for each line, and its result (order.ts). */
  readonly words: Uint32Array;
  readonly order: Int32Array;
}

/** The different texts of a column met so far: their bytes, one character (latin1) each, and as text. */
export interface Texts {
  readonly byBytes: Map<string, number>;
  readonly ids: string[];
}
/** Of each column; those of other types stay empty. */
export type AllTexts = Readonly<Record<Column, Texts>>;

export function createTexts(): AllTexts {
  const texts = COLUMNS.map((column): [Column, Texts] => [column, { byBytes: new Map(), ids: [] }]);
  return Object.fromEntries(texts) as Record<Column, Texts>;
}

/** Two chunks in turn, empty: while one is filled, the other may still be written. */
export type Chunks = () => Chunk;

/**
 * `lines`: of each, at most. Both are used again and again, because memory that is given up is not free at
 * once.
 */
export function createChunks(lines: number): Chunks {
  let [given, free]: [Chunk?, Chunk?] = [];
  return () => {
    [given, free] = [free ?? createChunk(lines), given];
    given.lines = 0;
    return given;
  };
}

/** A line has a venue, a UUID, a time, a total, three delimiters and its end. */
const LEAST_LINE_BYTES = 1 + 32 + 10 + 1 + 4;

/**
 * No larger than the drop may need: memory has to be cleared, which would take longer than to load a small
 * drop.
 */
export function createChunksFor({ chunkLines, bytes, gzip }: LoadTask): Chunks {
  return createChunks(gzip ? chunkLines : Math.min(chunkLines, Math.ceil(bytes / LEAST_LINE_BYTES) + 1));
}

function createChunk(lines: number): Chunk {
  const created = COLUMNS.map((column) => [column, createCells(ROW[column].type, lines)]);
  const cells = Object.fromEntries(created) as AllCells;
  const { second, micros, wall } = cells.datetime_created;
  return {
    lines: 0,
    cells,
    venue: cells.venue_id.text,
    invoice: cells.invoice_id.bytes,
    second,
    micros,
    wall,
    cents: cells.total.cents,
    taken: new Uint8Array(lines),
    day: new Int32Array(lines),
    venueKey: new Int32Array(lines),
    instant: new Float64Array(lines),
    words: new Uint32Array(2 * lines),
    order: new Int32Array(lines),
  };
}

function createCells(type: Cells["type"], lines: number): Cells {
  switch (type) {
    case "text":
      return { type, text: new Int32Array(lines) };
    case "uuid":
      return { type, bytes: Buffer.alloc(lines * UUID_BYTES) };
    case "timestamp with time zone":
      return {
        type,
        second: new Float64Array(lines),
        micros: new Int32Array(lines),
        wall: new Uint8Array(lines),
      };
    case "numeric(14,2)":
      return { type, cents: new Float64Array(lines) };
  }
}
