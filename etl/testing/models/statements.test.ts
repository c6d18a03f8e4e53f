import fc from "fast-check";
import { expect, test } from "vitest";
import { createStanding } from "./standing.ts";
import { createStatements } from "./statements.ts";

test("without undo the same stands as in the model for millions of invoices", () => {
  const load = fc.record({
    syncDay: fc.integer({ min: 20_000, max: 20_002 }),
    said: fc.uniqueArray(fc.record({ invoice: fc.nat(4), cents: fc.nat(2) }), {
      selector: ({ invoice }) => invoice,
    }),
  });
  const entry = fc.oneof(
    { weight: 5, arbitrary: load },
    { weight: 1, arbitrary: fc.record({ takeOut: fc.nat(4) }) },
  );
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 12 }), (entries) => {
      const [kept, standing] = [createStatements(), createStanding()];
      for (const [index, one] of entries.entries()) {
        const loadId = index + 1;
        if ("takeOut" in one) {
          if (standing.of(one.takeOut) === undefined) continue;
          standing.takeOut(one.takeOut);
          kept.takeOut(one.takeOut, loadId);
          continue;
        }
        const { syncDay, said } = one;
        const invoices = said.map(({ invoice }) => invoice);
        standing.take({ loadId, syncDay }, { invoices, cents: said.map(({ cents }) => cents) }, () => {});
        for (const { invoice, cents } of said) kept.say(invoice, { loadId, syncDay, cents, createdAt: 0 });
      }
      for (let invoice = 0; invoice < 5; invoice++)
        expect(kept.standing(invoice)).toEqual(standing.of(invoice));
    }),
  );
});
