import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { rulesOf } from "../testing/line_rules.ts";
import { unpack } from "./container.ts";
import type { Form } from "./form.ts";
import { type LinesEvent, readLines } from "./lines.ts";
import { INVOICE_NAMESPACE, makeUuid } from "./value/name_based_uuid.ts";

const RULES = rulesOf({ syncedOn: "2026-07-01" });
const ID = "a2b4c6d8-1111-4111-8111-00000000000f";

/** A form whose columns have the four names. */
function formOf(changes: Partial<Form> = {}): Form {
  return {
    skip: 0,
    header: true,
    venueId: { column: "venue_id" },
    invoiceId: { column: "invoice_id" },
    created: { columns: ["datetime_created"] },
    total: { columns: ["total"] },
    conditions: [],
    sumRows: false,
    ...changes,
  };
}

/** Without a header. */
const NUMBERED: Partial<Form> = {
  header: false,
  venueId: { column: 1 },
  invoiceId: { column: 2 },
  created: { columns: [3] },
  total: { columns: [4] },
};

interface Reading {
  readonly rows: readonly string[];
  readonly rejects: readonly (readonly [number, string, string | null])[];
  readonly skipped: number;
  readonly refusal: string | undefined;
}

async function read(
  content: string | Uint8Array,
  form: Form,
  { decimalComma = false, cut = 1_000_000 } = {},
): Promise<Reading> {
  const bytes = Buffer.from(content as string);
  async function* chunks(): AsyncGenerator<Buffer, void, undefined> {
    for (let from = 0; from < bytes.length; from += cut) yield bytes.subarray(from, from + cut);
  }
  const text = await unpack({ raw: chunks(), namedGzip: false, encoding: form.encoding });
  const events: LinesEvent[] = [];
  for await (const event of readLines({ text, rules: { ...RULES, decimalComma }, form })) events.push(event);
  const rows = events.filter((event) => event.kind === "rows");
  return {
    rows: rows.flatMap(({ copy }) => copy.toString().split("\n").slice(0, -1)),
    rejects: rows.flatMap((event) =>
      event.rejects.map(({ line, reason, cell }) => [line, reason, cell] as const),
    ),
    skipped: rows.reduce((sum, event) => sum + event.skipped, 0),
    refusal: events.find((event) => event.kind === "refused")?.message,
  };
}

/** The rows of one line of cells under a header. */
async function rowOf(cells: Readonly<Record<string, string>>, form: Form): Promise<Reading> {
  const names = Object.keys(cells);
  return read(`${names.join(";")}\n${names.map((name) => cells[name]).join(";")}\n`, {
    ...form,
    delimiter: ";",
  });
}

describe("columns", () => {
  const form = formOf({
    venueId: { column: "Filiale" },
    invoiceId: { column: " bon-id " },
    created: { columns: ["Datum"] },
    total: { columns: [5] },
  });

  test("are found by name, whatever blanks and case, and by number", async () => {
    const text = `Kasse;FILIALE ;Bon-ID;datum;Betrag\n3;Mitte;${ID};2026-06-01 12:00;12.50\n`;
    expect(await read(text, form)).toEqual({
      rows: [`Mitte,${ID},2026-06-01T12:00:00,12.50`],
      rejects: [],
      skipped: 0,
      refusal: undefined,
    });
  });

  test("that are missing refuse the file, with those that are there", async () => {
    const { refusal, rows } = await read(`Kasse;Filiale;Bon-ID;Datum\n1;2;3;4\n`, form);
    expect(rows).toEqual([]);
    expect(refusal).toBe(
      "line 1: the header lacks number 5, which the source names: it has the columns Kasse, Filiale, Bon-ID, Datum. Mend the source, or the file",
    );
  });

  test("that are there twice refuse it, too", async () => {
    const { refusal } = await read(`filiale,Filiale,bon-id,datum,x\n`, form);
    expect(refusal).toMatch(/^line 1: the header repeats Filiale, /);
  });

  test("of which one is a constant or all are numbers need no header", async () => {
    const numbers = formOf({
      header: false,
      venueId: { constant: "Mitte" },
      invoiceId: { column: 2 },
      created: { columns: [1] },
      total: { columns: [3] },
    });
    const text = `2026-06-01|${ID}|1.00\n2026-06-02|${ID}|2.00|\n\n2026-06-02|${ID}\n`;
    expect(await read(text, numbers)).toMatchObject({
      rows: [`Mitte,${ID},2026-06-01T00:00:00,1.00`, `Mitte,${ID},2026-06-02T00:00:00,2.00`],
      rejects: [[4, "wrong_column_count", null]],
    });
  });

  test("begin after the lines that are skipped, whatever stands there, and after sep=", async () => {
    const text = `Export vom 1.6.;"\n\n;;;;\nsep=;\nvenue_id;invoice_id;datetime_created;total\nv;${ID};2026-06-01;1\nv;${ID};x;1\n`;
    expect(await read(text, formOf({ skip: 3 }))).toMatchObject({
      rows: [`v;${ID};2026-06-01T00:00:00;1.00`],
      rejects: [[7, "bad_timestamp", "x"]],
    });
  });

  test("a file of skipped lines alone holds nothing", async () => {
    expect(await read("a\nb\n", formOf({ skip: 3 }))).toMatchObject({
      rows: [],
      rejects: [],
      refusal: undefined,
    });
    expect(await read("", formOf())).toMatchObject({ rows: [], rejects: [], refusal: undefined });
  });

  test("in their plain forms keep canonical lines as they are, in another encoding, too", async () => {
    const plain = formOf({ encoding: "windows-1252", delimiter: ";", venueId: { column: "Ort" } });
    const text = Buffer.from(
      `Ort;invoice_id;datetime_created;total\nK\u00f6ln;${ID};2026-06-01T12:00:00;1.00\n`,
      "latin1",
    );
    expect((await read(text, plain)).rows).toEqual([`K\u00f6ln;${ID};2026-06-01T12:00:00;1.00`]);
  });
});

describe("records are left out", () => {
  const form = (effect: "keep" | "skip", ...values: string[]) =>
    formOf({ conditions: [{ column: "Status", values, effect }] });
  const text = ["paid", "void", " void ", "VOID", ""]
    .map((status, index) => `v,${ID},2026-06-0${index + 1},1.00,${status}\n`)
    .join("");
  const header = "venue_id,invoice_id,datetime_created,total,Status\n";

  test("that have a value, and counted", async () => {
    const { rows, skipped } = await read(header + text, form("skip", "void", ""));
    expect([rows.length, skipped]).toEqual([2, 3]);
  });

  test("that do not have one of those to be kept", async () => {
    const { rows, skipped } = await read(header + text, form("keep", "paid", "VOID"));
    expect([rows.length, skipped]).toEqual([2, 3]);
  });

  test("also a last line with other cells than the rest", async () => {
    const trailer = formOf({ conditions: [{ column: 1, values: ["TOTAL"], effect: "skip" }] });
    const lines = `venue_id,invoice_id,datetime_created,total\nv,${ID},2026-06-01,1\nTOTAL,1\nTotal,1\n`;
    expect(await read(lines, trailer)).toMatchObject({
      skipped: 1,
      rejects: [[4, "wrong_column_count", null]],
    });
  });

  test("but not for a cell that is not there: a line that was cut off is a reject", async () => {
    for (const each of [form("keep", "paid"), form("skip", "")]) {
      expect(await read(`${header}v,${ID},2026-06-01,1.0\n`, each)).toMatchObject({
        skipped: 0,
        rejects: [[2, "wrong_column_count", null]],
      });
    }
  });

  test("and a file without the column is refused, also where there is no header", async () => {
    const fifth = formOf({ ...NUMBERED, conditions: [{ column: 5, values: ["paid"], effect: "keep" }] });
    expect((await read(`v,${ID},2026-06-01,1.00\n`, fifth)).refusal).toMatch(
      /^line 1: the file lacks number 5, /,
    );
  });
});

test("a header with a line break in a name is refused; without it the file is read by numbers", async () => {
  const file = `"Venue\nid",id,when,total\nv,${ID},2026-06-01,1\n`;
  expect((await read(file, formOf({}))).refusal).toMatch(
    /^line 1: the header has broken quotes, or a name with/,
  );
  expect((await read(file, formOf({ ...NUMBERED, skip: 2 }))).rows).toEqual([
    `v,${ID},2026-06-01T00:00:00,1.00`,
  ]);
});

describe("an invoice id", () => {
  const form = formOf({ invoiceId: { uuid5Of: ["Kasse", "Bon"] } });
  const cells = { venue_id: "v", Kasse: " 3 ", Bon: "0007", datetime_created: "2026-06-01", total: "1" };

  test("is made of cells, the same everywhere and always", async () => {
    expect(INVOICE_NAMESPACE).toBe("bcb909e4-3f01-598b-b380-45fe2328e4a0");
    // Python: uuid.uuid5(uuid.UUID("bcb909e4-3f01-598b-b380-45fe2328e4a0"), "3\x1f0007")
    expect((await rowOf(cells, form)).rows).toEqual([
      `v,${makeUuid("3\u001f0007")},2026-06-01T00:00:00,1.00`,
    ]);
    expect(makeUuid("3\u001f0007")).toBe("517bad4a-d192-5193-9582-da19e5115958");
  });

  test("begins with the venue where that stands in no cell: two venues number their receipts alike", async () => {
    const given = { ...form, venueId: { constant: " Mitte" } };
    expect((await rowOf(cells, given)).rows).toEqual([
      ` Mitte,${makeUuid("Mitte\u001f3\u001f0007")},2026-06-01T00:00:00,1.00`,
    ]);
    expect((await rowOf({ ...cells, Bon: "" }, given)).rejects).toEqual([[2, "bad_uuid", "3 "]]);
  });

  test("of which a part is blank is none", async () => {
    expect((await rowOf({ ...cells, Bon: " " }, form)).rejects).toEqual([[2, "bad_uuid", "3 "]]);
    expect((await rowOf({ ...cells, Kasse: "" }, form)).rejects).toEqual([[2, "bad_uuid", " 0007"]]);
  });
});

describe("a time", () => {
  const timeOf = async (text: string, created: Partial<Form["created"]>) => {
    const form = formOf({ created: { columns: ["datetime_created"], ...created } });
    const { rows, rejects } = await rowOf(
      { venue_id: "v", invoice_id: ID, datetime_created: text, total: "1" },
      form,
    );
    return rows[0]?.split(",")[2] ?? rejects[0]?.[1];
  };

  test.each([
    ["06/01/2026 01:05 PM", "MM/dd/yyyy hh:mm a", "2026-06-01T13:05:00"],
    ["1/6/26 9:05", "d/M/yy H:mm", "2026-06-01T09:05:00"],
    ["2026-06-01 09:05:07.250", "yyyy-MM-dd HH:mm:ss.SSS", "2026-06-01T09:05:07.250"],
    ["Jun 1, 2026", "MMM d, yyyy", "2026-06-01T00:00:00"],
    ["01.06.2026", "dd.MM.yyyy", "2026-06-01T00:00:00"],
    ["2026-06-01 09:05 +0200", "yyyy-MM-dd HH:mm ZZZ", "2026-06-01T07:05:00Z"],
    ["2026-06-01 09:05 um", "yyyy-MM-dd HH:mm 'um'", "2026-06-01T09:05:00"],
    ["31/06/2026 09:05", "dd/MM/yyyy HH:mm", "bad_timestamp"],
    ["30/06/2026 24:00", "dd/MM/yyyy HH:mm", "bad_timestamp"],
    ["01/06/2026 12:30 am", "dd/MM/yyyy h:mm a", "2026-06-01T00:30:00"],
    ["01/06/2026 0:30 AM", "dd/MM/yyyy h:mm a", "bad_timestamp"],
    ["01/06/2026 13:30 PM", "dd/MM/yyyy h:mm a", "bad_timestamp"],
    ["2026-06-01 09:05 +01:60", "yyyy-MM-dd HH:mm ZZ", "bad_timestamp"],
    ["2026-06-01 09:05 -16:00", "yyyy-MM-dd HH:mm ZZ", "bad_timestamp"],
    ["2026-06-01 09:05 -15:59", "yyyy-MM-dd HH:mm ZZ", "2026-06-02T01:04:00Z"],
    ["06/01/2026", "MM/dd/yyyy HH:mm", "bad_timestamp"],
    ["", "MM/dd/yyyy", "bad_timestamp"],
  ])("%j by the tokens %s is %s", async (text, format, expected) => {
    expect(await timeOf(text, { format })).toBe(expected);
  });

  test.each([
    ["1780300800", "seconds", "2026-06-01T08:00:00Z"],
    ["1780300800.5", "seconds", "2026-06-01T08:00:00.500000Z"],
    ["1780300800123", "milliseconds", "2026-06-01T08:00:00.123000Z"],
    ["1780300800123.4567", "milliseconds", "2026-06-01T08:00:00.123456Z"],
    ["-1", "seconds", "created_before_earliest"],
    ["1780300800123", "seconds", "bad_timestamp"],
    ["1e9", "seconds", "bad_timestamp"],
    ["2026-06-01", "seconds", "bad_timestamp"],
  ] as const)("%s in %s since 1970 is %s", async (text, epoch, expected) => {
    expect(await timeOf(text, { epoch })).toBe(expected);
  });

  test("of another zone's wall clock is an instant; an offset stays, and so does a date", async () => {
    const zone = "America/New_York";
    expect(await timeOf("2026-06-01 09:05", { zone })).toBe("2026-06-01T13:05:00Z");
    expect(await timeOf("2026-01-01 09:05:07.5", { zone })).toBe("2026-01-01T14:05:07.5Z");
    expect(await timeOf("2026-06-01 09:05Z", { zone })).toBe("2026-06-01T09:05:00Z");
    expect(await timeOf("2026-06-01", { zone })).toBe("2026-06-01T00:00:00");
    expect(await timeOf("06/01/2026 09:05", { zone, format: "MM/dd/yyyy HH:mm" })).toBe(
      "2026-06-01T13:05:00Z",
    );
  });

  test("stands in two cells, of which none is blank", async () => {
    const form = formOf({ created: { columns: ["Datum", "Zeit"] } });
    const cells = { venue_id: "v", invoice_id: ID, Datum: " 01.06.2026", Zeit: "9:05 ", total: "1" };
    expect((await rowOf(cells, form)).rejects).toEqual([[2, "bad_timestamp", "01.06.2026 9:05"]]);
    expect((await rowOf({ ...cells, Zeit: "09:05" }, form)).rows).toEqual([
      `v,${ID},2026-06-01T09:05:00,1.00`,
    ]);
    expect((await rowOf({ ...cells, Zeit: " " }, form)).rejects).toEqual([
      [2, "bad_timestamp", "01.06.2026 "],
    ]);
  });
});

describe("a total", () => {
  const totalOf = async (text: string, total: Partial<Form["total"]>) => {
    const form = formOf({ total: { columns: ["total"], ...total } });
    const cells = { venue_id: "v", invoice_id: ID, datetime_created: "2026-06-01", total: text };
    const { rows, rejects } = await rowOf(cells, form);
    return rows[0]?.split(/[,;]/)[3] ?? rejects[0]?.[1];
  };

  test.each([
    ["12.500", { decimal: ",", thousands: "." }, "12500.00"],
    ["1.234.567,8", { decimal: ",", thousands: "." }, "1234567.80"],
    ["12.50", { decimal: ",", thousands: "." }, "bad_total"],
    ["-1'234.50", { decimal: ".", thousands: "'" }, "-1234.50"],
    ["1\u00a0234,50 \u20ac", { decimal: ",", thousands: "\u00a0" }, "1234.50"],
    ["1 234,50-", { decimal: ",", thousands: " " }, "-1234.50"],
    ["1,234", { thousands: "," }, "1234.00"],
    ["1,234", {}, "ambiguous_total"],
    ["1,23", { thousands: "," }, "bad_total"],
    ["1234,567", { thousands: "," }, "bad_total"],
    ["12.500", { decimal: ",", thousands: " " }, "bad_total"],
    ["12.50", { decimal: ",", thousands: "'" }, "bad_total"],
    ["12,50", { decimal: "," }, "12.50"],
    ["12.500", { decimal: "," }, "ambiguous_total"],
    ["1250", { cents: true }, "12.50"],
    ["-5", { cents: true }, "-0.05"],
    ["12.50", { cents: true }, "sub_cent_total"],
    ["99999999999999", { cents: true }, "999999999999.99"],
    ["100000000000000", { cents: true }, "bad_total"],
  ] as const)("%j by %j is %s", async (text, notation, expected) => {
    expect(await totalOf(text, notation)).toBe(expected);
  });

  test("is the sum of several cells, to the cent; blank ones count as 0", async () => {
    const form = formOf({ total: { columns: ["Netto", "Steuer", "Trinkgeld"], decimal: "," } });
    const cells = { venue_id: "v", invoice_id: ID, datetime_created: "2026-06-01" };
    const sum = async (Netto: string, Steuer: string, Trinkgeld: string) => {
      const { rows, rejects } = await rowOf({ ...cells, Netto, Steuer, Trinkgeld }, form);
      return rows[0]?.split(/[,;]/)[3] ?? rejects[0]?.slice(1);
    };
    expect(await sum("10,10", "1,92", "")).toBe("12.02");
    expect(await sum("-0,10", "0,10", "0")).toBe("0.00");
    expect(await sum("", "", "")).toEqual(["bad_total", ""]);
    expect(await sum("1", "x", "")).toEqual(["bad_total", "1 x "]);
    // The first reason in the order of all, not the first cell's.
    expect(await sum("1.234", "0,001", "x")).toEqual(["bad_total", "1.234 0,001 x"]);
    expect(await sum("0,001", "1.234", "")).toEqual(["ambiguous_total", "0,001 1.234 "]);
    expect(await sum("999999999999,99", "0,01", "")).toEqual(["bad_total", "999999999999,99 0,01 "]);
  });

  test("has the load's decimal mark, unless the source has one", async () => {
    const text = `venue_id;invoice_id;datetime_created;total\nv;${ID};2026-06-01;12,50\n`;
    expect((await read(text, formOf(), { decimalComma: true })).rejects).toEqual([]);
    const point = formOf({ total: { columns: ["total"], decimal: "." } });
    expect((await read(text, point, { decimalComma: true })).rejects).toEqual([[2, "bad_total", "12,50"]]);
  });
});

describe("text in an encoding", () => {
  const header = "venue_id,invoice_id,datetime_created,total\n";
  const line = (venue: string) => `${venue},${ID},2026-06-01,1.00\n`;
  const row = (venue: string) => `${venue},${ID},2026-06-01T00:00:00,1.00`;

  test.each([
    ["windows-1252", "K\u00f6ln \u20ac\u0161", [0x4b, 0xf6, 0x6c, 0x6e, 0x20, 0x80, 0x9a]],
    ["iso-8859-15", "K\u00f6ln \u20ac\u0161", [0x4b, 0xf6, 0x6c, 0x6e, 0x20, 0xa4, 0xa8]],
    ["utf-8", "K\u00f6ln \u20ac", [...Buffer.from("K\u00f6ln \u20ac")]],
  ] as const)("%s is read", async (encoding, venue, bytes) => {
    const content = Buffer.concat([Buffer.from(header), Buffer.from(bytes), Buffer.from(line(""))]);
    for (const cut of [1, 7, 1000]) {
      expect(await read(content, formOf({ encoding }), { cut })).toMatchObject({
        rows: [row(venue)],
        rejects: [],
      });
    }
  });

  test("UTF-16 is read without a mark where its order is known", async () => {
    const little = Buffer.from(header + line("K\u00f6ln"), "utf16le");
    expect((await read(little, formOf({ encoding: "utf-16le" }), { cut: 3 })).rows).toEqual([
      row("K\u00f6ln"),
    ]);
    const big = Buffer.from(little).swap16();
    expect((await read(big, formOf({ encoding: "utf-16be" }))).rows).toEqual([row("K\u00f6ln")]);
    expect((await read(little, formOf({ encoding: "utf-16" }))).refusal).toBe(
      "the source says utf-16, but it has no byte order mark: say utf-16le or utf-16be. Mend the source's encoding, or save the file anew",
    );
    const marked = Buffer.concat([Buffer.from([0xff, 0xfe]), little]);
    expect((await read(marked, formOf({ encoding: "utf-16" }))).rows).toEqual([row("K\u00f6ln")]);
    expect((await read(marked, formOf({ encoding: "windows-1252" }))).refusal).toMatch(
      /^the source says windows-1252, but it begins with the byte order mark of utf-16le\./,
    );
  });

  test.each([
    ["windows-1252", [0x81], "0x81"],
    ["iso-8859-15", [0x80], "0x80"],
    ["utf-8", [0xf6, 0x6c], "0xf6"],
    ["utf-8", [0xef, 0xbf, 0xbd, 0xc3], "0xc3"],
    ["utf-8", [0xe2, 0x82], "0xe2"],
  ] as const)("that is not %s is refused, with line and byte", async (encoding, bytes, name) => {
    const content = Buffer.concat([
      Buffer.from(header + line("v")),
      Buffer.from(bytes),
      Buffer.from(line("")),
    ]);
    for (const cut of [1, 5, 1000]) {
      const { refusal } = await read(content, formOf({ encoding }), { cut });
      expect(refusal).toBe(
        `line 3: byte ${name} is not ${encoding}, which the source says. Mend the source's encoding, or save the file anew`,
      );
    }
  });

  test("a line before the fault is told first, however the file is cut", async () => {
    for (const encoding of ["windows-1252", "utf-8"] as const) {
      const content = Buffer.concat([Buffer.from("venue_id,total\n"), Buffer.from([0x81, 0x0a])]);
      for (const cut of [1, 1000]) {
        expect((await read(content, formOf({ encoding }), { cut })).refusal).toMatch(
          /^line 1: the header lacks /,
        );
      }
    }
  });

  test("half a character of UTF-16 refuses the file, where the source says UTF-16", async () => {
    const content = Buffer.from(`\ufeff${header}${line("a\ud83d")}`, "utf16le");
    expect((await read(content, formOf())).rejects).toEqual([[2, "bad_encoding", null]]);
    expect((await read(content, formOf({ encoding: "utf-16" }))).refusal).toMatch(
      /^line 2: half a character is not utf-16le, /,
    );
  });

  test.each(["windows-1252", "iso-8859-15"] as const)(
    "UTF-8 is not %s, however it is cut",
    async (encoding) => {
      const content = header + line("K\u00f6ln");
      for (const cut of [1, 2, 3, 49, 1000]) {
        expect((await read(content, formOf({ encoding }), { cut })).refusal).toBe(
          `the source says ${encoding}, but the file is in UTF-8. Mend the source's encoding, or save the file anew`,
        );
      }
      expect((await read(header + line("Koeln"), formOf({ encoding }))).refusal).toBeUndefined();
    },
  );

  test("a character that the end of the file cuts is not UTF-8", async () => {
    const content = Buffer.concat([Buffer.from(header), Buffer.from([0xe2, 0x82])]);
    expect((await read(content, formOf({ encoding: "utf-8" }))).refusal).toMatch(/^line 2: byte 0xe2 /);
  });

  test("any UTF-8 passes, wherever it is cut", async () => {
    const texts = fc
      .string({ unit: "binary", maxLength: 40 })
      .map((text) => text.replace(/[",\p{Cc}\p{Cs}]/gu, ""));
    await fc.assert(
      fc.asyncProperty(texts, fc.integer({ min: 1, max: 30 }), async (venue, cut) => {
        fc.pre(venue.trim() !== "" && !venue.startsWith("\ufeff"));
        const { refusal } = await read(header + line(venue), formOf({ encoding: "utf-8" }), { cut });
        expect(refusal).toBeUndefined();
      }),
    );
  });
});
