/** Random histories of loads that are undone: what they are made of, and the files of their drops. */
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { GRANULARITIES, type Granularity } from "../../../db/schema.ts";
import { makeFolder } from "../../../db/testing/folder.ts";
import { STRATEGIES } from "../../refresh/strategy.ts";
import type { FileSource } from "../../sources/source.ts";
import { invoiceId } from "../../testing/lines.ts";
import { type ReadLine, readDrop } from "../../testing/models/format.ts";
import { euros } from "../../testing/models/money.ts";
import type { SaidLine } from "../../testing/models/warehouse.ts";

/** One in so many. */
const seldom = <T>(of: number, usual: T, arbitrary: fc.Arbitrary<T>) =>
  fc.oneof({ weight: of - 1, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary });

/** Few invoices, dates and totals, so that loads meet, confirm each other, and totals come back. */
const anyLine = fc.record({
  invoice: fc.nat(9),
  /** It has another venue or date than most statements of this invoice. */
  moved: seldom(10, 0, fc.nat(2)),
  second: seldom(5, 0, fc.constant(1)),
  cents: fc.nat(2),
  /** A total with a decimal comma is refused at first, and read by a retry. */
  comma: seldom(6, false, fc.constant(true)),
  /** Where its drop is read by a source that knows void lines: whether it is one. */
  isVoid: seldom(4, false, fc.constant(true)),
});
type Line = typeof anyLine extends fc.Arbitrary<infer T> ? T : never;

const anyDrop = fc.record({
  content: fc.nat(5),
  syncDay: fc.integer({ min: 3, max: 6 }),
  /** All other invoices of its venues and dates are absent. */
  isSnapshot: seldom(3, false, fc.constant(true)),
  /** From when on a source reads it that knows void lines. */
  knowsVoid: fc.constantFrom("never" as const, "never" as const, "by a retry" as const, "at first" as const),
});

const anyAct = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.record({ do: fc.constant("load" as const), drop: fc.nat(7), careful: fc.boolean() }),
  },
  { weight: 6, arbitrary: fc.record({ do: fc.constant("undo" as const), load: fc.nat(9) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("take back" as const), undo: fc.nat(9) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant("replace" as const),
      drop: fc.nat(7),
      load: fc.nat(9),
      /** Not one reject is allowed. */
      strict: fc.boolean(),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("retry" as const), load: fc.nat(9) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("take out" as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("prune" as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant("refresh" as const), strategy: fc.constantFrom(...STRATEGIES) }),
  },
);
export type Act = typeof anyAct extends fc.Arbitrary<infer T> ? T : never;

export const anyHistory = fc.noBias(
  fc.record({
    granularity: fc.constantFrom(...GRANULARITIES),
    contents: fc.array(fc.array(anyLine, { minLength: 1, maxLength: 12 }), { minLength: 1, maxLength: 6 }),
    drops: fc.array(anyDrop, { minLength: 2, maxLength: 8 }),
    acts: fc.array(anyAct, { minLength: 4, maxLength: 20 }),
  }),
);

export interface History {
  readonly granularity: Granularity;
  readonly contents: readonly (readonly Line[])[];
  readonly drops: readonly (typeof anyDrop extends fc.Arbitrary<infer T> ? T : never)[];
  readonly acts: readonly Act[];
}

export interface Drop {
  readonly path: string;
  readonly syncedOn: string;
  readonly isSnapshot: boolean;
  /** What reads it at first, and by a retry; undefined: it is read as a file of the drop format. */
  readonly source: FileSource | undefined;
  readonly sourceOfRetry: FileSource | undefined;
  /** As it is read at first, and by a retry. */
  readonly lines: readonly SaidLine[];
  readonly linesOfRetry: readonly SaidLine[];
}

const DATES = ["2026-02-27", "2026-03-01", "2026-03-02"] as const;
const HEADER = "venue_id;invoice_id;datetime_created;total;state";

function formatLine({ invoice, moved, second, cents, comma, isVoid }: Line): string {
  const venue = `venue-${(invoice + (moved === 1 ? 1 : 0)) % 2}`;
  const date = DATES[(invoice + (moved === 2 ? 1 : 0)) % 3];
  const total = euros(100 * (cents + 1));
  const cells = [
    venue,
    invoiceId(invoice),
    `${date}T12:00:0${second}`,
    comma ? total.replace(".", ",") : total,
  ];
  return [...cells, isVoid ? "void" : "paid"].join(";");
}

/** Reads the same as the drop format, and knows void lines. */
const KNOWS_VOID: FileSource = {
  name: "till",
  sha256: createHash("sha256").update("till").digest(),
  form: {
    skip: 0,
    header: true,
    delimiter: ";",
    venueId: { column: "venue_id" },
    invoiceId: { column: "invoice_id" },
    created: { columns: ["datetime_created"] },
    total: { columns: ["total"] },
    conditions: [{ column: "state", values: ["void"], effect: "void" }],
    sumRows: false,
  },
};

/** Two drops with the same content and sync date are one. */
export function writeDrops({ contents, drops }: History): readonly Drop[] {
  const folder = makeFolder();
  return drops.map(({ content, syncDay, isSnapshot, knowsVoid }, index) => {
    const syncedOn = `2026-03-0${syncDay}`;
    const made = contents[content % contents.length] ?? [];
    const path = join(folder, `drop${index}_${syncedOn}.csv`);
    writeFileSync(path, [HEADER, ...made.map(formatLine), ""].join("\n"));
    const world = { timeZone: "UTC", dayStarts: "00:00", earliest: "2000-01-01", syncedOn } as const;
    const read = (decimalComma: boolean) =>
      readDrop(readFileSync(path), { ...world, syncSlack: 0, closed: [], decimalComma }).lines;
    const linesOfRetry = read(true);
    // The total of a void line is not read, so a comma in it does no harm.
    const withVoid = (lines: readonly ReadLine[], isKnown: boolean) =>
      lines.map((line, at): SaidLine => {
        const isVoid = isKnown && made[at]?.isVoid === true;
        return isVoid ? { ...(linesOfRetry[at] ?? line), isVoid } : line;
      });
    const [atFirst, later] = [knowsVoid === "at first", knowsVoid !== "never"];
    return {
      path,
      syncedOn,
      isSnapshot,
      source: atFirst ? KNOWS_VOID : undefined,
      sourceOfRetry: later ? KNOWS_VOID : undefined,
      lines: withVoid(read(false), atFirst),
      linesOfRetry: withVoid(linesOfRetry, later),
    };
  });
}

export function isTaken({ decision }: ReadLine): boolean {
  return decision.kind === "taken";
}

/** The lines that a retry reads: those that were refused. A later line of the drop with the same key counts. */
export function retriedLines({ lines, linesOfRetry }: Drop): readonly SaidLine[] {
  const refused = new Set(lines.filter((line) => !isTaken(line)).map(({ number }) => number));
  const keyOf = ({ decision }: ReadLine) =>
    decision.kind === "taken"
      ? `${decision.invoice.createdOn} ${decision.invoice.venue} ${decision.invoice.uuid}`
      : "";
  const lastOf = new Map(linesOfRetry.map((line) => [keyOf(line), line.number]));
  return linesOfRetry
    .filter(({ number }) => refused.has(number))
    .map((line) => ({ ...line, isOverridden: lastOf.get(keyOf(line)) !== line.number }));
}
