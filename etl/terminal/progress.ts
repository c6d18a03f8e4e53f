/** Progress on stderr: a bar on a terminal, a line now and then in a log. */
import Progress from "cli-progress";
import type { Streams } from "../output.ts";
import { formatDuration } from "./format.ts";
import { USUAL_WIDTH, widthOf } from "./width.ts";

/** What is going on, the most important first: where there is no room for all, the last are left out. Asked again as time passes. */
export type Description = () => readonly string[];

export interface ProgressBar {
  /** With a plain text, the time since the beginning is shown, too. */
  readonly update: (share: number, text: string | Description) => void;
  readonly stop: () => void;
}

/** A log gets a line of progress this often. */
const LOG_EVERY_MS = 15_000;
const LOG_CHECK_MS = 1000;

/** A progress bar on the terminal; elsewhere, in the log of a scheduler, a line now and then. */
export function openProgress(streams: Streams): ProgressBar {
  return streams.stderr.isTTY ? openBar(streams) : openLog(streams);
}

/** When each stream got its last line: a command opens a progress per drop, and small ones are done in no time. */
const writtenAt = new WeakMap<NodeJS.WriteStream, number>();

function openLog({ stderr }: Streams): ProgressBar {
  if (!writtenAt.has(stderr)) writtenAt.set(stderr, performance.now());
  let latest: (() => string) | undefined;
  const log = () => {
    const now = performance.now();
    if (latest === undefined || now - (writtenAt.get(stderr) ?? now) < LOG_EVERY_MS) return;
    writtenAt.set(stderr, now);
    stderr.write(`${latest()}\n`);
  };
  // Also while nothing changes: a merge takes minutes, and a silent log looks like a process that hangs.
  const timer = setInterval(log, LOG_CHECK_MS).unref();
  return {
    update(share, text) {
      latest = () => `${Math.round(share * 100)}% ${(typeof text === "string" ? [text] : text()).join(", ")}`;
      log();
    },
    stop: () => clearInterval(timer),
  };
}

/** As many of the parts as there is room for, the first in any case. */
export function fitParts([first = "", ...more]: readonly string[], width: number): string {
  let text = first;
  for (const part of more) {
    const longer = `${text}, ${part}`;
    if (longer.length > width) break;
    text = longer;
  }
  return text.length <= width ? text : `${text.slice(0, Math.max(width - 3, 0))}...`;
}

const STEPS = 1000;
const WIDE = 110;

function openBar({ stderr }: Streams): ProgressBar {
  const began = performance.now();
  let text: string | Description = "";
  const bar = new Progress.SingleBar({
    stream: stderr,
    format: (options, { progress }) => {
      // Asked for at each drawing: a terminal may change its size.
      const width = widthOf(stderr) ?? USUAL_WIDTH;
      const barsize = width < WIDE ? 12 : 24;
      const drawn = Progress.Format.BarFormat(progress, { ...options, barsize });
      const head = `${drawn} ${String(Math.floor(progress * 100)).padStart(2)}% `;
      const elapsed = `${formatDuration(performance.now() - began)} so far`;
      const parts = typeof text === "string" ? [text, elapsed] : text();
      return `${head}${fitParts(parts, width - head.length - 1)}`;
    },
    hideCursor: true,
    clearOnComplete: true,
    stopOnComplete: false,
    fps: 8,
  });
  let started = false;
  return {
    update(share, latest) {
      text = latest;
      const steps = Math.round(share * STEPS);
      if (started) bar.update(steps);
      else bar.start(STEPS, steps);
      started = true;
    },
    stop() {
      if (started) bar.stop();
    },
  };
}
