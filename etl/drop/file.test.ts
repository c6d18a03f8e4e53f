import { createHash } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { hashDrop, readFileBytes } from "./file.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "rollbook-drop-"));
});
afterAll(() => rm(folder, { recursive: true }));

test("a drop's hash is that of its bytes, reported as they are read", async () => {
  const path = join(folder, "three.bin");
  const content = Buffer.alloc(300_000, "abc");
  await writeFile(path, content);
  const reported: number[] = [];
  const { sha256, bytes } = await hashDrop({ path, onBytes: (read) => reported.push(read) });
  expect(sha256).toEqual(createHash("sha256").update(content).digest());
  expect(bytes).toBe(300_000);
  expect(reported).toEqual([131_072, 262_144, 300_000]);
});

test("an empty file has the hash of nothing", async () => {
  const path = join(folder, "empty");
  await writeFile(path, "");
  expect(await hashDrop({ path })).toEqual({ sha256: createHash("sha256").digest(), bytes: 0, gzip: false });
});

test.each([
  ["that is not there", () => join(folder, "absent.csv"), /absent\.csv.*ENOENT.*check the path/],
  ["that is a folder", () => folder, /EISDIR.*not a folder/],
])("a file %s is unreadable", async (_, path, message) => {
  const failed = expect(hashDrop({ path: path() })).rejects;
  await failed.toMatchObject({ name: "RollbookError", code: "file_unreadable" });
  await failed.toThrow(message);
});

test("reading stops when the signal says so, before or on the way", async () => {
  const path = join(folder, "long.bin");
  await writeFile(path, Buffer.alloc(1_000_000));
  const aborted = { name: "RollbookError", code: "aborted" };
  await expect(hashDrop({ path, signal: AbortSignal.abort() })).rejects.toMatchObject(aborted);
  const control = new AbortController();
  const stopped = hashDrop({ path, signal: control.signal, onBytes: () => control.abort("enough") });
  await expect(stopped).rejects.toMatchObject({ ...aborted, cause: "enough" });
});

test("buffers that were read keep their bytes", async () => {
  const path = join(folder, "kept.bin");
  const content = Buffer.from(Array.from({ length: 400_000 }, (_, index) => index % 251));
  await writeFile(path, content);
  const chunks: Buffer[] = [];
  for await (const chunk of readFileBytes({ path })) chunks.push(chunk);
  expect(Buffer.concat(chunks).equals(content)).toBe(true);
});
