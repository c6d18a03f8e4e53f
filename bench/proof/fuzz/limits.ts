/**
 * Drops that are hostile by their size, loaded by the real command line in a process of its own with a hard
 * limit of memory: long lines, quotes without end, gzip bombs, empty lines, wide lines and headers.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream, readFileSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { buildCommand } from "../../../build.ts";
import { limitMemory, type MemoryLimit } from "../../../etl/testing/memory_limit.ts";

/** What loading a drop must come to. */
interface Expected {
  readonly outcome: "loaded" | "rejected";
  readonly code?: string;
  readonly read?: number;
  readonly rejected?: number;
}

interface Hostile {
  readonly name: string;
  readonly gzip?: boolean;
  /** Further arguments of the load. */
  readonly args?: readonly string[];
  readonly pieces: () => Iterable<Buffer>;
  readonly expected: Expected;
  /** Memory that it may take; default {@link MEMORY}. */
  readonly memory?: MemoryLimit;
}

export interface LimitReport {
  readonly name: string;
  readonly outcome: string;
  readonly code: string | undefined;
  readonly message: string | undefined;
  readonly read: number;
  readonly rejected: number;
  readonly exitCode: number;
  /** Greatest resident memory of the loading process, in megabytes. */
  readonly peakMb: number;
  readonly seconds: number;
  /** What is not as it must be; empty when all is. */
  readonly faults: readonly string[];
}

const COMMAND = fileURLToPath(new URL("../../../dist/rollbook.js", import.meta.url));
const MB = 1e6;
/** The promise for a load of any size: etl/testing/scenarios/memory.test.ts. */
const MEMORY: MemoryLimit = { total: 256, heap: 64 };
/**
 * A line of 1 MiB that is all delimiters has a million cells, each of them a string for a while; and 128 KiB
 * of lines of one byte are 65,536 rejects.
 */
const MUCH_MEMORY: MemoryLimit = { total: 384, heap: 192 };

const GOOD = "v,a2b4c6d8-1111-4111-8111-00000000000f,2018-06-01T12:00:00Z,1.00\n";
const good = Buffer.from(GOOD);
const ALLOW_ALL = ["--max-rejects", "1"];

function* repeat(piece: Buffer, times: number): Generator<Buffer> {
  for (let left = times; left > 0; left--) yield piece;
}

/**
 * A member of gzip with `bytes` bytes of a pattern, again and again: so a bomb of any size is made in no
 * time.
 */
function* members(pattern: string, bytes: number): Generator<Buffer> {
  const size = Math.min(bytes, 100 * MB);
  yield* repeat(
    gzipSync(Buffer.alloc(Math.floor(size / pattern.length) * pattern.length, pattern)),
    bytes / size,
  );
}

/** `small`: of the same kinds, in seconds; not the ones whose limit only gigabytes reach. */
export function hostileDrops({ small }: { readonly small: boolean }): readonly Hostile[] {
  const size = (full: number, less: number) => (small ? less : full);
  const lines = size(1e9, 20 * MB);
  const times = size(100, 10);
  const wide = 1_000_000;
  const drops: readonly Hostile[] = [
    {
      name: "a line of 100 MB",
      pieces: function* () {
        yield good;
        yield* repeat(Buffer.alloc(MB, "x"), 100);
        yield good;
      },
      expected: { outcome: "rejected", code: "line_too_long", read: 1, rejected: 0 },
    },
    {
      name: "a quote without end, and 100,000 lines",
      args: ALLOW_ALL,
      pieces: function* () {
        yield Buffer.from(`"${GOOD}`);
        yield* repeat(Buffer.from(GOOD.repeat(1000)), 100);
      },
      expected: { outcome: "loaded", read: 100_001, rejected: 1 },
    },
    {
      name: `${times} lines of 1 MB that begin with a quote without end`,
      args: ALLOW_ALL,
      pieces: function* () {
        yield good;
        yield* repeat(Buffer.from(`"${'""'.repeat(500_000)}\n`), times);
      },
      expected: { outcome: "loaded", read: times + 1, rejected: times },
    },
    {
      name: `${times} times 1,000 lines, a quote without end before each 100`,
      args: ALLOW_ALL,
      pieces: function* () {
        yield good;
        yield* repeat(Buffer.from(`"${GOOD}${GOOD.repeat(99)}`.repeat(10)), times);
        yield good;
      },
      expected: { outcome: "loaded", read: 2 + 1000 * times, rejected: 10 * times },
    },
    {
      name: `${times} MB in records of 64 KiB and 100 lines`,
      pieces: function* () {
        yield Buffer.from("venue_id,invoice_id,datetime_created,total,note\n");
        const note = `${"x".repeat(500)}\n`.repeat(99);
        yield* repeat(Buffer.from(`${GOOD.trim()},"${note}"\n`), 20 * times);
      },
      expected: { outcome: "loaded", read: 20 * times, rejected: 0 },
    },
    {
      name: "19 lines of 1 MB before the first that a delimiter fits",
      args: ALLOW_ALL,
      pieces: function* () {
        yield* repeat(Buffer.from(`${"x".repeat(MB)}\n`), 19);
        yield good;
      },
      expected: { outcome: "loaded", read: 20, rejected: 19 },
    },
    {
      name: "a title and 40 million empty lines",
      pieces: function* () {
        yield Buffer.from("Umsatz\n");
        yield* repeat(Buffer.alloc(MB, "\n"), 40);
      },
      expected: { outcome: "rejected", code: "bad_header", read: 0, rejected: 0 },
    },
    {
      name: `UTF-16, ${times} MB of one character`,
      pieces: function* () {
        yield Buffer.from([0xff, 0xfe]);
        yield* repeat(Buffer.alloc(MB, "x\0"), times);
      },
      expected: { outcome: "rejected", code: "line_too_long", read: 0, rejected: 0 },
    },
    {
      name: `UTF-16, ${10 * times},000 lines`,
      pieces: function* () {
        yield Buffer.from([0xff, 0xfe]);
        yield* repeat(Buffer.from(GOOD.repeat(1000), "utf16le"), 10 * times);
      },
      expected: { outcome: "loaded", read: 10_000 * times, rejected: 0 },
    },
    {
      name: `${times} MB of CR alone`,
      pieces: () => repeat(Buffer.alloc(MB, "\r"), times),
      expected: { outcome: "rejected", code: "bad_container", read: 0, rejected: 0 },
    },
    {
      name: `gzip: zeros, ${size(10, 0.1)} GB`,
      gzip: true,
      pieces: () => members("\0", size(1e10, 100 * MB)),
      expected: { outcome: "rejected", code: "line_too_long", read: 0, rejected: 0 },
    },
    {
      name: `gzip: ${lines / MB} million empty lines`,
      gzip: true,
      pieces: () => members("\n", lines),
      expected: { outcome: "loaded", read: 0, rejected: 0 },
    },
    {
      name: `${times} lines of 1,000,000 delimiters`,
      memory: MUCH_MEMORY,
      args: ALLOW_ALL,
      pieces: function* () {
        yield good;
        yield* repeat(Buffer.from(`${",".repeat(wide)}\n`), times);
      },
      expected: { outcome: "loaded", read: times + 1, rejected: times },
    },
    {
      name: "a first line of 1,000,000 delimiters, quotes among them",
      memory: MUCH_MEMORY,
      args: ALLOW_ALL,
      pieces: () => [Buffer.from(`"""",${",".repeat(wide)}\n`), good],
      expected: { outcome: "loaded", read: 2, rejected: 1 },
    },
    {
      name: "a header of 1,000,000 names, and 5 lines as wide",
      memory: MUCH_MEMORY,
      pieces: function* () {
        const more = ",".repeat(wide);
        yield Buffer.from(`venue_id,invoice_id,datetime_created,total${more}\n`);
        yield* repeat(Buffer.from(`${GOOD.trim()}${more}\n`), 5);
      },
      expected: { outcome: "loaded", read: 5, rejected: 0 },
    },
    {
      name: "a header of 10 MB",
      pieces: () => [
        Buffer.from(`venue_id,invoice_id,datetime_created,total,${"x,".repeat(5 * MB)}\n`),
        good,
      ],
      expected: { outcome: "rejected", code: "line_too_long", read: 0, rejected: 0 },
    },
  ];
  if (small) return drops;
  return [
    ...drops,
    {
      name: "gzip: ten billion empty lines",
      gzip: true,
      pieces: () => members("\n", 1e10),
      expected: { outcome: "rejected", code: "inflates_too_far", read: 0, rejected: 0 },
    },
    {
      name: "gzip: a good line, 10 GB of it",
      gzip: true,
      pieces: () => members(GOOD, 1e10),
      expected: { outcome: "rejected", code: "inflates_too_far", rejected: 0 },
    },
    {
      name: "gzip: a billion bad lines, all of them allowed",
      memory: MUCH_MEMORY,
      gzip: true,
      args: ALLOW_ALL,
      pieces: function* () {
        yield gzipSync(good);
        yield* members("x\n", 2e9);
      },
      expected: { outcome: "rejected", code: "too_many_rejects" },
    },
  ];
}

/**
 * Loads each drop. `folder`: where they are written, one at a time. `environment`: makes a rollbook process
 * use a warehouse.
 */
export async function* runLimits(options: {
  readonly drops: readonly Hostile[];
  readonly folder: string;
  readonly environment: Readonly<Record<string, string>>;
}): AsyncGenerator<LimitReport, void, undefined> {
  await buildCommand();
  for (const [index, drop] of options.drops.entries()) {
    const path = join(options.folder, `hostile-${index}_2018-07-01.csv${drop.gzip ? ".gz" : ""}`);
    await pipeline(Readable.from(drop.pieces()), createWriteStream(path));
    yield await loadHostile(drop, path, options.environment);
  }
}

/**
 * Runs in the process that is measured: writes its peak of resident memory, in kB, when it ends. Not maxRSS
 * on Linux, because that begins with what the process had that this one was forked from.
 */
const PROBE = `data:text/javascript,${encodeURIComponent(`
  import { readFileSync, writeFileSync } from "node:fs";
  process.on("exit", () => {
    const peak = process.platform === "linux"
      ? /VmHWM:\\s*(\\d+)/.exec(readFileSync("/proc/self/status", "utf8"))[1]
      : process.resourceUsage().maxRSS;
    writeFileSync(process.env.PEAK_FILE, String(peak));
  });`)}`;

async function loadHostile(
  { name, args = [], expected, memory = MEMORY }: Hostile,
  path: string,
  environment: Readonly<Record<string, string>>,
): Promise<LimitReport> {
  const started = performance.now();
  const peakFile = `${path}.peak`;
  const [program, ...first] = limitMemory([process.execPath, "--import", PROBE, COMMAND], memory);
  const child = spawn(program, [...first, "load", path, "--no-refresh", "--json", ...args], {
    env: { PATH: process.env.PATH, PEAK_FILE: peakFile, ...environment },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [stdout, stderr, [exitCode]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, "close"),
  ]);
  const seconds = Math.round((performance.now() - started) / 1000);
  if (stdout === "") throw new Error(`${name}, with ${memory.total} MB of memory: ${stderr}`);
  const { outcome, rows, error } = JSON.parse(stdout);
  const peakMb = Math.round(Number(readFileSync(peakFile, "utf8")) / 1024);
  const found = { outcome, code: error?.code, read: rows.read, rejected: rows.rejected };
  const faults = Object.entries(expected)
    .filter(([key, value]) => found[key as keyof Expected] !== value)
    .map(([key, value]) => `${key} is ${found[key as keyof Expected]} instead of ${value}`);
  if (exitCode !== (expected.outcome === "loaded" ? 0 : 3)) faults.push(`the exit code is ${exitCode}`);
  return { name, ...found, message: error?.message, exitCode, peakMb, seconds, faults };
}
