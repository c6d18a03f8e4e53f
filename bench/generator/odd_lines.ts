/** Lines in forms that are valid but not canonical, and lines that are rejected. */
import type { Invoice } from "./invoice.ts";
import { type LineStyle, LONGEST_LINE, type Page, writeCanonical } from "./line.ts";
import { mix32 } from "./random.ts";

/** A line's four fields as text, for the lines that are not canonical. */
interface Fields {
  readonly venue: string;
  readonly id: string;
  readonly created: string;
  readonly total: string;
}

function fieldsOf(style: LineStyle, invoice: Invoice, cents: number): Fields {
  const scratch = { bytes: Buffer.alloc(LONGEST_LINE), at: 0 };
  writeCanonical(scratch, style, invoice, cents);
  const [venue = "", id = "", created = "", total = ""] = scratch.bytes
    .toString("latin1", 0, scratch.at - 1)
    .split(",");
  return { venue, id, created, total };
}

type Change = (fields: Fields) => string;

const join = ({ venue, id, created, total }: Fields) => `${venue},${id},${created},${total}`;

/** Every way says the same as the canonical line, in every time zone. None gives an offset. */
const ODD: readonly Change[] = [
  (row) => join({ ...row, id: row.id.toUpperCase() }),
  (row) => join({ ...row, id: row.id.replaceAll("-", "") }),
  (row) => join({ ...row, id: `{${row.id}}` }),
  (row) => join({ ...row, created: row.created.replace("T", " ") }),
  (row) => join({ ...row, created: `${row.created}.000` }),
  (row) => join({ ...row, created: row.created.replace(/:00$/, "") }),
  (row) => join({ ...row, venue: `"${row.venue}"`, total: `"${row.total}"` }),
  (row) => `"${row.venue}","${row.id}","${row.created}","${row.total}"`,
  (row) => `${join(row)}\r`,
  (row) => join({ ...row, total: `${row.total.replace(".", "")}e-2` }),
  (row) => join({ ...row, total: `${row.total}0000001` }),
  (row) => join({ ...row, total: row.total.startsWith("-") ? row.total : `+${row.total}` }),
  (row) => join({ ...row, total: row.total.replace(/0$/, "") }),
  (row) => join({ ...row, id: ` ${row.id}`, total: `${row.total}\t` }),
];

/** Writes the line in a form that is valid but not canonical. `random` is a 32-bit random number. */
export function writeOdd(
  page: Page,
  style: LineStyle,
  invoice: Invoice,
  cents: number,
  random: number,
): void {
  const change = ODD[random % ODD.length] as Change;
  writeText(page, change(fieldsOf(style, invoice, cents)));
}

/** For each reason code, lines that are rejected with it. Latin-1, so that bytes can be wrong. */
const BAD = {
  bad_encoding: [
    (row) => join({ ...row, venue: `${row.venue}\xff` }),
    (row) => join({ ...row, venue: `Caf\xe9 ${row.venue}` }),
    (row) => join({ ...row, venue: `${row.venue}\x07` }),
    (row) => join({ ...row, total: `${row.total}\x00` }),
  ],
  broken_quotes: [
    // None that is left open: the next quote might close it, some lines below.
    (row) => join({ ...row, venue: `${row.venue}"` }),
    (row) => join({ ...row, venue: `"${row.venue}"x` }),
    (row) => join({ ...row, total: `${row.total}"` }),
  ],
  wrong_column_count: [
    (row) => `${row.venue},${row.id},${row.created}`,
    (row) => `${join(row)},EUR`,
    (row) => `${row.venue};${row.id};${row.created};${row.total}`,
  ],
  missing_venue: [
    (row) => join({ ...row, venue: "" }),
    (row) => join({ ...row, venue: "  " }),
    (row) => join({ ...row, venue: '""' }),
  ],
  venue_too_long: [(row) => join({ ...row, venue: row.venue.padEnd(201, "x") })],
  bad_uuid: [
    (row) => join({ ...row, id: row.id.slice(0, -1) }),
    (row) => join({ ...row, id: `${row.id}0` }),
    (row) => join({ ...row, id: `g${row.id.slice(1)}` }),
    (row) => join({ ...row, id: "" }),
  ],
  bad_timestamp: [
    (row) => join({ ...row, created: "" }),
    (row) => join({ ...row, created: "yesterday" }),
    (row) => join({ ...row, created: `${row.created.slice(0, 4)}-02-30${row.created.slice(10)}` }),
    (row) => join({ ...row, created: `${row.created.slice(0, 11)}24:00:00` }),
    (row) => join({ ...row, created: row.created.split("T")[0]?.split("-").reverse().join("/") ?? "" }),
  ],
  bad_total: [
    (row) => join({ ...row, total: "" }),
    (row) => join({ ...row, total: "NaN" }),
    (row) => join({ ...row, total: `1_${row.total.replace("-", "")}` }),
    (row) => join({ ...row, total: `${row.total} USD` }),
    (row) => join({ ...row, total: "1e12" }),
  ],
  ambiguous_total: [(row) => join({ ...row, total: '"1,234"' }), (row) => join({ ...row, total: "12.-" })],
  sub_cent_total: [
    (row) => join({ ...row, total: `${row.total}5` }),
    (row) => join({ ...row, total: "0.001" }),
  ],
  created_before_earliest: [
    (row) => join({ ...row, created: `1999-12-31${row.created.slice(10)}` }),
    (row) => join({ ...row, created: "1970-01-01T00:00:00" }),
  ],
  // Sync dates end with 2099.
  created_after_sync: [
    (row) => join({ ...row, created: `22${row.created.slice(2, 5)}06-15${row.created.slice(10)}` }),
    (row) => join({ ...row, created: "9999-12-31T23:59:59" }),
  ],
} as const satisfies Record<string, readonly Change[]>;

export type BadReason = keyof typeof BAD;

export const BAD_REASONS = Object.keys(BAD) as BadReason[];

/** Writes a line that any warehouse with the default earliest date rejects, and returns the reason. */
export function writeBad(page: Page, style: LineStyle, invoice: Invoice, random: number): BadReason {
  const reason = BAD_REASONS[random % BAD_REASONS.length] as BadReason;
  const ways: readonly Change[] = BAD[reason];
  const change = ways[mix32(random) % ways.length] as Change;
  writeText(page, change(fieldsOf(style, invoice, invoice.cents)));
  return reason;
}

function writeText(page: Page, text: string): void {
  page.at += page.bytes.write(`${text}\n`, page.at, "latin1");
}
