/** Part of the format model: what the name of a file says. */
import { dateOf, dayOf } from "./clocks.ts";

/** Its sync date, `YYYY-MM-DD`, or why the file is refused. */
export function readName(name: string): { readonly syncedOn: string } | "not_csv" | "no_sync_date" {
  const lower = name.toLowerCase();
  if (!lower.endsWith(".csv") && !lower.endsWith(".csv.gz")) return "not_csv";
  const [later, ...others] = [...new Set(findDates(name))].sort().reverse();
  return later === undefined || others.length > 1 ? "no_sync_date" : { syncedOn: later };
}

/** From left to right. The digits of a date belong to no other. */
function findDates(name: string): readonly string[] {
  // Runs of digits, and what stands between them: digits at the odd places.
  const pieces = name.split(/([0-9]+)/);
  const dates: string[] = [];
  for (let at = 1; at < pieces.length; at += 2) {
    const [first = "", mark, second = "", otherMark, third = ""] = pieces.slice(at, at + 5);
    const shape = [first, second, third].map(({ length }) => length).join();
    const single = [8, 12, 14].includes(first.length)
      ? dateIn(first.slice(0, 4), first.slice(4, 6), first.slice(6, 8))
      : undefined;
    let triple: string | undefined;
    if (mark === otherMark && shape === "4,2,2" && (mark === "-" || mark === "_"))
      triple = dateIn(first, second, third);
    if (mark === otherMark && shape === "2,2,4" && mark === ".") triple = dateIn(third, second, first);
    if (triple !== undefined) at += 4;
    const date = single ?? triple;
    if (date !== undefined) dates.push(date);
  }
  return dates;
}

function dateIn(year: string, month: string, day: string): string | undefined {
  if (Number(year) < 1900 || Number(year) > 2099) return undefined;
  const number = dayOf(Number(year), Number(month), Number(day));
  return number === undefined ? undefined : dateOf(number);
}
