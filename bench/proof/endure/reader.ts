/** A process that reads the reports on demand, and checks what it reads. */
import type pg from "pg";
import { type Database, openDatabase, withTransaction } from "../../../db/client.ts";
import { createRandom } from "../../generator/choices.ts";
import { answerOrders } from "../../program/asked_process.ts";
import { READS, type ReadContext, type ReaderMemory, type ReadKind, readers } from "./reads.ts";

export type Order =
  | {
      readonly kind: "connect";
      readonly connection: pg.ClientConfig;
      readonly seed: number;
      readonly venues: readonly string[];
    }
  | ({ readonly kind: "read" } & Pick<ReadContext, "today" | "floor">)
  | { readonly kind: "leave" };

export type Answer = { readonly kind: "connected" | "left" } | ReadDone;

export interface ReadDone {
  readonly kind: "read";
  readonly read: ReadKind;
  readonly ms: number;
  readonly problems: readonly string[];
  readonly residentBytes: number;
}

/** The heavy read comes once in so many; the others take turns. */
const HEAVY_EVERY = 25;

interface Opened {
  readonly database: Database;
  readonly memory: ReaderMemory;
  readonly below: (limit: number) => number;
  readonly venues: readonly string[];
  reads: number;
}

let opened: Opened | undefined;

// A terminal's Ctrl-C reaches this process too, and it is the one that asks who decides when to stop.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => {});
answerOrders(carryOut);

async function carryOut(order: Order): Promise<Answer> {
  if (order.kind === "connect") {
    opened = {
      database: openDatabase({ connection: order.connection, max: 1 }),
      memory: { months: new Map(), invoices: 0, moments: [] },
      below: createRandom(order.seed, 50).below,
      venues: order.venues,
      reads: 0,
    };
    return { kind: "connected" };
  }
  if (opened === undefined) throw new Error("not connected yet");
  if (order.kind === "read") return read(opened, order);
  await opened.database.pool.end();
  opened = undefined;
  return { kind: "left" };
}

async function read(
  reader: Opened,
  { today, floor }: Pick<ReadContext, "today" | "floor">,
): Promise<ReadDone> {
  const { database, memory, below, venues } = reader;
  const [light, heavy] = [READS.slice(0, -1), READS.at(-1)];
  reader.reads += 1;
  const kind = (reader.reads % HEAVY_EVERY === 0 ? heavy : light[reader.reads % light.length]) as ReadKind;
  const { ms, problems } = await withTransaction(
    { database, isolation: "repeatable read", opening: ["set transaction read only"] },
    (tx) =>
      readers[kind]({
        tx,
        today,
        floor,
        memory,
        below,
        venue: () => venues[below(venues.length)] as string,
      }),
  );
  return { kind: "read", read: kind, ms, problems, residentBytes: process.memoryUsage.rss() };
}
