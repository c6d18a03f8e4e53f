/** Reads a drop into chunks, and hands each to the writer. */
import type { RowsEvent } from "../../drop/lines.ts";
import { readDrop } from "../../drop/read.ts";
import type { Reject } from "../../drop/reject.ts";
import type { CopyLayout } from "../../drop/row.ts";
import { isTooMany, sizeOfReject } from "../quarantine.ts";
import { addReject, type Reasons, startReasons, summariseReasons } from "../reasons.ts";
import { findSuspicions } from "../suspicion.ts";
import type { LoadTask } from "../task.ts";
import type { Chunk, Chunks } from "./chunk.ts";
import { addOdd, isTooOften, type OddLines } from "./odd.ts";
import { fillChunk, sizeOfTotal, sumSizes, writeLine } from "./pack.ts";
import { chunkSampleIsKnown } from "./sample.ts";
import { Surprise, Unprepared } from "./surprise.ts";
import { finishChunks, type KeyedChunk, keyChunk, type Occasion, type Writer, writeChunk } from "./write.ts";

/** Rejects are kept in memory until a chunk is written, up to so many bytes. */
const MAX_REJECT_BYTES = 1024 * 1024;
/**
 * No sample is looked up for a smaller file: to find the first conflict by writing takes less time than to
 * plan the lookup.
 */
const BYTES_WITHOUT_SAMPLE = 256 * 1024;
/**
 * When the server has nothing to do, a chunk is written before it is full, if it has this share of its lines.
 */
const EARLY_SHARE = 1 / 16;

/** Venues that are held, at most, some 300 bytes of memory each. A drop of more takes the careful way. */
const MOST_VENUES = 100_000;

/** What the reader knows of the drop. */
export interface Reader {
  readonly task: LoadTask;
  readonly writer: Writer;
  /** Empty chunks. */
  readonly chunks: Chunks;
  chunk: Chunk;
  layout: CopyLayout;
  /** Lines that went into chunks and have a key, or were not looked up yet. */
  taken: number;
  readonly odd: OddLines;
  rejected: number;
  /** Records that the source leaves out. */
  skipped: number;
  readonly reasons: Reasons;
  /** Sum of the sizes of the totals that are taken, in cents. */
  money: bigint;
  /** Rejects that were not handed to the writer yet, and their size. */
  rejects: Reject[];
  rejectBytes: number;
  /** A sample was looked up, or none is needed. */
  sampled: boolean;
  /** Whether a chunk may be written before it is full. */
  early: boolean;
}

export function createReader(task: LoadTask, writer: Writer, chunks: Chunks): Reader {
  return {
    task,
    writer,
    chunks,
    chunk: chunks(),
    layout: { delimiter: ",", columns: [] },
    taken: 0,
    odd: { rows: [], unprepared: 0 },
    rejected: 0,
    skipped: 0,
    reasons: startReasons(),
    money: 0n,
    rejects: [],
    rejectBytes: 0,
    // A survey has read the drop already.
    sampled: writer.open !== null || task.bytes <= BYTES_WITHOUT_SAMPLE,
    early: true,
  };
}

/** Lines read so far. */
export function countRead({ taken, odd, rejected }: Reader): number {
  return taken + odd.rows.length + rejected;
}

/**
 * Reads the drop to its end and writes all of its chunks. Returns the hash of the file's bytes as they were
 * read.
 */
export async function readIntoChunks(reader: Reader): Promise<Buffer> {
  const { task, writer } = reader;
  let bytes = 0;
  const onBytes = (read: number) => {
    bytes = read;
  };
  for await (const event of readDrop({ ...task, onBytes })) {
    switch (event.kind) {
      case "dialect":
        reader.layout = event.copy;
        break;
      case "rows":
        await takeRows(reader, event);
        task.stopwatch.progress({ bytes, rows: countRead(reader) });
        break;
      case "refused":
        throw new Surprise(event.code);
      case "end":
        if (isTooMany(reader.rejected, countRead(reader), task.rejectLimit))
          throw new Surprise("too many rejects");
        if (task.refuseSuspicious && (await isSuspicious(reader))) throw new Surprise("suspicious rejects");
        await handOver(reader, "last");
        await finishChunks(writer);
        return event.sha256;
    }
  }
  throw new Error("the reader ended without an end event");
}

async function isSuspicious({ task, writer, reasons, money }: Reader): Promise<boolean> {
  // The server may still be at a chunk.
  await writer.background.settle();
  const summaries = await summariseReasons(reasons, task);
  return findSuspicions(summaries, { rejected: reasons.money, taken: money }).length > 0;
}

async function takeRows(reader: Reader, event: RowsEvent): Promise<void> {
  const { copy: rows, rejects, skipped, voids } = event;
  const { task, writer, layout } = reader;
  if (voids.length > 0) throw new Surprise("a line that says that its invoice is void");
  reader.skipped += skipped;
  const { texts } = writer.maps;
  const onOdd = (row: Buffer) => {
    reader.money += sizeOfTotal(row, layout);
    addOdd(reader.odd, row, reader.taken);
  };
  for (let from = 0; from < rows.length; ) {
    if (reader.chunk.lines === reader.chunk.taken.length) {
      sampleOnce(reader);
      await handOver(reader, "full");
    }
    const { chunk } = reader;
    const before = chunk.lines;
    from = fillChunk({ chunk, texts, layout, rows, from, onOdd });
    if (texts.venue_id.ids.length > MOST_VENUES) throw new Surprise("too many venues to hold");
    reader.taken += chunk.lines - before;
    reader.money += sumSizes(chunk.cents, before, chunk.lines);
  }
  sampleOnce(reader);
  keepRejects(reader, rejects);
  const enough = reader.chunk.lines >= EARLY_SHARE * task.chunkLines;
  if (reader.early && enough && writer.background.isIdle()) await handOver(reader, "early");
}

/**
 * Has the server look up a sample of the first lines, while others are read. Without it a drop that sends
 * many invoices again would meet the first conflict in the middle.
 */
function sampleOnce(reader: Reader): void {
  if (reader.sampled) return;
  reader.sampled = true;
  const { task, writer, chunk } = reader;
  const look = async () => {
    if (await chunkSampleIsKnown(task.tx, writer.maps, chunk))
      throw new Surprise("invoices that are there already");
  };
  writer.background.begin(look());
}

function keepRejects(reader: Reader, rejects: readonly Reject[]): void {
  reader.rejected += rejects.length;
  reader.rejects.push(...rejects);
  for (const reject of rejects) {
    addReject(reader.reasons, reject);
    reader.rejectBytes += sizeOfReject(reject);
  }
  if (reader.rejectBytes > MAX_REJECT_BYTES) throw new Surprise("too many rejects to hold");
}

/**
 * Hands the chunk to the writer. When the writer cannot take it so early, it stays, and no chunk is handed
 * over early again.
 */
async function handOver(reader: Reader, occasion: Occasion): Promise<void> {
  const keyed = await keyChunk(reader.writer, reader.chunk, occasion);
  if (keyed === undefined) {
    reader.early = false;
    return;
  }
  takeOutOdd(reader, keyed);
  const { rejects } = reader;
  reader.rejects = [];
  reader.rejectBytes = 0;
  const alone = keyed.whole && reader.odd.rows.length === 0;
  await writeChunk(reader.writer, keyed, { rejects, alone });
  // The chunk before is written by now, so its memory is free.
  if (occasion !== "last") reader.chunk = reader.chunks();
}

/** Lines that got no key are odd lines. */
function takeOutOdd(reader: Reader, { chunk, missing, unprepared }: KeyedChunk): void {
  const { odd, layout, writer } = reader;
  reader.taken -= missing.length;
  odd.unprepared += unprepared;
  if (isTooOften(odd.unprepared, reader.taken))
    throw new Unprepared("too many lines without venue or partition");
  for (const line of missing) addOdd(odd, writeLine(chunk, writer.maps.texts, layout, line), reader.taken);
}
