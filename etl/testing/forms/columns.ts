/** The columns of a file whose form a source gives: their names, their cells, and what the form says of them. */
import type { ColumnRef } from "../models/columns.ts";
import type { Form } from "../models/form.ts";
import type { World } from "../models/line.ts";
import type { Choices } from "./choices.ts";
import { makeTimes } from "./times.ts";
import { makeTotals } from "./totals.ts";

export interface Columns {
  readonly names: readonly string[];
  /** The cells of one record, without quotes. */
  readonly makeCells: () => string[];
  readonly form: Pick<Form, "venueId" | "invoiceId" | "created" | "total" | "conditions">;
}

/** A column of the file. `make`: its cell; `times`: the cells of the record's time. */
interface Slot {
  readonly name: string;
  readonly make: (times: readonly string[]) => string;
}

const NAMES = ["Filiale", "Bon", "Datum", "Zeit", "Betrag", "Öffnung", "Order ID", "a,b", "x;y"];
const NOTES = ["", "", "n", "a,b;c\t|", "é", "a\nb", 'say "x"', " ", "7"];
const STATUSES = ["paid", "paid", "paid", "paid", "void", "refunded", "", "Paid", " paid ", "0"];
const VENUES = ["v", "venue-1", " v ", "Café", "007", "Mitte 5", "居酒屋", "12 €", "Žižkov"];
const ODD_VENUES = ["", " ", "x".repeat(200), "x".repeat(201), "é".repeat(200), "é".repeat(201)];
const RECEIPTS = ["1", "1", "2", "0001", "A/7", "é", " 1", "1 2", "€"];

export function makeColumns(random: Choices, world: World, hasHeader: boolean): Columns {
  const { slots, add } = createSlots(random, hasHeader);
  // Now and then only places and names differ from the drop format.
  const isPlain = random.once(6);
  const times = makeTimes(random, world, isPlain);
  const totals = makeTotals(random, isPlain);
  const named = (own: string, plain: string) => (random.once(4) ? plain : own);
  const venue = add(named("Filiale", "venue_id"), () => random.pick(random.once(60) ? ODD_VENUES : VENUES));
  const isNamed = !isPlain && random.once(2);
  const id = add(named("Bon", "invoice_id"), () => (isNamed ? makeReceipt(random) : makeUuid(random)));
  const dates = times.parts.map((_, part) =>
    add(part === 0 ? named("Datum", "datetime_created") : "Zeit", (cells) => cells[part] ?? ""),
  );
  const sums = Array.from({ length: totals.count }, (_, part) =>
    add(part === 0 ? named("Betrag", "total") : "Steuer", totals.make),
  );
  const status = isPlain ? id : add("Status", () => random.pick(STATUSES));
  for (let extra = isPlain ? 0 : random.below(4); extra > 0; extra--)
    add(random.pick(["note", "", "Öffnung"]), () => random.pick(NOTES));
  const more = [venue, ...dates, status].filter(() => random.once(3));
  const totalSlots = sums.map(({ slot }) => slot);
  let last: readonly string[] = [];
  return {
    names: slots.map(({ name }) => name),
    makeCells: () => {
      // Another row of the same invoice now and then.
      const isAgain = last.length > 0 && random.once(5);
      const time = times.make(isAgain);
      const kept = (slot: Slot, at: number) =>
        isAgain && !totalSlots.includes(slot) && !dates.some((date) => date.slot === slot)
          ? last[at]
          : undefined;
      const cells = slots.map((slot, at) => kept(slot, at) ?? slot.make(time));
      last = cells;
      return [...cells];
    },
    form: {
      venueId:
        !isPlain && random.once(5) ? { constant: random.pick(["Mitte", " v "]) } : { column: venue.ref() },
      invoiceId: isNamed ? { uuid5Of: [id, ...more].map(({ ref }) => ref()) } : { column: id.ref() },
      created: { columns: dates.map(({ ref }) => ref()), ...times.form },
      total: { columns: sums.map(({ ref }) => ref()), ...totals.form },
      conditions: isPlain ? [] : makeConditions(random, [status, status, status, venue, id]),
    },
  };
}

/** Makes columns whose names differ; what `add` returns names the column once all are there. */
function createSlots(random: Choices, hasHeader: boolean) {
  const slots: Slot[] = [];
  const add = (wanted: string, make: Slot["make"]) => {
    const names = slots.map(({ name }) => name);
    const isTaken = (name: string) => names.includes(name) && name !== "" && !random.once(200);
    const name = [wanted, ...NAMES].find((each) => !isTaken(each)) ?? `${wanted} 2`;
    const slot = { name, make };
    slots.splice(random.below(slots.length + 1), 0, slot);
    const ref = (): ColumnRef => {
      if (random.once(300)) return hasHeader && random.once(2) ? "Fehlt" : slots.length + 1;
      if (!hasHeader || random.once(4)) return slots.indexOf(slot) + 1;
      return random.pick([name, name, name.toUpperCase(), name.toLowerCase(), ` ${name} `]);
    };
    return { slot, ref };
  };
  return { slots, add };
}

function makeConditions(
  random: Choices,
  columns: readonly { readonly ref: () => ColumnRef }[],
): Form["conditions"] {
  return Array.from({ length: random.pick([0, 0, 0, 1, 1, 2]) }, () => {
    const effect = random.pick(["keep", "skip"] as const);
    const kept = random.pick([["paid"], ["paid", "refunded"], ["paid", "", "Paid", "0", "refunded"]]);
    const left = random.pick([["void"], ["void", ""], ["0", "Summe", " paid"]]);
    return { column: random.pick(columns).ref(), values: effect === "keep" ? kept : left, effect };
  });
}

function makeReceipt(random: Choices): string {
  return random.once(60) ? random.pick(["", " ", "\t"]) : random.pick(RECEIPTS);
}

function makeUuid(random: Choices): string {
  const hex = Array.from({ length: 32 }, () => random.pick([..."0123456789abcdef"])).join("");
  const uuid = hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
  if (!random.once(10)) return uuid;
  return random.pick([hex, `{${uuid}}`, uuid.toUpperCase(), ` ${uuid} `, "", uuid.slice(1)]);
}
