/** A run of the fuzzer: batches of lines, then files, until all agree or one differs. */
import type { Database } from "../../../db/client.ts";
import { type Agreement, compareDrop, compareName, type Difference } from "./agree.ts";
import { makeFormed } from "./forms.ts";
import { type MadeDrop, makeFile, makeLines } from "./mutants.ts";
import { makeNames } from "./names.ts";
import { openProduct } from "./product.ts";
import { shrinkDrop } from "./shrink.ts";

export interface FuzzProgress {
  readonly lines: number;
  readonly files: number;
  readonly sources: number;
  readonly seed: number;
}

/** What a run saw. */
export interface FuzzReport {
  readonly seed: number;
  /** Lines decided in batches. */
  readonly lines: number;
  readonly files: number;
  /** Lines decided in files. */
  readonly fileLines: number;
  /** Files whose form a source gives, lines decided in them, and the lines among these that it leaves out. */
  readonly sources: number;
  readonly sourceLines: number;
  readonly skipped: number;
  /** Names of files that were read. */
  readonly names: number;
  readonly taken: number;
  readonly recognised: number;
  readonly keyed: number;
  /** Lines rejected, by reason, and files refused, by code. */
  readonly reasons: Readonly<Record<string, number>>;
  readonly refusals: Readonly<Record<string, number>>;
  readonly differences: number;
  readonly difference?: FoundDifference;
}

export interface FoundDifference extends Difference {
  readonly kind: "lines" | "file" | "source" | "names";
  /** Makes the drop again: `--from SEED`, with one line or one file or one with a form. */
  readonly seed: number;
  /** The drop as it was made, where it is not about a name. */
  readonly original?: ShownDrop;
  /** The smallest one found that shows a difference; `what`, `line` and `said` are its. */
  readonly shrunk?: ShownDrop;
}

export interface ShownDrop {
  readonly world: MadeDrop["world"];
  readonly form?: MadeDrop["form"];
  readonly isNamedGz: boolean;
  readonly cuts: readonly number[];
  readonly base64: string;
}

/**
 * Compares at least `lines` mutated lines, in batches, `files` mutated files with some names each, and `sources`
 * files whose form a source gives, made from the seeds `from`, `from + 1` and so forth, and stops at the first
 * difference.
 *
 * `database`: one with a warehouse in it, of which staging alone is used.
 */
export async function runFuzz(options: {
  readonly database: Database;
  readonly lines: number;
  readonly files: number;
  readonly sources: number;
  readonly from: number;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: FuzzProgress) => void) | undefined;
}): Promise<FuzzReport> {
  const { database, from, signal, onProgress } = options;
  const product = openProduct(database);
  const seen = {
    ...{ lines: 0, files: 0, fileLines: 0, sources: 0, sourceLines: 0, names: 0 },
    ...{ taken: 0, skipped: 0, recognised: 0, keyed: 0 },
  };
  const reasons: Record<string, number> = {};
  const refusals: Record<string, number> = {};
  const note = (agreement: Agreement) => {
    seen.taken += agreement.taken;
    seen.skipped += agreement.skipped;
    seen.recognised += agreement.recognised;
    seen.keyed += agreement.keyed;
    for (const [reason, count] of Object.entries(agreement.reasons))
      reasons[reason] = (reasons[reason] ?? 0) + count;
  };
  const noteRefusal = (code: string | undefined) => {
    if (code !== undefined) refusals[code] = (refusals[code] ?? 0) + 1;
  };
  const compare = async (kind: "lines" | "file" | "source", seed: number, drop: MadeDrop) => {
    const compared = await compareDrop(product, drop);
    if (compared.kind === "same") {
      note(compared);
      return compared;
    }
    // Who stops the run gets what was found as it is by then.
    const differs = async (tried: MadeDrop) =>
      signal?.aborted !== true && (await compareDrop(product, tried)).kind === "different";
    const shrunk = await shrinkDrop(drop, differs);
    Error.stackTraceLimit = traced;
    const last = await compareDrop(product, shrunk);
    const { what, said, line } = last.kind === "different" ? last : compared;
    throw new Found({
      kind,
      seed,
      what,
      said,
      ...(line && { line }),
      original: show(drop),
      shrunk: show(shrunk),
    });
  };
  // Each broken quote is an error of csv-parse's, and to note where it was thrown takes longer than to decide
  // the line.
  const traced = Error.stackTraceLimit;
  Error.stackTraceLimit = 0;
  const report = () => ({ seed: from, ...seen, reasons, refusals });
  try {
    for (let seed = from; seen.lines < options.lines && signal?.aborted !== true; seed++) {
      seen.lines += (await compare("lines", seed, makeLines(seed))).lines;
      onProgress?.({ ...seen, seed });
    }
    for (let seed = from; seen.files < options.files && signal?.aborted !== true; seed++) {
      for (const name of makeNames(seed)) {
        const difference = compareName(name);
        if (difference !== undefined) throw new Found({ kind: "names", seed, ...difference });
        seen.names++;
      }
      const { lines, refusal } = await compare("file", seed, makeFile(seed));
      seen.files++;
      seen.fileLines += lines;
      noteRefusal(refusal);
      onProgress?.({ ...seen, seed });
    }
    for (let seed = from; seen.sources < options.sources && signal?.aborted !== true; seed++) {
      const { lines, refusal } = await compare("source", seed, makeFormed(seed));
      seen.sources++;
      seen.sourceLines += lines;
      noteRefusal(refusal);
      onProgress?.({ ...seen, seed });
    }
    return { ...report(), differences: 0 };
  } catch (error) {
    if (!(error instanceof Found)) throw error;
    return { ...report(), differences: 1, difference: error.difference };
  } finally {
    Error.stackTraceLimit = traced;
  }
}

class Found extends Error {
  readonly difference: FoundDifference;
  constructor(difference: FoundDifference) {
    super(difference.what);
    this.difference = difference;
  }
}

function show({ world, form, isNamedGz, cuts, bytes }: MadeDrop): ShownDrop {
  return { world, ...(form && { form }), isNamedGz, cuts, base64: bytes.toString("base64") };
}
