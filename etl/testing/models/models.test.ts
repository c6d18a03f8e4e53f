import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

test("the models import each other, zlib and SHA-1, and nothing of the product", () => {
  const folder = import.meta.dirname;
  const names = readdirSync(folder).filter((name) => !name.endsWith(".test.ts"));
  const imported = names.flatMap((name) =>
    [...readFileSync(join(folder, name), "utf8").matchAll(/\b(?:from\s+|import\s*\(?\s*)"([^"]+)"/g)].map(
      ([, from]) => from ?? "",
    ),
  );
  expect(imported.length).toBeGreaterThan(0);
  expect(imported.filter((from) => !/^(?:\.\/[a-z]+\.ts|node:zlib|node:crypto)$/.test(from))).toEqual([]);
});
