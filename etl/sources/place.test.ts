import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { defaultSources, findPlaces, inboxBeside, pathsOf } from "./place.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "rollbook-place-"));
});
afterAll(() => rm(folder, { recursive: true }));

test("the sources of an inbox lie beside it", () => {
  expect(defaultSources("/srv/rollbook/inbox")).toBe("/srv/rollbook/sources");
  expect(defaultSources("/srv/rollbook/inbox/")).toBe("/srv/rollbook/sources");
});

describe("a file in its inbox is known by", () => {
  test.each([
    ["its name", "/in/a.csv", ["a.csv"]],
    ["its folders", "/in/x/y/a.csv", ["x/y/a.csv"]],
    ["its folders in archive/", "/in/archive/x/a.csv", ["x/a.csv"]],
    ["its folders in rejected/", "/in/rejected/a.csv", ["a.csv"]],
    ["folders of these names elsewhere", "/in/x/archive/a.csv", ["x/archive/a.csv"]],
    ["its name without the load's number in archive/", "/in/archive/x/a.load-7.csv.gz", ["x/a.csv.gz"]],
    ["its name without the load's number in rejected/", "/in/rejected/a.load-7.2", ["a"]],
    ["its whole name in the inbox", "/in/x/a.load-7.csv", ["x/a.load-7.csv"]],
    ["a name that only begins with theirs", "/in/archived/a.csv", ["archived/a.csv"]],
    ["a name with two dots in front", "/in/..a.csv", ["..a.csv"]],
  ])("%s", (_, path, paths) => {
    expect(pathsOf({ path, inbox: "/in" })).toEqual(paths);
  });
});

test("the name that a file had in the inbox counts where somebody knows it", () => {
  const path = "/in/archive/x/a.load-7.csv";
  expect(pathsOf({ path, inbox: "/in", name: "b.load-1.csv" })).toEqual(["x/b.load-1.csv"]);
  expect(pathsOf({ path: "/in/x/a.csv", name: "b.csv" }).at(-1)).toBe("b.csv");
});

test("a file without inbox is known by its path and all ends of it", () => {
  const paths = ["/x/y/a.csv", "x/y/a.csv", "y/a.csv", "a.csv"];
  expect(pathsOf({ path: "/x/y/a.csv" })).toEqual(paths);
  expect(pathsOf({ path: "/x/y/a.csv", inbox: "/z" })).toEqual(paths);
  expect(pathsOf({ path: "/x/a.load-7.csv" }).at(-1)).toBe("a.load-7.csv");
  expect(pathsOf({ path: "/x/archive/y/a.load-7.csv" }).at(-1)).toBe("a.csv");
});

describe("the inbox of a file is the folder beside the sources", () => {
  test.each([
    ["in which it lies", "/srv/inbox/a.csv", "/srv/inbox"],
    ["below which it lies", "/srv/inbox/archive/x/a.csv", "/srv/inbox"],
    ["and not the folder of both", "/srv/a.csv", undefined],
    ["and not the sources themselves", "/srv/sources/a.csv", undefined],
    ["and none elsewhere", "/other/inbox/a.csv", undefined],
  ])("%s", (_, file, inbox) => {
    expect(inboxBeside({ file, sources: "/srv/sources" })).toBe(inbox);
  });
});

describe("the places of a file that is named by itself are", () => {
  test("as they were named", async () => {
    const named = { file: "/srv/inbox/a.csv", sources: "/s", inbox: "/i" };
    expect(await findPlaces(named)).toEqual({ sources: "/s", inbox: "/i" });
  });

  test("the sources that were named, and the inbox beside them", async () => {
    const named = { file: "/srv/inbox/x/a.csv", sources: "/srv/sources" };
    expect(await findPlaces(named)).toEqual({ sources: "/srv/sources", inbox: "/srv/inbox" });
  });

  test("the inbox that was named, and the sources beside it", async () => {
    const named = { file: "/srv/inbox/x/a.csv", inbox: "/srv/inbox/x" };
    expect(await findPlaces(named)).toEqual({ sources: "/srv/inbox/sources", inbox: "/srv/inbox/x" });
  });

  const makeSources = async (below: string) => {
    await mkdir(join(folder, below), { recursive: true });
    await writeFile(join(folder, below, "a.yaml"), "files: a");
  };

  test("the folder above it with sources beside it", async () => {
    await makeSources("one/sources");
    const places = { sources: join(folder, "one/sources"), inbox: join(folder, "one/inbox") };
    expect(await findPlaces({ file: join(folder, "one/inbox/a.csv") })).toEqual(places);
    expect(await findPlaces({ file: join(folder, "one/inbox/archive/x/a.csv") })).toEqual(places);
  });

  test("not a folder of that name without sources, nor the sources themselves", async () => {
    await mkdir(join(folder, "two/inbox/sources"), { recursive: true });
    expect(await findPlaces({ file: join(folder, "two/inbox/x/a.csv") })).toEqual({});
    await makeSources("two/sources");
    expect(await findPlaces({ file: join(folder, "two/sources/a.csv") })).toEqual({});
  });

  test("none of two: a sender may have made one of them", async () => {
    await makeSources("three/sources");
    await makeSources("three/inbox/sources");
    await expect(findPlaces({ file: join(folder, "three/inbox/x/a.csv") })).rejects.toMatchObject({
      code: "usage",
      message: expect.stringContaining("say which with --sources"),
    });
  });
});
