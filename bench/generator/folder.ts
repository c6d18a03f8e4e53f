import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { toDate } from "../../db/dates.ts";
import { errorState, RollbookError } from "../../db/errors.ts";
import { dropPages, PAGE_BYTES } from "./drop_lines.ts";
import { createInvoices, type Invoices } from "./invoice.ts";
import { createLineStyle, euros, type LineStyle } from "./line.ts";
import { MANIFEST, type Manifest, type ManifestFile, readManifest, TOTALS, VERSION } from "./manifest.ts";
import type { BadReason } from "./odd_lines.ts";
import { createRecipe, type GenerateOptions } from "./options.ts";
import { type FilePlan, type Plan, planDrops } from "./plan.ts";
import { writeFileWhole } from "./sink.ts";
import { createTruth, type Truth } from "./truth.ts";

/**
 * Writes one drop per sync day, then `totals.csv` and `manifest.json`, which say what a warehouse must show
 * after loading them. Same seed and options: same bytes. Memory does not grow with the number of rows
 * (docs/generator.md).
 *
 * Throws `usage` for options that make no sense, and when `out` holds drops and `overwrite` is not set.
 */
export async function generateDrops(options: GenerateOptions): Promise<Manifest> {
  const base = options.after === undefined ? undefined : await readManifest(options.after);
  const recipe = createRecipe(options, base?.recipes.at(-1));
  const recipes = [...(base?.recipes ?? []), recipe];
  const plan = planDrops(recipes);
  await prepareFolder(options);
  const truth = createTruth(plan);
  if (options.after !== undefined) await truth.read(join(options.after, TOTALS));

  const files = await writeDrops(options, plan, truth);
  const totals = await writeFileWhole({ path: join(options.out, TOTALS), pages: truth.pages(), gzip: false });
  const { invoices, cents, groups } = truth.summary();
  const manifest: Manifest = {
    version: VERSION,
    recipes,
    maxRejects: files.reduce((most, file) => Math.max(most, neededShare(file)), 0.01),
    files,
    totals: { invoices, total: euros(cents), groups, sha256: totals.sha256 },
  };
  const text = Buffer.from(`${JSON.stringify(manifest, null, 2)}\n`);
  await writeFileWhole({ path: join(options.out, MANIFEST), pages: [text], gzip: false });
  return manifest;
}

const GENERATED = /^(invoices_\d{4}-\d\d-\d\d\.csv(\.gz)?|manifest\.json|totals\.csv)(\.part)?$/;

async function prepareFolder(options: GenerateOptions): Promise<void> {
  const { out } = options;
  try {
    await mkdir(out, { recursive: true });
  } catch (error) {
    const state = errorState(error);
    if (state === "EEXIST" || state === "ENOTDIR") {
      throw new RollbookError({
        code: "usage",
        message: `${out} is not a folder; name another`,
        cause: error,
      });
    }
    if (state !== "EACCES" && state !== "EROFS" && state !== "EPERM") throw error;
    throw new RollbookError({
      code: "permission",
      message: `the folder ${out} may not be made here`,
      cause: error,
    });
  }
  const old = (await readdir(out)).filter((name) => GENERATED.test(name));
  if (old.length > 0 && options.overwrite !== true) {
    const message = `${out} holds generated drops already (${old[0]}); name another folder, or say overwrite`;
    throw new RollbookError({ code: "usage", message });
  }
  for (const name of old) await rm(join(out, name));
}

async function writeDrops(options: GenerateOptions, plan: Plan, truth: Truth): Promise<ManifestFile[]> {
  const invoices = createInvoices(plan);
  const style = createLineStyle(plan.venues, plan.firstCreated, plan.endCreated);
  const buffers = [Buffer.allocUnsafe(PAGE_BYTES), Buffer.allocUnsafe(PAGE_BYTES)] as const;
  const written: ManifestFile[] = [];
  let rows = 0;
  for (const file of plan.files.slice(plan.firstOwn)) {
    const before = rows;
    const onRows = (share: number) =>
      options.onProgress?.({
        rows: before + Math.round(share * file.lines),
        totalRows: file.recipe.rows,
        file: dropName(file),
      });
    written.push(await writeDrop({ out: options.out, file, invoices, style, buffers, truth, onRows }));
    rows += file.lines;
    onRows(1);
  }
  return written;
}

interface WriteDropOptions {
  readonly out: string;
  readonly file: FilePlan;
  readonly invoices: Invoices;
  readonly style: LineStyle;
  readonly buffers: readonly [Buffer, Buffer];
  readonly truth: Truth;
  readonly onRows: (share: number) => void;
}

async function writeDrop(options: WriteDropOptions): Promise<ManifestFile> {
  const { out, file, truth, onRows } = options;
  const rejects: Partial<Record<BadReason, number>> = {};
  let said = 0;
  const pages = dropPages({
    ...options,
    onStatement: (statement) => {
      said += 1;
      truth.add(statement);
    },
    onBad: (reason) => {
      rejects[reason] = (rejects[reason] ?? 0) + 1;
    },
  });
  const counted = (function* () {
    for (const page of pages) {
      yield page;
      onRows(said / Math.max(1, file.valid));
    }
  })();
  const name = dropName(file);
  const written = await writeFileWhole({ path: join(out, name), pages: counted, gzip: file.recipe.gzip });
  return {
    name,
    syncedOn: toDate(file.syncDay),
    ...written,
    rows: {
      read: file.lines,
      inserted: file.fresh,
      corrected: countRepeats(file, true),
      unchanged: countRepeats(file, false),
      superseded: file.duplicates,
      rejected: file.bad,
    },
    rejects,
    late: file.late,
  };
}

function dropName(file: FilePlan): string {
  return `invoices_${toDate(file.syncDay)}.csv${file.recipe.gzip ? ".gz" : ""}`;
}

function countRepeats(file: FilePlan, corrects: boolean): number {
  return file.repeats
    .filter((repeat) => repeat.corrects === corrects)
    .reduce((sum, repeat) => sum + repeat.count, 0);
}

/** Rounded up to four decimals, so that it can be given as it stands. */
function neededShare({ rows }: ManifestFile): number {
  return rows.read === 0 ? 0 : Math.min(1, Math.ceil((rows.rejected / rows.read) * 10_000 - 1e-9) / 10_000);
}
