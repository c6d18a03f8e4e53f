import { createStatement, draftTotal, type Invoices, type Statement } from "./invoice.ts";
import { HEADER, type LineStyle, LONGEST_LINE, type Page, writeCanonical } from "./line.ts";
import { type BadReason, writeBad, writeOdd } from "./odd_lines.ts";
import { duplicatedContent, duplicateOf, type FilePlan } from "./plan.ts";
import { mix32 } from "./random.ts";
import { createStatementFinder, invoiceOfStatement } from "./rounds.ts";

/** What the lines of a drop are made from. */
export interface DropOptions {
  readonly file: FilePlan;
  readonly invoices: Invoices;
  readonly style: LineStyle;
  /** Called once per line whose statement counts; the object is used again. */
  readonly onStatement: (statement: Statement) => void;
  /** Called once per bad line. */
  readonly onBad: (reason: BadReason) => void;
  /** Buffers of `PAGE_BYTES` to work in. Default: new ones. */
  readonly buffers?: readonly [Buffer, Buffer];
}

export const PAGE_BYTES = 1 << 20;

/**
 * The bytes of one drop, uncompressed, in pieces of about 1 MiB. Two buffers take turns: a piece stays as it
 * is until the next but one is asked for, so that one can be written while the next is filled.
 */
export function* dropPages(options: DropOptions): Generator<Buffer> {
  const [bytes, spare] = options.buffers ?? [Buffer.allocUnsafe(PAGE_BYTES), Buffer.allocUnsafe(PAGE_BYTES)];
  const page: Page = { bytes, at: 0 };
  let other = spare;
  page.at = page.bytes.write(HEADER, "latin1");
  const writer = createLineWriter(options, page);
  const { file } = options;
  const writeNext =
    file.recipe.order === "sorted" ? sortedLines(options, writer) : shuffledLines(options, writer);
  for (let position = 0; position < file.lines; position += 1) {
    if (page.at > PAGE_BYTES - LONGEST_LINE) {
      yield page.bytes.subarray(0, page.at);
      [page.bytes, other, page.at] = [other, page.bytes, 0];
    }
    writeNext(position);
  }
  yield page.bytes.subarray(0, page.at);
}

/** Writes the line at a position; positions come in order. */
type WriteLine = (position: number) => void;

interface LineWriter {
  good(statement: Statement, cents: number, position: number): void;
  bad(number: number): void;
}

function createLineWriter({ file, invoices, style, onBad }: DropOptions, page: Page): LineWriter {
  const oddBelow = file.recipe.odd * 2 ** 32;
  const oddKey = mix32(file.key + 5);
  const badKey = mix32(file.key + 6);
  const scratch = createStatement();
  return {
    good: (statement, cents, position) => {
      const random = mix32(oddKey + position);
      if (random < oddBelow) writeOdd(page, style, statement, cents, mix32(random));
      else writeCanonical(page, style, statement, cents);
    },
    bad: (number) => {
      const random = mix32(badKey + number);
      // Made from a good row of the same file, which stands in the file itself as well.
      invoices.state(file, random % file.valid, scratch);
      onBad(writeBad(page, style, scratch, mix32(random + 1)));
    },
  };
}

function shuffledLines({ file, invoices, onStatement }: DropOptions, writer: LineWriter): WriteLine {
  const { shuffle, valid, duplicates } = file;
  const statement = createStatement();
  return (position) => {
    const content = shuffle.at(position);
    if (content < valid) {
      invoices.state(file, content, statement);
      onStatement(statement);
      const twin = duplicateOf(file, content);
      const first = twin >= 0 && position < shuffle.positionOf(valid + twin);
      writer.good(statement, first ? draftTotal(statement) : statement.stated, position);
    } else if (content < valid + duplicates) {
      const twin = duplicatedContent(file, content - valid);
      invoices.state(file, twin, statement);
      const first = position < shuffle.positionOf(twin);
      writer.good(statement, first ? draftTotal(statement) : statement.stated, position);
    } else {
      writer.bad(content - valid - duplicates);
    }
  };
}

/** Statements in the order of their creation, which is the order of their numbers within one source. */
interface Run {
  readonly head: Statement;
  /** The content number of the head, to tell whether it has a duplicate. */
  content: number;
  /** Second since 1970-01-01 of the head, Infinity at the end. */
  instant: number;
  advance(): void;
}

/**
 * Merges the new invoices with one run per repeat. The invoices of a repeat are put in order of creation
 * first, which takes 4 bytes for each corrected or re-sent line of the file; nothing else here grows with it.
 */
function sortedLines({ file, invoices, onStatement }: DropOptions, writer: LineWriter): WriteLine {
  const runs = [createRun(file.fresh, (k) => k, file, invoices)];
  let offset = file.fresh;
  for (const repeat of file.repeats) {
    const { source, start, count } = repeat;
    const numbers = new Uint32Array(count);
    for (let k = 0; k < count; k += 1) numbers[k] = invoiceOfStatement(source, start + k);
    numbers.sort();
    const statementOf = createStatementFinder(source, start);
    const base = offset;
    runs.push(createRun(count, (k) => base + statementOf(numbers[k] as number) - start, file, invoices));
    offset += count;
  }
  let pending: Run | undefined;
  return (position) => {
    if (isBadPosition(file, position)) {
      writer.bad(badBefore(file, position));
      return;
    }
    if (pending !== undefined) {
      writer.good(pending.head, pending.head.stated, position);
      pending.advance();
      pending = undefined;
      return;
    }
    const run = earliest(runs);
    onStatement(run.head);
    if (duplicateOf(file, run.content) >= 0) {
      writer.good(run.head, draftTotal(run.head), position);
      pending = run;
    } else {
      writer.good(run.head, run.head.stated, position);
      run.advance();
    }
  };
}

function createRun(count: number, contentAt: (k: number) => number, file: FilePlan, invoices: Invoices): Run {
  let k = -1;
  const run: Run = {
    head: createStatement(),
    content: 0,
    instant: 0,
    advance: () => {
      k += 1;
      if (k >= count) {
        run.instant = Infinity;
        return;
      }
      run.content = contentAt(k);
      invoices.state(file, run.content, run.head);
      run.instant = run.head.day * 86_400 + run.head.second;
    },
  };
  run.advance();
  return run;
}

function earliest(runs: readonly Run[]): Run {
  let first = runs[0] as Run;
  for (let k = 1; k < runs.length; k += 1) {
    const run = runs[k] as Run;
    if (run.instant < first.instant) first = run;
  }
  return first;
}

/** Bad lines have no creation time to go by: they are spread evenly over the file. */
function badBefore(file: FilePlan, position: number): number {
  return Math.floor((position * file.bad) / file.lines);
}

function isBadPosition(file: FilePlan, position: number): boolean {
  return badBefore(file, position + 1) > badBefore(file, position);
}
