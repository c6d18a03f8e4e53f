/** Totals, a total and an invoice in a real browser: in `npm run test:all`. */
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { launchChromium } from "../db/testing/chromium.ts";
import { createTestDatabase } from "../db/testing/database.ts";
import { makeFolder } from "../db/testing/folder.ts";
import { loginAs } from "../db/testing/roles.ts";
import { loadDrop } from "../etl/load/load.ts";
import { invoiceId, writeDrop } from "../etl/testing/lines.ts";
import { MARKUP } from "./testing/fill.ts";
import { linesBelow } from "./testing/lines.ts";
import { type LookOptions, look } from "./testing/look.ts";
import { openSite } from "./testing/site.ts";

let browser: Browser;
beforeAll(async () => {
  browser = await launchChromium();
});
afterAll(() => browser?.close());

const VENUES = ["bar", "<script>alert(1)</script>", "../../etc/passwd", "=1+1", ...MARKUP];

/** Venues whose ids attack the page, and a correction of one of them. */
async function openTotals() {
  const warehouse = await createTestDatabase({ roles: true, timeZone: "Europe/Berlin" });
  const inbox = makeFolder();
  const line = (venue: string, index: number, total: string) =>
    `"${venue.replaceAll('"', '""')}",${invoiceId(index)},2026-0${1 + (index % 3)}-05,${total}`;
  const load = (name: string, lines: readonly string[]) =>
    loadDrop({ ...warehouse, path: writeDrop(inbox, name, lines) });
  await load(
    "first_2026-04-01.csv",
    VENUES.map((venue, index) => line(venue, index, `${index - 2}.50`)),
  );
  await load(
    "<b class=hacked> 2026-04-02.csv",
    VENUES.map((venue, index) => line(venue, index, "7.25")),
  );
  return openSite(await loginAs(warehouse, "reader"), { readLines: linesBelow(inbox) });
}

const RANGE = "from=2026-01-01&to=2027-01-01";

async function expectGood(paths: readonly string[], screen: Omit<LookOptions, "browser">): Promise<void> {
  const site = await openTotals();
  const findings: string[] = [];
  for (const path of paths) {
    const page = await look(new URL(path, site.url).href, { browser, ...screen });
    findings.push(
      ...(page.status === 200 ? [] : [`${path}: ${page.status}`]),
      ...[...page.complaints, ...page.foreign, ...page.barriers].map((text) => `${path}: ${text}`),
      ...page.tooWide.map((text) => `${path}: too wide: ${text}`),
      ...(page.documentWidth <= screen.width ? [] : [`${path}: ${page.documentWidth} pixels`]),
      ...(page.hacked === 0 ? [] : [`${path}: ${page.hacked} elements of hostile names`]),
    );
  }
  expect(findings).toEqual([]);
  expect(site.problems).toEqual([]);
}

/** What is made of the invoice of a venue, and the invoice itself. */
function pathsOf(venue: string, index: number): readonly string[] {
  const month = `2026-0${1 + (index % 3)}`;
  const named = `venue=${encodeURIComponent(venue)}`;
  return [
    `/totals/explain?${named}&from=${month}-05&to=${month}-06`,
    `/totals/invoices/${invoiceId(index)}?${named}&date=${month}-05`,
  ];
}

test.each([
  { width: 390, colorScheme: "dark" },
  { width: 1280, colorScheme: "light" },
  { width: 390, colorScheme: "light" },
  { width: 1280, colorScheme: "dark" },
] as const)("at $width pixels, $colorScheme, each page is good", async (screen) => {
  const paths = [
    `/totals?by=venue,day&${RANGE}`,
    `/totals?by=venue&knownOn=2026-04-01&${RANGE}`,
    `/totals/explain?${RANGE}`,
    ...pathsOf(VENUES.at(-1) ?? "", VENUES.length - 1),
  ];
  await expectGood(paths, screen);
});

test("hostile venues are text on every page", async () => {
  const paths = [
    ...["venue,day", "venue,month", "venue", "day", "month"].map((by) => `/totals?by=${by}&${RANGE}`),
    ...VENUES.flatMap(pathsOf),
  ];
  // What axe-core has to say of these names it says of others.
  await expectGood(paths, { width: 390, colorScheme: "light", axe: false });
});

/** What has the focus, and whether that is seen. A button in a date field has a ring by the browser. */
const FOCUS = `(() => {
  const element = document.activeElement;
  const isSeen = getComputedStyle(element).outlineStyle !== "none" || !element.matches(":focus");
  return { text: element.textContent, isSeen };
})()`;

test("the keyboard alone leads from the total of a year to the line of a file in five steps, and one sees where it is", async () => {
  const site = await openTotals();
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  try {
    const page = await context.newPage();
    await page.goto(new URL("/totals?from=2026-01-01&to=2027-01-01", site.url).href);
    for (const text of ["Which loads made all of this", "2026-01", "2026-01-05", "bar", invoiceId(0)]) {
      for (let tabs = 0; ; tabs += 1) {
        expect({ text, tabs }).toEqual({ text, tabs: expect.toSatisfy((number: number) => number < 60) });
        await page.keyboard.press("Tab");
        const focus = await page.evaluate<{ readonly text: string; readonly isSeen: boolean }>(FOCUS);
        if (tabs === 0) expect(focus.text).toBe("Skip to the content");
        expect(focus).toEqual({ ...focus, isSeen: true });
        if (focus.text === text) break;
      }
      await Promise.all([page.waitForNavigation(), page.keyboard.press("Enter")]);
    }
    expect(await page.textContent("pre")).toBe(`"bar",${invoiceId(0)},2026-01-05,7.25`);
  } finally {
    await context.close();
  }
});
