/** What is known while a history goes on. */
import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { readDrop } from "../../../etl/testing/models/format.ts";
import type { World } from "../../../etl/testing/models/line.ts";
import type { SaidLine, WarehouseModel } from "../../../etl/testing/models/warehouse.ts";
import { Difference } from "./compare.ts";
import { dateOf, isVoidLine, knowsVoid, nameOf, writeContent } from "./content.ts";
import type { Tally } from "./figures.ts";
import type { Act, Content, Drop, History } from "./history.ts";
import type { DropFile, FaultyEnd, Stage } from "./jobs.ts";
import type { ObservedClosing, ObservedLoad, OpenRejects } from "./observe.ts";

/** A drop that a history loads: its file, and what it says. */
export interface KnownDrop {
  readonly file: DropFile;
  readonly content: Content;
  readonly syncedOn: string;
}

/** What is known while a history goes on. */
export interface Life {
  readonly stage: Stage;
  readonly tally: Tally;
  readonly model: WarehouseModel;
  readonly drops: readonly KnownDrop[];
  /** Each content, and its unpacked text, by the SHA-256 of its file. */
  readonly texts: ReadonlyMap<string, { readonly content: Content; readonly text: Buffer }>;
  readonly timeZone: History["timeZone"];
  /** Partitions that are out of the live tables. */
  readonly closed: Map<string, "detached" | "dropped">;
  /** The entries of the ledger that are in the model, in its order. */
  ledger: readonly ObservedLoad[];
  /** Rejected lines that nobody has decided on. */
  open: readonly OpenRejects[];
  closings: readonly ObservedClosing[];
  /** Whether lines of closed periods are refused. */
  refusesClosed: boolean;
}

export interface Move {
  readonly act: "detach" | "attach" | "drop";
  readonly partition: string;
}

/** What a step moves, and which contents it may let replace a load. */
export interface Meanwhile {
  readonly move: Move | undefined;
  /** SHA-256 of their files. */
  readonly replacing: ReadonlySet<string>;
}

/** What may make acts fail, in this step. */
export interface Disturbance {
  readonly crashed: boolean;
  /** The disk is full: a session that starts may not be able to note what it has looked up. */
  readonly full: boolean;
  readonly failing: boolean;
  readonly raising: boolean;
  readonly moving: boolean;
  /** Another session locks tables that new partitions are attached to. */
  readonly locking: boolean;
  /** Periods are being closed. */
  readonly closing: boolean;
  /** Several acts decide about rejected lines, or undo loads. */
  readonly deciding: boolean;
}

export interface LoadAct {
  readonly act: Act & { do: "load" | "command" };
  readonly drop: KnownDrop;
  /** The load that it was to replace. */
  readonly replaces: number | undefined;
  readonly done: FaultyEnd;
}

export interface RetryAct {
  /** The load whose lines were to be read again. */
  readonly root: number;
  readonly done: FaultyEnd;
}

export interface UndoAct {
  /** The entry that was to be undone. */
  readonly target: number;
  readonly done: FaultyEnd;
}

export function readDrops({ contents, drops, timeZone }: History): Pick<Life, "drops" | "texts"> {
  const texts = new Map<string, { readonly content: Content; readonly text: Buffer }>();
  const remember = (content: Content): Buffer => {
    const { file, text } = writeContent(content, timeZone);
    texts.set(hashOf(file), { content, text });
    return file;
  };
  const made = drops.map((drop: Drop): KnownDrop => {
    const content = contents[drop.content % contents.length];
    if (content === undefined) throw new Error("a history without contents");
    const file = {
      name: nameOf(drop, content),
      bytes: remember(content),
      changed: remember(changedContent(content)),
    };
    return { file, content, syncedOn: dateOf(drop.syncDay) };
  });
  return { drops: made, texts };
}

/** The lines of a content as the format model reads them; undefined of a hash that no content has. */
export function readLines(
  { texts, timeZone, stage }: Life,
  drop: {
    readonly sha256: string | null;
    readonly syncedOn: string;
    readonly closed?: World["closed"];
    readonly closedPeriods?: World["closed"];
    /** A retry reads a decimal comma, and may know void lines. */
    readonly isRetry?: boolean;
  },
): readonly SaidLine[] | undefined {
  const { sha256, syncedOn, closed = [], closedPeriods = [], isRetry = false } = drop;
  const found = texts.get(sha256 ?? "");
  if (found === undefined) return undefined;
  const { content, text } = found;
  const { earliest } = stage.warehouse.settings;
  const given = { timeZone, dayStarts: "00:00", earliest, syncedOn, syncSlack: 0, closed, closedPeriods };
  const read = (decimalComma: boolean) => readDrop(text, { ...given, decimalComma }).lines;
  const lines = read(isRetry);
  if (!knowsVoid(content, isRetry)) return lines;
  // The total of a void line is not read, so a comma in it does no harm. The header is the first line.
  const withComma = read(true);
  return lines.map((line, at) => {
    const isVoid = isVoidLine(content.lines[line.number - 2]);
    return isVoid ? { ...(withComma[at] ?? line), isVoid } : line;
  });
}

export function hashOf(bytes: Buffer): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Another content of the same kind, so that the file is a drop all the same. */
function changedContent(content: Content): Content {
  const line = {
    venue: 0,
    invoice: 0,
    day: -3,
    second: 43_200,
    cents: 100,
    comma: false,
    isVoid: false,
    form: 0,
  };
  return { ...content, lines: [line, ...content.lines.slice(1)] };
}

/** After a crash of the server connections of the pool may be broken still. */
export async function persist<T>(work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await work();
    } catch (error) {
      if (attempt === 6 || error instanceof Difference) throw error;
      await sleep(100);
    }
  }
}
