import { expect, test } from "vitest";
import { createTestDatabase } from "../../../db/testing/database.ts";
import { makeFolder } from "../../../db/testing/folder.ts";
import { hostileDrops, runLimits } from "./limits.ts";

test("hostile drops end by a named limit or line by line, in little memory", {
  timeout: 900_000,
}, async () => {
  const { environment } = await createTestDatabase();
  const folder = makeFolder();
  const drops = hostileDrops({ small: true });
  const names: string[] = [];
  for await (const { name, faults, peakMb, message } of runLimits({ drops, folder, environment })) {
    console.log(`${name}: ${peakMb} MB${message === undefined ? "" : `, ${message}`}`);
    expect(faults, name).toEqual([]);
    names.push(name);
  }
  expect(names).toEqual(drops.map(({ name }) => name));
});
