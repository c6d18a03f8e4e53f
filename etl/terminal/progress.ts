/** Progress on stderr: a bar on a terminal, a line now and then in a log. */
import Progress from "cli-progress";
import type { Streams } from "../output.ts";

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
