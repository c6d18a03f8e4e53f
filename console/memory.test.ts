import { expect, test } from "vitest";
import { createMemory } from "./memory.ts";

/** A memory whose clock goes on when it is told to. */
function start(waitMs: number) {
  const clock = { ms: 0 };
  return { clock, ...createMemory({ waitMs, now: () => clock.ms }) };
}

test("an answer is kept for twenty times the time that it took, then it is asked for again", async () => {
  const { clock, recall } = start(60_000);
  let asked = 0;
  const ask = async () => {
    asked += 1;
    clock.ms += 10;
    return asked;
  };
  expect((await recall("a", ask))?.value).toBe(1);
  clock.ms = 209;
  expect((await recall("a", ask))?.value).toBe(1);
  expect((await recall("b", async () => "other"))?.value).toBe("other");
  clock.ms = 210;
  expect((await recall("a", ask))?.value).toBe(2);
});

test("a slow answer is worked out once, and is there for a later page", async () => {
  const { clock, recall } = start(0);
  let finish = (_: string) => {};
  let asked = 0;
  const ask = () => {
    asked += 1;
    return new Promise<string>((resolve) => {
      finish = resolve;
    });
  };
  expect(await Promise.all([recall("a", ask), recall("a", ask)])).toEqual([undefined, undefined]);
  expect(asked).toBe(1);
  clock.ms = 1000;
  finish("found");
  await expect.poll(async () => (await recall("a", ask))?.value).toBe("found");
  expect(asked).toBe(1);
});

test("a failure is said to the page that waits, and the next one asks again", async () => {
  const { recall } = start(60_000);
  await expect(recall("a", () => Promise.reject(new Error("away")))).rejects.toThrow("away");
  expect((await recall("a", async () => "back"))?.value).toBe("back");
});
