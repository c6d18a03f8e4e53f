/** A page that is open while something happens, in a real browser: in `npm run test:all`. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { launchChromium } from "../db/testing/chromium.ts";
import { createTestDatabase } from "../db/testing/database.ts";
import { makeFolder } from "../db/testing/folder.ts";
import { loginAs } from "../db/testing/roles.ts";
import { loadDrop } from "../etl/load/load.ts";
import { invoiceId, writeDrop } from "../etl/testing/lines.ts";
import type { ConsoleOptions } from "./server.ts";
import { openSite } from "./testing/site.ts";

let browser: Browser;
beforeAll(async () => {
  browser = await launchChromium();
});
afterAll(() => browser?.close());

/** A page of a warehouse with one load that rejected a line, and what makes another load. */
async function openPage(path: string, { passwordFile }: Pick<ConsoleOptions, "passwordFile"> = {}) {
  const warehouse = await createTestDatabase({ roles: true });
  const folder = makeFolder();
  let number = 0;
  const load = () => {
    number += 1;
    const lines = [`bar,${invoiceId(number)},2026-10-04,1.00`, `bar,bad ${number},2026-10-04,1.00`];
    return loadDrop({
      ...warehouse,
      path: writeDrop(folder, `file ${number} 2026-10-05.csv`, lines),
      maxRejects: 1,
    });
  };
  await load();
  const site = await openSite(await loginAs(warehouse, "reader"), { lookEveryMs: 100, passwordFile });
  const httpCredentials = { username: "ann", password: "secret" };
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, httpCredentials });
  onTestFinished(() => context.close());
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on("console", (message) => complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  onTestFinished(() => expect(complaints).toEqual([]));
  await page.goto(new URL(path, site.url).href);
  return { page, load };
}

const status = (page: Page) => page.textContent("#live");

test.each(["/", "/loads", "/quarantine"])("%s shows a load that is made while it is open", async (path) => {
  const { page, load } = await openPage(path);
  await page.evaluate("window.isSamePage = true");
  expect(await page.textContent("main")).not.toContain("file 2");
  await load();
  await page.locator("main", { hasText: "file 2" }).waitFor();
  expect(await page.evaluate("window.isSamePage")).toBe(true);
  expect(await status(page)).toBe("Brought up to date.");
  expect(await page.locator("#content").count()).toBe(1);
});

test.each([
  ["a field is being typed in", (page: Page) => page.fill('input[name="file"]', "fil")],
  ["a link has the focus", (page: Page) => page.focus('main a[href^="/loads/"]')],
  [
    "text is selected",
    (page: Page) => page.evaluate("getSelection().selectAllChildren(document.querySelector('h1'))"),
  ],
] as const)("where %s the page stays, and a link offers what is new", async (_, use) => {
  const { page, load } = await openPage("/loads");
  await use(page);
  await load();
  await page.locator("#live:not(:empty)").waitFor();
  expect(await status(page)).toBe("Something has changed. Show it");
  expect(await page.textContent("main")).not.toContain("file 2");
  await page.click("#live a");
  await page.locator("main", { hasText: "file 2" }).waitFor();
});

test("who is in the menu stays there while the page is brought up to date", async () => {
  const { page, load } = await openPage("/loads");
  await page.focus('nav a[href="/quarantine"]');
  await load();
  await page.locator("main", { hasText: "file 2" }).waitFor();
  expect(await page.evaluate("document.activeElement.textContent")).toBe("Quarantine");
});

test("who has said a password is told, too", async () => {
  const passwordFile = join(makeFolder(), "passwords");
  writeFileSync(passwordFile, "ann:secret\n", { mode: 0o600 });
  const { page, load } = await openPage("/loads", { passwordFile });
  await load();
  await page.locator("main", { hasText: "file 2" }).waitFor();
  expect(await status(page)).toBe("Brought up to date.");
});

test("what is opened stays open", async () => {
  const { page, load } = await openPage("/quarantine");
  await page.click("summary");
  await page.evaluate("document.activeElement.blur()");
  await load();
  await page.locator("#live:not(:empty)").waitFor();
  expect(await page.locator("details[open]").count()).toBe(1);
  expect(await page.textContent("main")).not.toContain("file 2");
});

test("a tab that is not seen listens to nothing, and catches up when it is", async () => {
  const { page, load } = await openPage("/loads");
  const hide = (hidden: boolean) =>
    page.evaluate(
      `Object.defineProperty(document, "hidden", { value: ${hidden}, configurable: true }); document.dispatchEvent(new Event("visibilitychange"))`,
    );
  await hide(true);
  await load();
  await page.waitForTimeout(3000);
  expect(await page.textContent("main")).not.toContain("file 2");
  await hide(false);
  await page.locator("main", { hasText: "file 2" }).waitFor();
});
