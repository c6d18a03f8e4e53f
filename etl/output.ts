/** How commands speak: tables or JSON lines on stdout, progress and messages on stderr. */
import Progress from "cli-progress";
import Table from "cli-table3";
import { printable, toJson } from "./escape.ts";

export { printable, printableLines } from "./escape.ts";

export interface Streams {
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
  /** After it aborts nothing more is written to stdout. */
  readonly signal?: AbortSignal;
  /** Whether the command goes on when stdout takes nothing any more; if not, a write that fails ends it. */
  readonly worksUnseen?: () => boolean;
}

/**
 * Writes text to stdout and waits until the system has it. So memory stays constant however slow the reader is, and one piece is under way at
 * most: a process that is killed leaves whole lines behind (pipes take up to 4 kB whole or not at all; after a signal the end waits for more).
 */
export async function write(streams: Streams, text: string): Promise<void> {
  streams.signal?.throwIfAborted();
  const error = await new Promise((resolve) => streams.stdout.write(text, resolve));
  if (error instanceof Error && !streams.worksUnseen?.()) throw error;
}

/** One JSON object as one line. */
export function writeJson(streams: Streams, value: unknown): Promise<void> {
  return write(streams, `${toJson(value)}\n`);
}

export function writeLine(streams: Streams, text: string): Promise<void> {
  return write(streams, `${text}\n`);
}

/** A message beside the output. */
export function note(streams: Streams, text: string): void {
  streams.stderr.write(`${text}\n`);
}

export interface Column {
  readonly title: string;
  readonly align?: "left" | "right";
}

/** A plain table: a header, a line, rows. */
export function formatTable(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const table = new Table({
    head: columns.map((column) => column.title),
    colAligns: columns.map((column) => column.align ?? "left"),
    style: { head: [], border: [], "padding-left": 0, "padding-right": 2 },
    chars: {
      top: "",
      "top-mid": "",
      "top-left": "",
      "top-right": "",
      bottom: "",
      "bottom-mid": "",
      "bottom-left": "",
      "bottom-right": "",
      left: "",
      "left-mid": "",
      mid: "",
      "mid-mid": "",
      right: "",
      "right-mid": "",
      middle: "",
    },
  });
  table.push(...rows.map((row) => row.map(printable)));
  return table
    .toString()
    .split("\n")
    .map((line) => line.trimEnd())
    .join("\n");
}

/** Numbers as people read them: 1234567 as 1,234,567. */
export function formatCount(value: number): string {
  return value.toLocaleString("en-US");
}

/** `1 line`, `1,234 lines`. */
export function countOf(count: number, noun: string): string {
  return `${formatCount(count)} ${noun}${count === 1 ? "" : "s"}`;
}

/** Euros as people read them: 1234567.8 as 1,234,567.80. Text to text: no float ever holds money. */
export function formatEuros(total: string): string {
  const [whole = "", cents = ""] = total.split(".");
  return `${whole.replace(/\B(?=(\d{3})+$)/g, ",")}.${cents.padEnd(2, "0")}`;
}

/** 123456789 as 123.5 MB. */
export function formatBytes(bytes: number): string {
  if (bytes < 1e6) return `${(bytes / 1e3).toFixed(1)} kB`;
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`;
}

/** An instant to the second; the fraction is for programs. */
export function formatInstant(iso: string | null): string {
  return iso === null ? "" : iso.replace("T", " ").replace(/\.\d+/, "");
}

/** A text for a table cell, without its middle if it is long. */
export function shorten(text: string, length = 60): string {
  const characters = [...text];
  if (characters.length <= length) return text;
  const end = Math.floor(length / 3);
  return `${characters.slice(0, length - end - 3).join("")}...${characters.slice(-end).join("")}`;
}

/** 1500 as 1.5 s, 90000 as 1:30 min. */
export function formatDuration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(Math.floor(ms / 100) / 10).toFixed(1)} s`;
  const minutes = Math.floor(ms / 60_000);
  return `${minutes}:${String(Math.floor((ms % 60_000) / 1000)).padStart(2, "0")} min`;
}

export interface ProgressBar {
  readonly update: (share: number, text: string) => void;
  readonly stop: () => void;
}

/** A log gets a line of progress this often. */
const LOG_EVERY_MS = 15_000;
const LOG_CHECK_MS = 1000;

/** A progress bar on the terminal; elsewhere, in the log of a scheduler, a line now and then. */
export function openProgress(streams: Streams): ProgressBar {
  return streams.stderr.isTTY ? openBar(streams) : openLog(streams);
}

/** When each stream was last told something: a command opens a progress per drop, and small ones are done in no time. */
const toldAt = new WeakMap<NodeJS.WriteStream, number>();

function openLog({ stderr }: Streams): ProgressBar {
  if (!toldAt.has(stderr)) toldAt.set(stderr, performance.now());
  let latest: string | undefined;
  const tell = () => {
    const now = performance.now();
    if (latest === undefined || now - (toldAt.get(stderr) ?? now) < LOG_EVERY_MS) return;
    toldAt.set(stderr, now);
    stderr.write(`${latest}\n`);
  };
  // Also while nothing new is to be said: a merge takes minutes, and a silent log looks like a process that hangs.
  const timer = setInterval(tell, LOG_CHECK_MS).unref();
  return {
    update(share, text) {
      latest = `${Math.round(share * 100)}% ${text}`;
      tell();
    },
    stop: () => clearInterval(timer),
  };
}

function openBar(streams: Streams): ProgressBar {
  const bar = new Progress.SingleBar({
    stream: streams.stderr,
    format: "{bar} {percentage}% {text}, {duration_formatted}",
    barsize: 24,
    hideCursor: true,
    clearOnComplete: true,
    stopOnComplete: false,
    fps: 8,
  });
  let started = false;
  return {
    update(share, text) {
      if (!started) bar.start(1000, 0, { text });
      started = true;
      bar.update(Math.round(share * 1000), { text });
    },
    stop() {
      if (started) bar.stop();
    },
  };
}
