/** What `inspect --suggest` writes loads the file that it was written for. */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { createTestDatabase } from "../../../db/testing/database.ts";
import { makeFolder } from "../../../db/testing/folder.ts";
import { parseSource } from "../../sources/parse.ts";
import { jsonLines, rollbook, rollbookHere } from "../../testing/cli.ts";
import { invoiceId } from "../../testing/lines.ts";

const NOWHERE = { PGHOST: "/nowhere/at/all", PGUSER: "nobody" };
const ROWS = 60;

/** Lines of the sender's file: `line(n)` for each of them. */
function linesOf(head: readonly string[], line: (n: number) => string, end = "\n"): string {
  return [...head, ...Array.from({ length: ROWS }, (_, n) => line(n))].map((one) => one + end).join("");
}

const two = (n: number) => String(n).padStart(2, "0");
/** Whole euros of the nth invoice, and their sum. */
const euros = (n: number) => 37 * n;
const SUM = "65490.00";

function latin1(text: string): Buffer {
  return Buffer.from(text.replaceAll("€", "\u0080"), "latin1");
}

/** 1234.5 as `1.234,50`. */
function german(value: number): string {
  const [whole = "", cents = ""] = value.toFixed(2).split(".");
  return `${whole.replace(/\B(?=(\d{3})+$)/g, ".")},${cents}`;
}

/** 1234 as `1'234`. */
function swiss(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, "'");
}

interface Made {
  readonly file: string;
  readonly content: string | Buffer;
  /** Lines of the YAML. */
  readonly says: readonly string[];
}

const MADE: Readonly<Record<string, Made>> = {
  "windows-1252, semicolons, decimal commas, German dates": {
    file: "kasse_2026-10-05.csv",
    content: latin1(
      linesOf(
        ["Filiale;Bon-ID;Datum;Netto;Betrag"],
        (n) =>
          `Köln ${n % 3};${invoiceId(n)};${two(1 + (n % 28))}.09.2026 ${two(n % 24)}:15:00;0,00;${german(euros(n))} €`,
        "\r\n",
      ),
    ),
    says: [
      "encoding: windows-1252",
      'delimiter: ";"',
      "  venue_id: Filiale",
      "  total: Betrag",
      '  decimal: ","',
      '  thousands: "."',
    ],
  },
  "American dates with AM and PM": {
    file: "us_2026-10-05.csv",
    content: linesOf(
      ["Store ID,Order ID,Created At,Tax,Total"],
      (n) =>
        `S${n % 4},${invoiceId(n)},9/${1 + (n % 28)}/2026 ${1 + (n % 12)}:05 ${n % 2 ? "AM" : "PM"},0.5,"${euros(n)}.00"`,
    ),
    says: ["  format: M/d/yyyy h:mm a", "  venue_id: Store ID", "  invoice_id: Order ID"],
  },
  "seconds since 1970, cents and |": {
    file: "epoch_2026-10-05.csv",
    content: linesOf(
      ["shop_id|transaction_no|timestamp|amount_cents"],
      (n) => `${n % 4}|${n}|${1_790_000_000 + n * 100}|${euros(n) * 100}`,
    ),
    says: ["  epoch_seconds: true", "  cents: true", "  uuid5_of: [shop_id, transaction_no]"],
  },
  "milliseconds since 1970": {
    file: "millis_2026-10-05.csv",
    content: linesOf(
      ["branch,uuid,created,gross"],
      (n) => `${n % 4},${invoiceId(n)},${1_790_000_000_123 + n * 100_000},${euros(n)}`,
    ),
    says: ["  epoch_milliseconds: true"],
  },
  "date and time in two columns": {
    file: "zwei_2026-10-05.csv",
    content: linesOf(
      ["Standort,Rechnungs-ID,Datum,Uhrzeit,Bruttoumsatz"],
      (n) => `M${n % 2},${invoiceId(n)},2026/09/${two(1 + (n % 28))},${n % 24}:07,${euros(n)}.00`,
    ),
    says: ["  datetime_created: [Datum, Uhrzeit]", "  format: yyyy/MM/dd H:mm"],
  },
  "numbers of receipts that begin again each day, below three lines": {
    file: "bericht_2026-10-05.csv",
    content: linesOf(
      ["Kassenbericht", "Erstellt am 05.10.2026;von Meier", "", "Filiale;Bon-Nr.;Datum;Zeit;Umsatz"],
      (n) => `F;${n % 3};${two(1 + Math.floor(n / 3))}.09.2026;12:${two(n)};${euros(n)},00`,
    ),
    says: ["skip: 3", "  uuid5_of: [Filiale, Datum, Bon-Nr.]", '  decimal: ","'],
  },
  "tabs, without a header": {
    file: "tabs_2026-10-05.txt",
    content: linesOf(
      [],
      (n) => `F${n % 4}\t${invoiceId(n)}\t${two(1 + (n % 28))}-Sep-2026 12:00:01\t${euros(n)}.00`,
    ),
    says: ["delimiter: tab", "header: false", "  invoice_id: 2", "  format: dd-MMM-yyyy HH:mm:ss"],
  },
  "UTF-16 without a mark, in gzip": {
    file: "sechzehn_2026-10-05.csv.gz",
    content: gzipSync(
      Buffer.from(
        linesOf(
          ["Filiale;Beleg-UUID;Verkaufszeitpunkt;Summe"],
          (n) => `Köln;${invoiceId(n)};2026-09-${two(1 + (n % 28))} 12:00;${euros(n)}.00`,
        ),
        "utf16le",
      ),
    ),
    says: ["encoding: utf-16le"],
  },
  "thousands and names that must be quoted": {
    file: "thousands.csv",
    content: linesOf(
      ["# store: [id],invoice-id,when created?,'total: *'"],
      (n) => `shop ${n % 2},${invoiceId(n)},2026-09-01T12:00:00Z,${swiss(euros(n))}`,
    ),
    says: ["synced_on: mtime", `  thousands: "'"`],
  },
};

async function suggest(folder: string, file: string): Promise<string> {
  const run = await rollbook(["inspect", "--suggest", file], { environment: NOWHERE, folder });
  expect(run).toMatchObject({ code: 0, stderr: "" });
  const parsed = parseSource({ name: "it", file: "it.yaml", bytes: Buffer.from(run.stdout) });
  expect(parsed).toMatchObject({ kind: "source" });
  return run.stdout;
}

function write(folder: string, name: string, content: string | Buffer): void {
  const path = join(folder, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
}

describe("the source that is suggested loads the file without rejects", () => {
  test.each(Object.entries(MADE))("%s", async (_, { file, content, says }) => {
    const folder = makeFolder();
    write(folder, `inbox/${file}`, content);
    const yaml = await suggest(folder, `inbox/${file}`);
    expect(yaml.split("\n")).toEqual(expect.arrayContaining([...says]));
    expect(yaml).toContain(`# Lines read by this: ${ROWS}; rejected: 0; total: ${SUM}.\n`);
    expect(yaml).not.toContain("???");
    write(folder, "sources/it.yaml", yaml);
    const seen = await rollbook(["inspect", "--json", `inbox/${file}`], { environment: NOWHERE, folder });
    expect(seen).toMatchObject({ code: 0, stderr: "" });
    expect(jsonLines(seen.stdout)).toMatchObject([
      { source: { name: "it" }, rows: { read: ROWS, taken: ROWS } },
    ]);
    const { environment, query } = await createTestDatabase();
    const { stdout } = await rollbookHere(["load", "--json", `inbox/${file}`], { environment, folder });
    expect(jsonLines(stdout)[0]).toMatchObject({ outcome: "loaded", rows: { inserted: ROWS, rejected: 0 } });
    expect(await query("select sum(total)::text from reports.venue_daily_totals")).toEqual([{ sum: SUM }]);
  });
});

test("a file of the drop format needs no source", async () => {
  const folder = makeFolder();
  const lines = linesOf([], (n) => `v,${invoiceId(n)},2026-09-01,${n}.00`);
  write(folder, "a_2026-10-05.csv", lines);
  const yaml = await suggest(folder, "a_2026-10-05.csv");
  expect(yaml).toMatch(/^# No source is needed: a_2026-10-05\.csv is written as the drop format has it/);
});

test("where day and month cannot be told apart, that is said", async () => {
  const folder = makeFolder();
  const header = "store,invoice_id,date,total\n";
  const rows = [1, 2, 3, 4, 5].map((n) => `s,${invoiceId(n)},0${n}/09/2026 12:00,1.00\n`);
  write(folder, "a_2026-10-05.csv", header + rows.join(""));
  expect(await suggest(folder, "a_2026-10-05.csv")).toContain(
    "\n# UNDECIDED: MM/dd/yyyy HH:mm reads the sample, too. Which is the day, and which the month?\n",
  );
  write(folder, "a_2026-10-05.csv", `${header}${rows.join("")}s,${invoiceId(6)},13/09/2026 12:00,1.00\n`);
  expect(await suggest(folder, "a_2026-10-05.csv")).not.toContain("UNDECIDED");
});

test("what cannot be found is asked, with the columns that there are", async () => {
  const folder = makeFolder();
  write(folder, "a_2026-10-05.csv", "a,b,c,d\nx,y,z,w\nx,y,z,w\nx,1,z,w\n");
  const yaml = await suggest(folder, "a_2026-10-05.csv");
  expect(yaml).toContain("\n# venue_id: ???  which of: a, b, c, d\n");
  expect(yaml).toContain("\n# datetime_created: ???  which of: a, b, c, d\n");
  for (const content of ["", "\n\n", "just one line", "PK\u0003\u0004", "a,b\n", '"a\n'.repeat(200)]) {
    write(folder, "b.csv", content);
    expect(await suggest(folder, "b.csv")).toContain("\nfiles: b.csv\n");
  }
});

test("one bad line of many does not hide what the others show", async () => {
  const folder = makeFolder();
  const lines = linesOf(["Store;Receipt No;Date;Amount"], (n) =>
    n === 50 ? "TOTAL;;;4,00" : `s;${n};${two(1 + (n % 28))}.09.2026;${n},00`,
  );
  write(folder, "a_2026-10-05.csv", lines);
  const yaml = await suggest(folder, "a_2026-10-05.csv");
  expect(yaml).toContain("\n# Lines read by this: 60; rejected: 1; total: 1720.00.\n");
  expect(yaml).toContain("\n# Rejected: 1 bad_uuid (invoice_id), line 52: ");
});

test("hostile text stays text: in names, in values, and in the file's own name", async () => {
  const folder = makeFolder();
  const name = "a\u001b[2J\n# x: {y}_2026-10-05.csv";
  const hostile = "Filiale \u202e\u001b[31m: [\u0085";
  write(
    folder,
    name,
    linesOf(
      [`${hostile},Bon-ID,Datum,"Summe ""x"" \\\\ #"`],
      (n) => `\u200b\u2028v\u009b,${invoiceId(n)},13/09/2026,1.00`,
    ),
  );
  const yaml = await suggest(folder, name);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  expect(yaml).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u200b\u2028\u202e]/);
  expect(yaml).toContain("  format: dd/MM/yyyy\n");
});

test("it can be written into the folder of sources, where the shell has made the file already", async () => {
  const folder = makeFolder();
  write(folder, "inbox/sumup/a_2026-10-05.csv", "store;id;date;total\n1;2;2026-10-05;3,00\n");
  write(folder, "sources/sumup.yaml", "");
  expect(await suggest(folder, "inbox/sumup/a_2026-10-05.csv")).toContain("\nfiles: sumup/a_*.csv\n");
});

test("the glob is that of the folder below the inbox, with * for dates and numbers", async () => {
  const folder = makeFolder();
  write(folder, "in/sumup/[x] 2026-10-05_1230.csv", "a,b,c,d\n1,2,3,4\n");
  const { stdout } = await rollbook(
    ["inspect", "--suggest", "--inbox", "in", "in/sumup/[x] 2026-10-05_1230.csv"],
    { environment: NOWHERE, folder },
  );
  expect(stdout).toContain('\nfiles: "sumup/?x? *.csv"\n');
});
