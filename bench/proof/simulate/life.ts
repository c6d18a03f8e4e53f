/** What is known while a history goes on. */
import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { DropFile, LoadEnd, Stage } from "./acts.ts";
import { Difference } from "./compare.ts";
import { dateOf, type LineTruth, nameOf, readContent, writeContent } from "./drop.ts";
import type { Tally } from "./figures.ts";
import type { Act, Content, Drop, History } from "./history.ts";
import type { Model } from "./model.ts";

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
  readonly model: Model;
  readonly drops: readonly KnownDrop[];
  /** What each content says, by the SHA-256 of its bytes. */
  readonly known: Map<string, readonly LineTruth[]>;
  readonly timeZone: string;
  /** Partitions that are out of the live tables. */
  readonly closed: Map<string, "detached" | "dropped">;
  /** `known_at` of the loads in the model, in its order. */
  knownAt: string[];
}

export interface Move {
  readonly act: "detach" | "attach" | "drop";
  readonly partition: string;
}

/** What may make acts fail, in this step. */
export interface Disturbance {
  readonly crashed: boolean;
  readonly failing: boolean;
  readonly raising: boolean;
  readonly moving: boolean;
  /** Another session locks tables that new partitions are attached to. */
  readonly locking: boolean;
}

export interface LoadAct {
  readonly act: Act & { do: "load" | "command" };
  readonly drop: KnownDrop;
  readonly done: LoadEnd;
}

export function readDrops({ contents, drops, timeZone }: History): Pick<Life, "drops" | "known"> {
  const known = new Map<string, readonly LineTruth[]>();
  const remember = (content: Content): Buffer => {
    const bytes = writeContent(content, timeZone);
    known.set(hashOf(bytes), readContent(content, timeZone));
    return bytes;
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
  return { drops: made, known };
}

export function hashOf(bytes: Buffer): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Another content of the same kind, so that the file is a drop all the same. */
function changedContent(content: Content): Content {
  const line = { venue: 0, invoice: 0, day: -3, second: 43_200, cents: 100, form: 0 };
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
