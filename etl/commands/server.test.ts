import { rmSync } from "node:fs";
import { expect, onTestFinished, test } from "vitest";
import { createTestDatabase } from "../../db/testing/database.ts";
import { makeFolder } from "../../db/testing/folder.ts";
import { makeServerHome } from "../../db/testing/home.ts";
import { until } from "../../db/testing/own_server.ts";
import { jsonLines, rollbook, rollbookHere, startRollbook } from "../testing/cli.ts";
import { invoiceId, writeDrop } from "../testing/lines.ts";

test("the embedded server stays up until it is interrupted, and its URL works", async () => {
  const home = makeServerHome();
  onTestFinished(() => rmSync(home, { recursive: true, force: true }));
  const folder = makeFolder();
  writeDrop(folder, "a_2026-01-05.csv", [`v1,${invoiceId(1)},2026-01-01,1.50`]);
  const environment = { ROLLBOOK_HOME: home };
  const missing = await rollbook(["server"], { environment, folder });
  expect(missing).toMatchObject({ code: 2, stdout: "" });
  expect(missing.stderr).toContain("Run: rollbook init");
  expect((await rollbook(["load", "a_2026-01-05.csv"], { environment, folder })).code).toBe(0);

  const { child, ended } = startRollbook(["server", "--json"], { environment, folder });
  onTestFinished(() => {
    child.kill("SIGKILL");
  });
  let shown = "";
  child.stdout.on("data", (text) => {
    shown += text;
  });
  await until("the server says where it is", () => shown.endsWith("\n"));
  const [address] = jsonLines(shown);
  expect(address).toMatchObject({ kind: "embedded", port: 5432, user: "rollbook", database: "rollbook" });
  const asked = await rollbookHere(["totals", "--by", "venue", "--json"], {
    environment: { DATABASE_URL: String(address?.url) },
    folder,
  });
  expect(jsonLines(asked.stdout), asked.stderr).toEqual([{ venue_id: "v1", invoices: 1, total: "1.50" }]);
  child.kill("SIGINT");
  const { code, stderr } = await ended;
  // On a busy machine it says that the server starts.
  expect([code, stderr]).toEqual([130, expect.not.stringMatching(/rolled back|interrupted|ended/)]);
});

test("of a server of one's own the address is printed, without the password, and nothing is started", async () => {
  const warehouse = await createTestDatabase();
  const environment = { ...warehouse.environment, PGPASSWORD: "do-not-show-me" };
  const { code, stdout, stderr } = await rollbookHere(["server"], { environment, folder: makeFolder() });
  expect([code, stderr]).toEqual([0, ""]);
  expect(stdout).toMatch(/^There is nothing to start: the warehouse is on a server of your own\.\nhost {6}/);
  expect(stdout).toMatch(/\npsql {6}psql 'postgresql:/);
  expect(stdout).not.toContain("do-not-show-me");
});
