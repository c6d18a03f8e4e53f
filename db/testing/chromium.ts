import { existsSync } from "node:fs";
import { type Browser, chromium } from "playwright-core";

const PATHS = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

const ARGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** Starts the browser of this machine: `ROLLBOOK_CHROMIUM`, else where packages put it. */
export async function launchChromium(): Promise<Browser> {
  const wanted = process.env.ROLLBOOK_CHROMIUM;
  const executablePath = wanted ?? PATHS.find((path) => existsSync(path));
  if (executablePath === undefined || !existsSync(executablePath)) {
    const where = wanted === undefined ? `none of ${PATHS.join(", ")}` : `no ${wanted} (ROLLBOOK_CHROMIUM)`;
    throw new Error(`no Chromium here, ${where}: apt-get install chromium, or set ROLLBOOK_CHROMIUM`);
  }
  return await chromium.launch({ executablePath, args: ARGS });
}
