/** Every page of the console in a real browser: in `npm run test:all`. */
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { launchChromium } from "../db/testing/chromium.ts";
import { createTestDatabase } from "../db/testing/database.ts";
import { makeFolder } from "../db/testing/folder.ts";
import { loginAs } from "../db/testing/roles.ts";
import { PAGES } from "./pages.ts";
import { fillHostile, fillWarehouse } from "./testing/fill.ts";
import { type LookOptions, look, type Seen } from "./testing/look.ts";
import { openSite } from "./testing/site.ts";

let browser: Browser;
beforeAll(async () => {
  browser = await launchChromium();
});
afterAll(() => browser?.close());

const SCREENS = [
  { width: 390, colorScheme: "light" },
  { width: 1280, colorScheme: "dark" },
  { width: 390, colorScheme: "dark" },
  { width: 1280, colorScheme: "light" },
] as const;

/** More pages than that are not followed: lists lead to lists. */
const MOST = 60;

/** Looks at the start and at all that it leads to. */
async function lookAround(
  start: string,
  { most = MOST, ...options }: Omit<LookOptions, "browser"> & { readonly most?: number },
): Promise<ReadonlyMap<string, Seen>> {
  const { origin } = new URL(start);
  const seen = new Map<string, Seen>();
  const waiting = [start];
  for (let url = waiting.shift(); url !== undefined && seen.size < most; url = waiting.shift()) {
    if (seen.has(url) || !url.startsWith(origin) || /^\/api\/|\.csv$/.test(new URL(url).pathname)) continue;
    const found = await look(url, { browser, ...options });
    seen.set(url, found);
    waiting.push(...found.links);
  }
  return seen;
}

function expectGood(seen: ReadonlyMap<string, Seen>, width: number): void {
  const findings = [...seen].flatMap(([url, page]) => [
    ...(page.status === 200 ? [] : [`${url}: ${page.status}`]),
    ...(/^\S.* · Rollbook$/.test(page.title) ? [] : [`${url}: title ${page.title}`]),
    ...page.complaints.map((text) => `${url}: ${text}`),
    ...page.foreign.map((text) => `${url}: asks ${text}`),
    ...page.barriers.map((text) => `${url}: ${text}`),
    ...page.tooWide.map((text) => `${url}: too wide: ${text}`),
    ...(page.documentWidth <= width ? [] : [`${url}: ${page.documentWidth} pixels`]),
    ...(page.hacked === 0 ? [] : [`${url}: ${page.hacked} elements of hostile names`]),
  ]);
  expect(findings).toEqual([]);
}

test.each(SCREENS)("at $width pixels, $colorScheme, every page and link is good", async (screen) => {
  const warehouse = await createTestDatabase({ roles: true, timeZone: "Europe/Berlin" });
  await fillWarehouse(warehouse, { folder: makeFolder() });
  const site = await openSite(await loginAs(warehouse, "reader"));
  const seen = await lookAround(site.url, screen);
  expectGood(seen, screen.width);
  for (const { path } of PAGES.filter((page) => !page.path.includes(":")))
    expect([...seen.keys()]).toContain(new URL(path, site.url).href);
  expect(site.problems).toEqual([]);
});

test("an empty warehouse has pages that say what to do", async () => {
  const site = await openSite(await createTestDatabase());
  expectGood(await lookAround(site.url, { width: 390, colorScheme: "light" }), 390);
});

test("hostile venues and files are text, wherever they are shown", async () => {
  const warehouse = await createTestDatabase();
  await fillHostile(warehouse, { folder: makeFolder() });
  const site = await openSite(warehouse);
  // What axe-core has to say of these names it says of others.
  const seen = await lookAround(site.url, { width: 390, colorScheme: "dark", axe: false, most: 25 });
  expectGood(seen, 390);
});
