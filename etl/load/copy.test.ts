/** A COPY whose server fails: whoever writes learns of it, at the latest with the next write. */
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { withTransaction } from "../../db/client.ts";
import { createTestDatabase } from "../../db/testing/database.ts";
import { openCopy } from "./copy.ts";

test("an error that comes while nobody writes is that of the next write, and of the close", async () => {
  const { database } = await createTestDatabase();
  const failed = withTransaction({ database }, async (tx) => {
    const copy = openCopy(tx, "copy warehouse.venues (venue_id) from stdin");
    await copy.write("a\tmore cells than columns\n");
    // The server answers on its own; nothing of this process waits for it.
    await sleep(500);
    await expect(copy.write("b\n")).rejects.toMatchObject({ code: "22P04" });
    await expect(copy.close()).rejects.toMatchObject({ code: "22P04" });
    await copy.abandon();
    await tx.client.query("select 1");
  });
  await expect(failed).rejects.toMatchObject({ code: "25P02" });
});
