import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { HOSTILE_TEXTS } from "../testing/hostile.ts";
import { makeSource } from "../testing/sources.ts";
import { checkGlob, fitsSource, mayReadIn } from "./glob.ts";

const fits = (glob: string, path: string) => fitsSource(makeSource({ files: [glob] }), path);

describe("a glob fits a path:", () => {
  test.each([
    ["*.csv", "a.csv"],
    ["*.csv", "a b.csv"],
    ["*.csv", "a\nb.csv"],
    ["*/*.csv", "a/b.csv"],
    ["sumup/**/*.csv", "sumup/a.csv"],
    ["sumup/**/*.csv", "sumup/x/y/a.csv"],
    ["**/*.csv", "a.csv"],
    ["**/*.csv", "x\ny/a.csv"],
    ["**", "x/y/a"],
    [".*.csv", ".a.csv"],
    [".till/*.csv", ".till/a.csv"],
    ["?.csv", "\u00e9.csv"],
    ["{a,b/c}.csv", "b/c.csv"],
    ["*.{csv,CSV}", "a.CSV"],
    ["[ab].csv", "b.csv"],
    ["[!a].csv", "b.csv"],
    ["[^a].csv", "b.csv"],
    ["[*].csv", "*.csv"],
    ["a/b.txt", "a/b.txt"],
    ["Export (1).csv", "Export (1).csv"],
    ["a|b.csv", "a|b.csv"],
    ["[ab]+.csv", "a+.csv"],
    ["!a.csv", "!a.csv"],
    ["@(a).csv", "@(a).csv"],
  ])("%j fits %j", (glob, path) => {
    expect(fits(glob, path)).toBe(true);
  });
});

describe("a glob does not fit a path:", () => {
  test.each([
    ["*.csv", "a/b.csv"],
    ["*.csv", ".a.csv"],
    ["*.csv", "a.CSV"],
    ["*.csv", "a.csv.gz"],
    ["*/*.csv", "a/b/c.csv"],
    ["a**b.csv", "a/b.csv"],
    ["a?b.csv", "a/b.csv"],
    ["**/*.csv", ".x/a.csv"],
    ["**/*.csv", "x/.a.csv"],
    ["sumup/**/*.csv", "Sumup/a.csv"],
    ["[!a].csv", "a.csv"],
    ["[!a]b.csv", "/b.csv"],
    ["!a.csv", "b.csv"],
    ["(a|b).csv", "a.csv"],
    ["a+.csv", "aa.csv"],
    ["*", ""],
  ])("%j does not fit %j", (glob, path) => {
    expect(fits(glob, path)).toBe(false);
  });
});

test("one of several globs is enough", () => {
  const source = makeSource({ files: ["a.csv", "b/*.csv"] });
  expect(["a.csv", "b/a.csv", "b.csv"].map((path) => fitsSource(source, path))).toEqual([true, true, false]);
});

describe("a text is no glob when it", () => {
  test.each([
    ["is empty", "", "is blank"],
    ["is blank", " \t", "is blank"],
    ["is long", "a".repeat(1001), "longer than 1000"],
    ["begins with a slash", "/a.csv", "is no path below"],
    ["ends with one", "a/", "is no path below"],
    ["has two in a row", "a//b", "is no path below"],
    ["leads up", "a/../b", "is no path below"],
    ["begins at the folder itself", "./a", "is no path below"],
    ["is written for Windows", "a\\*.csv", "has a backslash"],
    ["has an open bracket", "[a.csv", "is no glob"],
    ["has an open brace", "{a.csv", "is no glob"],
  ])("%s", (_, glob, said) => {
    expect(checkGlob(glob)).toContain(said);
  });
});

const literal = fc
  .string({ minLength: 1, maxLength: 12, unit: "binary" })
  .filter((name) => !/[*?[\]{}\\/]/.test(name) && name.trim() !== "" && !/^\.\.?$/.test(name));

test("a name without signs of a glob fits itself and no other name", () => {
  fc.assert(
    fc.property(literal, literal, literal, (folder, one, other) => {
      expect(checkGlob(`${folder}/${one}`)).toBeUndefined();
      expect(fits(`${folder}/${one}`, `${folder}/${one}`)).toBe(true);
      expect(fits(one, other)).toBe(one === other);
    }),
    { numRuns: 1000 },
  );
});

test("a star fits any name without a leading dot", () => {
  const names = HOSTILE_TEXTS.filter(({ file }) => file).map(({ text }) => text);
  const hidden = names.filter((name) => !fits("x/*", `x/${name}`));
  expect(hidden).toEqual(names.filter((name) => name.startsWith(".")));
  expect(names.filter((name) => !fits("**/a", `y/x${name}/a`))).toEqual([]);
});

test.each<[string, readonly string[], readonly string[]]>([
  ["*.csv", [], ["a", "a/b"]],
  ["a/*.csv", ["a"], ["b", "a/b", ".a"]],
  ["*/[0-9]*/x.csv", ["a", "a/2026"], ["a/x", "a/2026/x"]],
  ["a/**/x.csv", ["a", "a/b", "a/b/c"], ["b"]],
  ["**", ["a", "a/b"], []],
  ["{a,b}/x.csv", ["a", "b"], ["c", "a/b"]],
  ["{a/b,c}/x.csv", ["a", "a/b", "c"], []],
  ["{a,{b,c}/d}/x.csv", ["a", "b/d", "c"], []],
])("%s may read in %j and not in %j", (glob, folders, others) => {
  const sources = [makeSource({ files: ["other.csv", glob] })];
  for (const folder of folders) expect(mayReadIn(sources, folder), folder).toBe(true);
  for (const folder of others) expect(mayReadIn(sources, folder), folder).toBe(false);
});

test("whatever a glob fits may lie in the folders above it", () => {
  const part = fc.stringMatching(/^[ab*?]{1,3}$/);
  const name = fc.stringMatching(/^[ab]{1,3}$/);
  fc.assert(
    fc.property(
      fc.array(part, { minLength: 1, maxLength: 4 }),
      fc.array(name, { minLength: 1, maxLength: 4 }),
      (parts, names) => {
        const source = makeSource({ files: [parts.join("/")] });
        if (!fitsSource(source, names.join("/"))) return;
        for (let depth = 1; depth < names.length; depth += 1)
          expect(mayReadIn([source], names.slice(0, depth).join("/"))).toBe(true);
      },
    ),
  );
});

test("without sources no folder is read", () => {
  expect(mayReadIn([], "a")).toBe(false);
});
