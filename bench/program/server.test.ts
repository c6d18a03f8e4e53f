import { expect, inject, onTestFinished, test } from "vitest";
import { onServer } from "../../db/testing/database.ts";
import { makeFolder } from "../../db/testing/folder.ts";
import { openBenchServer } from "./server.ts";

const open = (url: string) => openBenchServer({ home: makeFolder(), url });

test("a server that cannot be reached is named, with what to do", async () => {
  await expect(open("postgres://nobody@127.0.0.1:1/postgres")).rejects.toMatchObject({
    code: "connection",
    message: expect.stringMatching(/cannot begin: no connection .*\(127\.0\.0\.1\).*ECONNREFUSED.*--server/),
  });
  await expect(open("postgres://x:y:z")).rejects.toMatchObject({
    code: "usage",
    message: expect.stringContaining("no connection string"),
  });
});

test("a user who may not make databases is told so before anything is measured", async () => {
  await onServer((client) => client.query("create role bench_guest login"));
  onTestFinished(() => onServer(async (client) => void (await client.query("drop role bench_guest"))));
  const { host, port } = inject("postgres");
  const url = `postgres://bench_guest@/postgres?host=${encodeURIComponent(host)}&port=${port}`;
  await expect(open(url)).rejects.toMatchObject({
    code: "permission",
    message: expect.stringContaining("alter role bench_guest createdb"),
  });
});
