/** Who is told of a change, and how often it is looked for one. */
import { setTimeout as sleep } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import { type Changes, watchChanges } from "./changes.ts";

interface Watched {
  readonly changes: Changes;
  /** What is read from now on; an error fails. */
  readonly set: (revision: string | Error) => void;
  readonly looks: () => number;
}

function watch({ everyMs = 1 } = {}): Watched {
  const stopping = new AbortController();
  onTestFinished(() => stopping.abort());
  let revision: string | Error = "one";
  let looks = 0;
  const read = async () => {
    looks += 1;
    if (revision instanceof Error) throw revision;
    return revision;
  };
  return {
    changes: watchChanges({ read, everyMs, signal: stopping.signal }),
    set: (next) => {
      revision = next;
    },
    looks: () => looks,
  };
}

test("each listener is told the revision, and then each new one, once", async () => {
  const { changes, set, looks } = watch();
  const [first, second]: [string[], string[]] = [[], []];
  changes.listen((revision) => first.push(revision));
  await expect.poll(() => first).toEqual(["one"]);
  const before = looks();
  await expect.poll(looks).toBeGreaterThan(before + 2);
  expect(first).toEqual(["one"]);
  changes.listen((revision) => second.push(revision));
  await expect.poll(() => second).toEqual(["one"]);
  set("two");
  await expect
    .poll(() => [first, second])
    .toEqual([
      ["one", "two"],
      ["one", "two"],
    ]);
});

test("who comes while it rests is told what is known, and all share one look", async () => {
  const { changes, looks } = watch({ everyMs: 600_000 });
  expect(await changes.latest()).toBe("one");
  const told: string[] = [];
  for (let page = 0; page < 5; page += 1) changes.listen((revision) => told.push(revision));
  expect(told).toEqual(Array(5).fill("one"));
  expect(await changes.latest()).toBe("one");
  expect(looks()).toBe(1);
});

test("nobody looks while nobody listens", async () => {
  const { changes, looks } = watch();
  const leave = changes.listen(() => {});
  await expect.poll(looks).toBeGreaterThan(2);
  leave();
  await sleep(20);
  const before = looks();
  await sleep(50);
  expect(looks()).toBe(before);
  changes.listen(() => {});
  await expect.poll(looks).toBeGreaterThan(before);
});

test("a look that fails is tried again, and a page is shown without", async () => {
  const { changes, set } = watch();
  set(new Error("away"));
  expect(await changes.latest()).toBeUndefined();
  const told: string[] = [];
  changes.listen((revision) => told.push(revision));
  await sleep(20);
  expect(told).toEqual([]);
  set("two");
  await expect.poll(() => told).toEqual(["two"]);
});
