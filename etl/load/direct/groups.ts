/** What a drop changes in each group, counted while its lines are written. */
import type { Group } from "./order.ts";

export type Groups = Map<number, Group>;

/** Date and venue in one number: up to 4 million days, 2 ** 31 venues. */
function groupKey(day: number, venueKey: number): number {
  return day * 2 ** 31 + venueKey;
}

/** @returns false when a group's total is too large to be counted exactly */
export function addGroups(groups: Groups, added: readonly Group[]): boolean {
  for (const group of added) {
    const key = groupKey(group.day, group.venueKey);
    const known = groups.get(key);
    if (known === undefined) groups.set(key, group);
    else {
      known.invoices += group.invoices;
      known.cents += group.cents;
      if (!Number.isSafeInteger(known.cents)) return false;
    }
  }
  return true;
}

/** Takes one invoice out of its group. */
export function takeFromGroup(
  groups: Groups,
  invoice: { readonly day: number; readonly venueKey: number; readonly cents: number },
): void {
  const group = groups.get(groupKey(invoice.day, invoice.venueKey));
  if (group === undefined) throw new Error("a line was replaced in a group that has none");
  group.invoices--;
  group.cents -= invoice.cents;
}

/** The groups that changed, by date and venue. */
export function changedGroups(groups: Groups): readonly Group[] {
  return [...groups.values()]
    .filter(({ invoices, cents }) => invoices !== 0 || cents !== 0)
    .sort((a, b) => a.day - b.day || a.venueKey - b.venueKey);
}
