import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { RollbookError } from "../../db/errors.ts";
import { hostileFileNames, unsafeIn } from "../testing/hostile.ts";
import { readSources } from "./read.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "rollbook-sources-"));
});
afterEach(() => rm(folder, { recursive: true }));

const write = (name: string, content: string | Buffer = "files: a") => writeFile(join(folder, name), content);

async function faultsOf(path = folder, named = true): Promise<readonly string[]> {
  const error = await readSources({ folder: path, named }).catch((one: unknown) => one);
  if (!(error instanceof RollbookError)) return [];
  expect(error.code).toBe("configuration");
  return error.message.split("\n");
}

test("the sources of a folder are sorted by name", async () => {
  for (const name of ["b.yaml", "a.b-c_1.yaml", "9.yaml", `${"x".repeat(64)}.yaml`]) await write(name);
  const sources = await readSources({ folder, named: true });
  expect(sources.map(({ name }) => name)).toEqual(["9", "a.b-c_1", "b", "x".repeat(64)]);
  expect(sources[1]?.file).toBe(join(folder, "a.b-c_1.yaml"));
});

test("other files are left alone", async () => {
  for (const name of ["README.md", ".hidden.yaml", "a.yaml.bak", "a.yaml~", "notes"]) await write(name, ":");
  await mkdir(join(folder, "examples.yaml"));
  expect(await readSources({ folder, named: true })).toEqual([]);
});

test("a symbolic link to a file is followed", async () => {
  await mkdir(join(folder, "below"));
  await write("below/a.txt");
  await symlink(join(folder, "below/a.txt"), join(folder, "b.yaml"));
  expect((await readSources({ folder, named: true })).map(({ name }) => name)).toEqual(["b"]);
});

test("a folder that is not there is an error only if it was named", async () => {
  const missing = join(folder, "missing");
  expect(await readSources({ folder: missing, named: false })).toEqual([]);
  expect(await faultsOf(missing)).toEqual([
    `${missing}: there is no such folder of sources: make it, or name another`,
  ]);
  await write("file");
  expect(await faultsOf(join(folder, "file"), false)).toEqual([
    `${folder}/file: there is no such folder of sources: make it, or name another`,
  ]);
});

describe("a file is refused that", () => {
  test("is a .yml", async () => {
    await write("a.yml");
    await write("B.YAML");
    expect(await faultsOf()).toEqual([
      `${folder}/B.YAML: the ending of a source is .yaml: rename it to B.yaml`,
      `${folder}/a.yml: the ending of a source is .yaml: rename it to a.yaml`,
    ]);
  });

  test("has 64 KiB and a byte", async () => {
    const text = Buffer.from("files: a\n#");
    await write("a.yaml", Buffer.concat([text, Buffer.alloc(64 * 1024 - text.length, "#")]));
    expect(await readSources({ folder, named: true })).toHaveLength(1);
    await write("a.yaml", Buffer.concat([text, Buffer.alloc(64 * 1024 - text.length + 1, "#")]));
    expect(await faultsOf()).toEqual([
      `${folder}/a.yaml: is larger than 64 KiB, too large for a source: shorten it`,
    ]);
  });

  test("is not UTF-8", async () => {
    await write("a.yaml", Buffer.from("files: Stra\u00dfe", "latin1"));
    expect(await faultsOf()).toEqual([`${folder}/a.yaml: is not UTF-8: save it as UTF-8`]);
  });

  test("is a pipe", async () => {
    execFileSync("mkfifo", [join(folder, "a.yaml")]);
    expect((await faultsOf())[0]).toContain(`${folder}/a.yaml: cannot be read`);
  });

  test("is a link to nothing, or to a folder", async () => {
    await symlink(join(folder, "nothing"), join(folder, "a.yaml"));
    await symlink(folder, join(folder, "b.yaml"));
    const [first, second] = await faultsOf();
    expect(first).toContain(`${folder}/a.yaml: cannot be read (ENOENT)`);
    expect(second).toContain(`${folder}/b.yaml: cannot be read (EISDIR)`);
  });

  test.each([[".a"], ["-a"], ["a b"], ["\u00e4"], ["x".repeat(65)], ["_a"]])(
    "is called %j.yaml",
    async (name) => {
      await write(`${name}.yaml`);
      const faults = await faultsOf();
      if (name.startsWith(".")) expect(faults).toEqual([]);
      else expect(faults).toEqual([expect.stringContaining(`${name}.yaml: the name of a source has`)]);
    },
  );

  test("has a hostile name, which is harmless in the message", async () => {
    const names = hostileFileNames(".yaml").filter((name) => !/^(\.|[a-z0-9][\w.-]*$)/i.test(name));
    for (const name of names) await write(name);
    const faults = await faultsOf();
    expect(faults).toHaveLength(names.length);
    expect(unsafeIn(faults.join("\n"))).toEqual([]);
  });
});

test("all faults of all files are told at once", async () => {
  await write("a.yaml", "files: a\nfoo: 1\nskip: x");
  await write("b.yaml");
  await write("c.yml");
  await write("d.yaml", "files: [");
  expect((await faultsOf()).map((fault) => fault.slice(folder.length + 1).split(" ")[0])).toEqual([
    "a.yaml:2:",
    "a.yaml:3:",
    "c.yml:",
    "d.yaml:1:",
  ]);
});
