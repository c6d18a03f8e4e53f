import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { gunzipSync } from "node:zlib";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { type GenerateOptions, generateDrops, type Manifest, readManifest, run } from "./generate.ts";
import { PAGE_BYTES } from "./generator/drop_lines.ts";
import { BAD_REASONS } from "./generator/odd_lines.ts";
import { readDrops, replayDrops } from "./generator/testing.ts";
import { explainErrors } from "./program/terminal.ts";

let folder: string;
let made = 0;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "rollbook-generate-"));
});

afterAll(async () => {
  await rm(folder, { recursive: true });
});

type Given = Partial<Omit<GenerateOptions, "out">>;

async function generate(given: Given): Promise<{ readonly out: string; readonly manifest: Manifest }> {
  made += 1;
  const out = join(folder, String(made));
  return { out, manifest: await generateDrops({ seed: 1, rows: 1000, ...given, out }) };
}

/** Compares what the manifests say with what a naive reading of all the drops finds. */
async function expectTruth(...outs: readonly string[]): Promise<void> {
  const last = outs.at(-1) as string;
  const manifests = await Promise.all(outs.map(readManifest));
  const manifest = manifests.at(-1) as Manifest;
  const files = manifests.flatMap(({ files }) => files);
  const drops = (await Promise.all(outs.map(readDrops))).flat();
  const replay = replayDrops(drops);
  expect(drops.map((drop) => drop.name)).toEqual(files.map((file) => file.name));
  expect(replay.rows).toEqual(files.map((file) => file.rows));
  expect(replay.rejects).toEqual(files.map((file) => file.rejects));
  expect(replay.late).toEqual(files.map((file) => file.late));
  const totalsCsv = await readFile(join(last, "totals.csv"), "utf8");
  expect(totalsCsv).toBe(replay.totalsCsv);
  expect(manifest.totals).toEqual({
    invoices: replay.invoices,
    total: replay.total,
    groups: replay.totalsCsv.split("\n").length - 2,
    sha256: createHash("sha256").update(totalsCsv).digest("hex"),
  });
}

const share = (most: number) => fc.oneof(fc.constant(0), fc.double({ min: 0, max: most, noNaN: true }));

const anyOptions: fc.Arbitrary<Given> = fc.record({
  seed: fc.maxSafeNat(),
  rows: fc.oneof(fc.integer({ min: 1, max: 30 }), fc.integer({ min: 1, max: 600 })),
  days: fc.integer({ min: 1, max: 14 }),
  venues: fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 30 })),
  newVenues: share(0.9),
  weekly: fc.boolean(),
  season: fc.boolean(),
  hours: fc.boolean(),
  late: fc.oneof(fc.constant(1), share(1)),
  lateDays: fc.oneof(fc.constant(2), fc.integer({ min: 2, max: 400 })),
  lateSpread: fc.constantFrom("tail", "even"),
  corrections: share(0.4),
  resent: share(0.2),
  duplicates: share(0.2),
  bad: share(0.1),
  odd: share(1),
  refunds: share(1),
  order: fc.constantFrom("shuffled", "sorted"),
  gzip: fc.boolean(),
});

test("the manifest says what a naive reading of the drops finds, whatever the options", async () => {
  await fc.assert(
    fc.asyncProperty(anyOptions, async (given) => {
      const { out, manifest } = await generate(given);
      await expectTruth(out);
      expect(manifest.files.reduce((sum, file) => sum + file.rows.read, 0)).toBe(given.rows);
    }),
    { numRuns: 200 },
  );
});

test("drops that come after others correct them, and their totals go on", async () => {
  await fc.assert(
    fc.asyncProperty(anyOptions, anyOptions, async (first, second) => {
      const history = await generate(first);
      const { venues: _, newVenues: __, ...batchOptions } = second;
      const batch = await generate({ ...batchOptions, after: history.out });
      await expectTruth(history.out, batch.out);
      const third = await generate({ seed: 3, rows: 50, days: 2, corrections: 0.3, after: batch.out });
      await expectTruth(history.out, batch.out, third.out);
    }),
    { numRuns: 40 },
  );
});

test("ten rows in one drop or many, and drops of more than a page, agree with their manifest", async () => {
  await expectTruth((await generate({ rows: 10, days: 1 })).out);
  await expectTruth((await generate({ rows: 10, days: 30 })).out);
  const large = await generate({ rows: 32_000, days: 2, corrections: 0.05, odd: 0.05 });
  expect(large.manifest.files[1]?.bytes).toBeGreaterThan(PAGE_BYTES);
  await expectTruth(large.out);
});

test("an invoice corrected again and again ends with its newest total", async () => {
  const { out, manifest } = await generate({
    rows: 400,
    days: 40,
    corrections: 0.6,
    resent: 0.25,
    venues: 3,
  });
  await expectTruth(out);
  const corrected = manifest.files.reduce((sum, file) => sum + file.rows.corrected, 0);
  expect(corrected).toBeGreaterThan(manifest.totals.invoices);
});

test("the same seed and options give the same bytes, another seed others", async () => {
  for (const order of ["shuffled", "sorted"] as const) {
    const given: Given = { rows: 20_000, days: 9, odd: 0.1, bad: 0.01, order };
    const [one, two, other] = [
      await generate(given),
      await generate(given),
      await generate({ ...given, seed: 2 }),
    ];
    expect(two.manifest).toEqual(one.manifest);
    for (const name of await readdir(one.out)) {
      const same = (await readFile(join(two.out, name))).equals(await readFile(join(one.out, name)));
      expect([name, same]).toEqual([name, true]);
    }
    for (const [k, file] of one.manifest.files.entries()) {
      expect(other.manifest.files[k]?.sha256).not.toBe(file.sha256);
    }
  }
});

test("the bytes of version 2 are the same on every machine", async () => {
  const { manifest } = await generate({
    seed: 2026,
    rows: 5000,
    days: 5,
    corrections: 0.1,
    odd: 0.05,
    bad: 0.01,
  });
  const hash = createHash("sha256").update(manifest.files.map((file) => file.sha256).join());
  // A change here makes manifests and committed benchmark figures incomparable: raise the version.
  expect([manifest.version, hash.digest("hex"), manifest.totals.total]).toEqual([
    2,
    "9a10e7f8226ee3388e955d2b0c435fbaf4f10a55a85c5386eba8635ad742294c",
    "109663.64",
  ]);
});

test("the files' sizes and hashes are those of the manifest; nothing else is in the folder", async () => {
  for (const gzip of [false, true]) {
    const { out, manifest } = await generate({ rows: 3000, days: 3, gzip });
    const dates = manifest.files.map((file) => file.syncedOn);
    expect(dates).toEqual(["2026-09-28", "2026-09-29", "2026-09-30"]);
    for (const file of manifest.files) {
      const bytes = await readFile(join(out, file.name));
      expect(bytes.length).toBe(file.bytes);
      expect(createHash("sha256").update(bytes).digest("hex")).toBe(file.sha256);
    }
    const expected = [...manifest.files.map((file) => file.name), "manifest.json", "totals.csv"];
    expect((await readdir(out)).sort()).toEqual(expected.sort());
    expect(await readManifest(out)).toEqual(manifest);
  }
});

test("zipped drops hold the bytes of the plain ones", async () => {
  const given: Given = { rows: 40_000, days: 2 };
  const [plain, zipped] = [await generate(given), await generate({ ...given, gzip: true })];
  for (const file of plain.manifest.files) {
    const unzipped = gunzipSync(await readFile(join(zipped.out, `${file.name}.gz`)));
    expect(unzipped.equals(await readFile(join(plain.out, file.name)))).toBe(true);
  }
});

test("sync dates are spread evenly from the first to the last", async () => {
  const { manifest } = await generate({ first: "2024-01-31", last: "2024-12-31", days: 4, rows: 10 });
  expect(manifest.files.map((file) => file.syncedOn)).toEqual([
    "2024-01-31",
    "2024-05-21",
    "2024-09-10",
    "2024-12-31",
  ]);
  const all = await generate({ first: "2024-02-27", last: "2024-03-02", rows: 10 });
  expect(all.manifest.files.map((file) => file.syncedOn)).toEqual([
    "2024-02-27",
    "2024-02-28",
    "2024-02-29",
    "2024-03-01",
    "2024-03-02",
  ]);
});

test("bad lines are of every kind", async () => {
  const { out, manifest } = await generate({ rows: 20_000, days: 2, bad: 0.05 });
  await expectTruth(out);
  for (const file of manifest.files)
    expect(Object.keys(file.rejects).sort()).toEqual([...BAD_REASONS].sort());
  expect(manifest.maxRejects).toBeCloseTo(0.05, 3);
});

test("order, gzip and odd forms change the lines, not what they say", async () => {
  const given: Given = { rows: 10_000, days: 5, corrections: 0.1 };
  const totals = (await generate(given)).manifest.totals;
  expect((await generate({ ...given, order: "sorted" })).manifest.totals).toEqual(totals);
  expect((await generate({ ...given, odd: 0.5, gzip: true })).manifest.totals).toEqual(totals);
});

test("a folder with drops is left alone, unless they are to be replaced", async () => {
  const { out } = await generate({ rows: 100, days: 9 });
  await writeFile(join(out, "notes.txt"), "mine");
  await expect(generateDrops({ out, seed: 1, rows: 100 })).rejects.toThrow(/holds generated drops already/);
  await generateDrops({ out, seed: 1, rows: 100, days: 1, overwrite: true });
  expect(await readdir(out)).toEqual(["invoices_2026-09-30.csv", "manifest.json", "notes.txt", "totals.csv"]);
});

test("options that make no sense are named, all at once", async () => {
  const wrong = generate({ rows: 0, late: 1.5, first: "2000-03-01", corrections: 0.5, resent: 0.5 });
  await expect(wrong).rejects.toThrow(
    /rows must .*; late must .*; .*together must not pass 0.9; .*2000-01-01/,
  );
  await expect(generate({ last: "2026-02-30" })).rejects.toThrow(/"2026-02-30" is not a date/);
  await expect(generate({ first: "2099-12-01", days: 40 })).rejects.toThrow(
    /2100-01-09 lies after 2099-12-31/,
  );
  await expect(generate({ days: 1e9 })).rejects.toThrow(/days must be from 1 to 36500/);
  await expect(generate({ first: "2026-01-05", last: "2026-01-01" })).rejects.toThrow(
    /lies before the first/,
  );
  await expect(generate({ first: "2026-01-01", last: "2026-01-05", days: 6 })).rejects.toThrow(/do not fit/);
  const history = await generate({ rows: 10 });
  await expect(generate({ after: history.out, venues: 5 })).rejects.toThrow(/leave out venues/);
  await expect(generate({ after: history.out, last: "2026-09-30" })).rejects.toThrow(
    /must come after 2026-09-30/,
  );
  await expect(generate({ after: folder })).rejects.toThrow(/holds no generated drops/);
});

/** Runs the command in this process. */
async function command(...argv: readonly string[]) {
  const said = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) {
    vi.spyOn(process[name], "write").mockImplementation((text) => {
      said[name] += text;
      return true;
    });
  }
  try {
    return { code: await explainErrors(() => run(argv)), ...said };
  } finally {
    vi.restoreAllMocks();
  }
}

test("the program writes drops and says how many", async () => {
  const out = join(folder, "command");
  const argv = ["--out", out, "--rows", "1k", "--days", "3", "--gzip", "--no-weekly", "--late", ".5"];
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [
    "--import",
    "tsx",
    "bench/generate.ts",
    ...argv,
  ]);
  expect(stderr).toBe("");
  expect(stdout).toMatch(/^3 drops, 1000 lines, /);
  const given = { rows: 1000, weekly: false, gzip: true, late: 0.5 };
  expect((await readManifest(out)).recipes[0]).toMatchObject(given);
  await expectTruth(out);
});

test("the command helps, and what it cannot read ends with 2", async () => {
  const help = await command("--help");
  expect(help.code).toBe(0);
  expect(help.stdout).toContain("npm run generate -- --out history --rows 10M --days 365");

  const { out } = await generate({ rows: 10 });
  for (const [argv, says] of [
    [["--rows", "10"], "--out"],
    [["--out", out, "--rows", "ten"], "whole number"],
    [["--out", out, "--rows", "10", "--lates", "0.1"], "--late"],
    [["--out", out, "--rows", "10", "--late", "1.1"], "share from 0 to 1"],
    [["--out", out, "--rows", "10"], "holds generated drops already"],
    [["--out", out, "--rows", "10", "extra"], "too many arguments"],
  ] as const) {
    const failed = await command(...argv);
    expect(failed.stderr).toContain(says);
    expect(failed).toMatchObject({ code: 2, stdout: "" });
  }
});
