/** Compares the closings, and what has changed since, with the model. */
import { createHash } from "node:crypto";
import type { RestatedPeriod } from "../../../etl/closings/period.ts";
import { euros } from "../../../etl/testing/models/money.ts";
import type { GroupTotal, WarehouseModel } from "../../../etl/testing/models/warehouse.ts";
import { expectSame, expectTrue, partitionAt } from "./compare.ts";
import type { Observation, ObservedClosing } from "./observe.ts";

/** Each closing certifies the groups as they were known then, and the reports tell what has changed since. */
export function compareClosings(observed: Observation, model: WarehouseModel): void {
  const { closings, partitions } = observed;
  const isShown = ({ createdOn }: GroupTotal) => partitionAt(partitions, createdOn)?.state !== "detached";
  for (const closing of closings) compareClosing(closing, closings, model);
  const newest = closings.filter(({ replaced_by }) => replaced_by === null);
  expectSame(
    "reports.restatements",
    observed.restatements,
    newest.flatMap((closing) => restatedTexts(closing, model, isShown)),
  );
  expectSame(
    "reports.restating_loads",
    observed.restating,
    newest.flatMap((closing) =>
      model
        .applied()
        .slice(closing.entries)
        .flatMap(({ loadId, deltas }) =>
          within(closing, deltas)
            .filter(isShown)
            .map(({ createdOn, venue, invoices, cents }) =>
              [closing.closing, loadId, createdOn, venue, invoices, euros(cents)].join(" | "),
            ),
        ),
    ),
  );
}

function compareClosing(
  closing: ObservedClosing,
  closings: readonly ObservedClosing[],
  model: WarehouseModel,
): void {
  const what = `closing ${closing.closing} (${closing.period})`;
  const before = closings.find((one) => one.closing === closing.closing - 1);
  const isChained = closing.previous_sha256 === (before?.sha256 ?? null);
  expectTrue(
    `${what} does not follow the one before`,
    isChained && closings[closing.closing - 1] === closing,
  );
  const groups = within(closing, model.totals(closing.entries)).toSorted(byVenue);
  const invoices = groups.reduce((sum, group) => sum + group.invoices, 0);
  const total = euros(groups.reduce((sum, { cents }) => sum + cents, 0));
  expectSame(
    `${what}: its sums`,
    [[closing.groups, closing.invoices, closing.total].join(" | ")],
    [[groups.length, invoices, total].join(" | ")],
  );
  const list = groups.map((group) => [group.venue, group.createdOn, group.invoices, euros(group.cents)]);
  const { period, first_date: from, date_after: to, known_at: knownAt } = closing;
  const last = [closing.closing, period, from, to, knownAt, groups.length, invoices, total];
  const all = [...list, [...last, closing.closed_by, closing.closed_at, closing.previous_sha256]];
  const text = all.map((values) => `${JSON.stringify(values)}\n`).join("");
  const digest = createHash("sha256").update(text, "utf8").digest("hex");
  expectTrue(`${what} has the digest ${closing.sha256}, not ${digest}`, closing.sha256 === digest);
}

function byVenue(one: GroupTotal, other: GroupTotal): number {
  const order = Buffer.compare(Buffer.from(one.venue), Buffer.from(other.venue));
  return order === 0 && one.createdOn !== other.createdOn
    ? one.createdOn < other.createdOn
      ? -1
      : 1
    : order;
}

function within({ first_date, date_after }: ObservedClosing, groups: readonly GroupTotal[]) {
  return groups.filter(({ createdOn }) => createdOn >= first_date && createdOn < date_after);
}

function restatedTexts(
  closing: ObservedClosing,
  model: WarehouseModel,
  isShown: (group: GroupTotal) => boolean,
): readonly string[] {
  const sums = new Map<string, { before: GroupTotal; after: GroupTotal }>();
  const enter = (groups: readonly GroupTotal[], moment: "before" | "after") => {
    for (const group of within(closing, groups).filter(isShown)) {
      const key = `${group.createdOn} | ${group.venue}`;
      const nothing = { ...group, invoices: 0, cents: 0 };
      sums.set(key, { ...(sums.get(key) ?? { before: nothing, after: nothing }), [moment]: group });
    }
  };
  enter(model.totals(closing.entries), "before");
  enter(model.totals(), "after");
  return [...sums].flatMap(([key, { before, after }]) => {
    const [invoices, cents] = [after.invoices - before.invoices, after.cents - before.cents];
    if (invoices === 0 && cents === 0) return [];
    const texts = [
      closing.closing,
      key,
      before.invoices,
      euros(before.cents),
      after.invoices,
      euros(after.cents),
    ];
    return [[...texts, invoices, euros(cents)].join(" | ")];
  });
}

/** What an entry says that it has changed of the periods that were closed before. */
export function checkRestated(
  what: string,
  closings: readonly ObservedClosing[],
  deltas: readonly GroupTotal[],
  restated: readonly RestatedPeriod[],
): void {
  const textOf = ({ closing, groups, invoices, total }: Omit<RestatedPeriod, "period">) =>
    [closing, groups, invoices, total].join(" | ");
  const expected = closings.flatMap((closing) => {
    const changed = within(closing, deltas);
    if (closing.replaced_by !== null || changed.length === 0) return [];
    return textOf({
      closing: closing.closing,
      groups: changed.length,
      invoices: changed.reduce((sum, { invoices }) => sum + invoices, 0),
      total: euros(changed.reduce((sum, { cents }) => sum + cents, 0)),
    });
  });
  expectSame(`${what}: what it says of closed periods`, restated.map(textOf), expected);
}
