/** For tests: what a browser makes of a page, and what it has to complain about. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import type { Browser, BrowserContextOptions } from "playwright-core";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

export interface Seen {
  readonly status: number;
  readonly title: string;
  /** What the console of the browser says, blocked styles and scripts among it. */
  readonly complaints: readonly string[];
  /** Where else the page asked. */
  readonly foreign: readonly string[];
  /** Serious and critical findings of axe-core. */
  readonly barriers: readonly string[];
  /** Addresses of this site that the page leads to. */
  readonly links: readonly string[];
  readonly documentWidth: number;
  /** Texts that stick out of the screen, outside of what scrolls. */
  readonly tooWide: readonly string[];
  /** Elements that a hostile name has made. */
  readonly hacked: number;
}

export interface LookOptions {
  readonly browser: Browser;
  readonly width: number;
  readonly colorScheme: "light" | "dark";
  readonly locale?: string;
  /** Whether axe-core looks, too; default true. */
  readonly axe?: boolean;
}

/** Opens a page. Of the page's scripts only the console's own may run; those of the test may, too. */
export async function look(url: string, options: LookOptions): Promise<Seen> {
  const { browser, width, colorScheme, locale = "en-GB", axe = true } = options;
  const settings: BrowserContextOptions = { viewport: { width, height: 900 }, colorScheme, locale };
  const context = await browser.newContext(settings);
  try {
    const page = await context.newPage();
    const complaints: string[] = [];
    const requests: string[] = [];
    page.on("console", (message) => complaints.push(message.text()));
    page.on("pageerror", (error) => complaints.push(String(error)));
    page.on("request", (request) => requests.push(request.url()));
    const response = await page.goto(url, { waitUntil: "load" });
    const probe =
      await page.evaluate<Pick<Seen, "title" | "links" | "documentWidth" | "tooWide" | "hacked">>(PROBE);
    // Set to look at the pages oneself.
    const shots = process.env.ROLLBOOK_SCREENSHOTS;
    if (shots !== undefined)
      await page.screenshot({
        path: join(shots, `${nameOf(url)}-${width}-${colorScheme}.png`),
        fullPage: true,
      });
    const { origin } = new URL(url);
    return {
      ...probe,
      status: response?.status() ?? 0,
      complaints,
      foreign: requests.filter((request) => !request.startsWith(origin)),
      barriers: axe ? await page.evaluate<string[]>(`${AXE};(${FIND_BARRIERS})()`) : [],
    };
  } finally {
    await context.close();
  }
}

function nameOf(url: string): string {
  const { pathname, search } = new URL(url);
  return `${pathname}${search}`.replace(/\W+/g, "-").replace(/^-|-$/g, "") || "overview";
}

/** Run in the page; texts, because this project's types know no DOM. */
const PROBE = `(() => {
  const width = document.documentElement.clientWidth;
  const isText = (element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim() !== "");
  const sticksOut = (element) => {
    const box = element.getBoundingClientRect();
    return box.width > 1 && box.right > width + 1 && element.closest(".scroll, .skip, .hidden, svg") === null;
  };
  return {
    title: document.title,
    links: [...new Set([...document.querySelectorAll("a[href]")].map((a) => a.href.split("#")[0]))],
    documentWidth: document.documentElement.scrollWidth,
    tooWide: [...document.querySelectorAll("body *")].filter((e) => isText(e) && sticksOut(e)).map((e) => e.textContent),
    hacked: document.querySelectorAll('.hacked, script:not([src^="/live-"])').length,
  };
})()`;

const FIND_BARRIERS = `async () => {
  const { violations } = await axe.run(document, { resultTypes: ["violations"] });
  return violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(({ id, nodes }) => id + ": " + nodes.slice(0, 3).map(({ html, failureSummary }) => html + " " + failureSummary).join(" | "));
}`;
