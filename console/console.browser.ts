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

interface Around extends Omit<LookOptions, "browser"> {
  readonly most?: number;
  /** Whether one load is enough of all loads, and so on; default false. */
  readonly oneOfAKind?: boolean;
}

/** Looks at the start and at all that it leads to. */
async function lookAround(
  start: string,
  { most = MOST, oneOfAKind = false, ...options }: Around,
): Promise<ReadonlyMap<string, Seen>> {
  const { origin } = new URL(start);
  const seen = new Map<string, Seen>();
  const kinds = new Set<string>();
  const waiting = [start];
  for (let url = waiting.shift(); url !== undefined && seen.size < most; url = waiting.shift()) {
    if (seen.has(url) || !url.startsWith(origin) || /^\/api\/|\.csv$/.test(new URL(url).pathname)) continue;
    const kind = new URL(url).pathname.replace(/\/(\d+|[0-9a-f-]{36})(?=\/|$)/g, "/:");
    if (oneOfAKind && kinds.has(kind)) continue;
    kinds.add(kind);
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

async function openFilled() {
  const warehouse = await createTestDatabase({ roles: true, timeZone: "Europe/Berlin" });
  await fillWarehouse(warehouse, { folder: makeFolder() });
  return openSite(await loginAs(warehouse, "reader"));
}

test.each(SCREENS)("at $width pixels, $colorScheme, a page of each kind is good", async (screen) => {
  const site = await openFilled();
  const seen = await lookAround(site.url, { ...screen, oneOfAKind: true });
  expectGood(seen, screen.width);
  const paths = [...seen.keys()].map((url) => new URL(url).pathname);
  for (const { path } of PAGES)
    expect(paths).toContainEqual(expect.stringMatching(new RegExp(`^${path.replace(/:[^/]+/g, "[^/]+")}$`)));
  expect(site.problems).toEqual([]);
});

test("every link leads to a page", async () => {
  const site = await openFilled();
  expectGood(await lookAround(site.url, { width: 1280, colorScheme: "light", axe: false }), 1280);
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
