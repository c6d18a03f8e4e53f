import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { rulesOf } from "../testing/line_rules.ts";
import { unpack } from "./container.ts";
import { DEFAULT_DIALECT } from "./dialect.ts";
import { READ_BYTES } from "./file.ts";
import { inflate, type Unpacked } from "./inflate.ts";
import { readLines } from "./lines.ts";
import { readDropName } from "./name.ts";
import { type ReadEvent, readDrop } from "./read.ts";
import { MAX_LINE_BYTES, type RefusedEvent } from "./refuse.ts";
import { COLUMNS } from "./row.ts";

const RULES = rulesOf({ syncedOn: "2018-07-01" });
const UUID = "a2b4c6d8-1111-4111-8111-00000000000f";
const ROW = `v,${UUID},2018-06-01T12:00:00,1.00`;
const HEADER = COLUMNS.join(",");

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "rollbook-read-"));
});
afterAll(() => rm(folder, { recursive: true }));

/** What a drop comes to, however it was cut into batches. */
interface Reading {
  readonly copy: string;
  readonly rows: number;
  /** Line, reason and raw text (as Latin-1) of each reject. */
  readonly rejects: readonly (readonly [number, string, string])[];
  readonly dialects: readonly Extract<ReadEvent, { kind: "dialect" }>[];
  readonly refusal: RefusedEvent | undefined;
  readonly end: Extract<ReadEvent, { kind: "end" }> | undefined;
}

async function gather(events: AsyncIterable<ReadEvent>): Promise<Reading> {
  const all: ReadEvent[] = [];
  for await (const event of events) all.push(event);
  expect(all[0]?.kind).toBe("dialect");
  const rows = all.filter((event) => event.kind === "rows");
  const copy = Buffer.concat(rows.map((event) => event.copy)).toString("utf8");
  const refusals = all.filter((event) => event.kind === "refused");
  const ends = all.filter((event) => event.kind === "end");
  if (refusals.length + ends.length > 0) expect([...refusals, ...ends]).toEqual([all.at(-1)]);
  expect(copy.split("\n").length - 1).toBe(rows.reduce((sum, event) => sum + event.rows, 0));
  return {
    copy,
    rows: rows.reduce((sum, event) => sum + event.rows, 0),
    rejects: rows.flatMap((event) =>
      event.rejects.map(({ line, reason, raw }) => [line, reason, raw.toString("latin1")] as const),
    ),
    dialects: all.filter((event) => event.kind === "dialect"),
    refusal: refusals[0],
    end: ends[0],
  };
}

async function* chunksOf(...chunks: (string | Buffer)[]): AsyncGenerator<Buffer, void, undefined> {
  for (const chunk of chunks) yield Buffer.from(chunk);
}

async function readText(...chunks: (string | Buffer)[]): Promise<Reading> {
  const text = await unpack({ raw: chunksOf(...chunks), namedGzip: false });
  return gather(readLines({ text, rules: RULES }));
}

async function readFileOf(content: string | Buffer, gzip = false): Promise<Reading> {
  const path = join(folder, gzip ? "drop.csv.gz" : "drop.csv");
  await writeFile(path, content);
  return gather(readDrop({ path, rules: RULES }));
}

describe("the conformance cases:", async () => {
  const root = join(import.meta.dirname, "../testing/conformance");
  interface Case {
    readonly settings: { readonly timeZone: string; readonly earliest: string; readonly dayStarts?: string };
    readonly steps: readonly {
      readonly file: string;
      readonly args: readonly string[];
      readonly expect: {
        readonly outcome: string;
        readonly error?: string;
        readonly rows?: { readonly read: number; readonly rejected: number };
        readonly rejects?: readonly (readonly [number, string])[];
      };
    }[];
  }

  for (const name of await readdir(root)) {
    const { settings, steps }: Case = JSON.parse(await readFile(join(root, name, "case.json"), "utf8"));
    test.each(steps)(`${name} $file is decided line by line`, async ({ file, args, expect: expected }) => {
      const argument = (flag: string) => (args.includes(flag) ? args[args.indexOf(flag) + 1] : undefined);
      const given = argument("--synced-on");
      // In these cases the date of the file is this one.
      const syncedOn = given === "mtime" ? "2018-07-20" : given;
      const drop = readDropName({ fileName: file, syncedOn });
      if (drop.kind === "refused") return expect(drop.code).toBe(expected.error);
      const decimalComma = args.includes("--decimal-comma");
      const syncSlack = Number(argument("--sync-slack") ?? 0);
      const rules = rulesOf({ ...settings, syncedOn: drop.syncedOn, syncSlack, decimalComma });
      const path = join(root, name, "drops", file);
      const reading = await gather(readDrop({ path, rules }));
      if (reading.refusal !== undefined) return expect(reading.refusal.code).toBe(expected.error);
      const content = await readFile(path);
      expect(reading.end?.sha256).toEqual(createHash("sha256").update(content).digest());
      expect(reading.end?.bytes).toBe(content.length);
      if (expected.rows === undefined || expected.rejects === undefined) return;
      expect(reading.rejects.map(([line, reason]) => [line, reason])).toEqual(expected.rejects);
      expect(reading.rows + reading.rejects.length).toBe(expected.rows.read);
      expect(reading.rejects.length).toBe(expected.rows.rejected);
    });
  }

  test("the rows that are taken from the edge drop mean what the drop says", async () => {
    const path = join(root, "edge/drops/edge_2018-07-01.csv");
    const { copy } = await gather(readDrop({ path, rules: RULES }));
    const rows = copy.split("\n").slice(0, -1);
    expect(rows.length).toBe(88);
    const first = (end: string) => `11111111-1111-4111-8111-${end.padStart(12, "0")}`;
    const meant = [
      `v,${first("4")},2018-06-01T00:00:00,1.00`,
      `v,${first("8")},2018-06-01T23:59:59.999999,1.00`,
      `v,${first("11")},2018-06-01T12:00:00-03:30,1.00`,
      `v,${first("76")},2018-06-01T12:00:00,0.15`,
      `v,${first("80")},2018-06-01T12:00:00,12.34`,
      `v,${first("84")},2018-06-01T12:00:00,-999999999999.99`,
      // COPY's text format: a backslash before a backslash, and before the delimiter.
      String.raw`\\N,${first("133")},2018-06-01T12:00:00,1.00`,
      String.raw`a\, "b",${first("148")},2018-06-01T12:00:00,1.00`,
      "v,22222222-2222-4222-8222-222222222207,2018-06-01T12:00:00,1.00",
    ];
    expect(meant.filter((row) => !rows.includes(row))).toEqual([]);
  });
});

describe("lines are numbered as an editor shows them", () => {
  test.each([
    ["LF", "\n"],
    ["CRLF", "\r\n"],
  ])("ended by %s, with empty lines among them", async (_, end) => {
    const lines = ["", "", ROW, "", "bad", ROW, ROW, "", "", "worse", "", ROW];
    const reading = await readText(lines.join(end));
    expect(reading.rejects.map(([line]) => line)).toEqual([5, 10]);
    expect(reading.copy).toBe(`${ROW}\n`.repeat(4));
  });

  test("after a header and a byte order mark", async () => {
    const reading = await readText(`\ufeff\n\r\n${HEADER}\nbad\n${ROW}\r\nbad`);
    expect(reading.rejects.map(([line]) => line)).toEqual([4, 6]);
    expect(reading.rows).toBe(1);
  });
});

describe("a line's end is", () => {
  test("one CR before the LF, no more", async () => {
    const reading = await readText(`${ROW}\r\n${ROW}\r\r\n\r\n\r\r\n`);
    expect(reading.rows).toBe(1);
    expect(reading.rejects).toEqual([
      [2, "bad_encoding", `${ROW}\r`],
      [4, "bad_encoding", "\r"],
    ]);
  });

  test("the end of the file, where a CR is content", async () => {
    expect(await readText(`${ROW}\n${ROW}`)).toMatchObject({ rows: 2, rejects: [] });
    expect(await readText(`${ROW}\n${ROW}\r`)).toMatchObject({
      rows: 1,
      rejects: [[2, "bad_encoding", `${ROW}\r`]],
    });
    expect((await readText("\r")).refusal?.code).toBe("bad_container");
    expect(await readText("\r\n")).toMatchObject({ rows: 0, rejects: [] });
  });
});

describe("a byte order mark", () => {
  test("at the beginning is no part of the first line", async () => {
    const reading = await readText(`\ufeff${ROW}\nbad`);
    expect(reading).toMatchObject({ copy: `${ROW}\n`, rejects: [[2, "wrong_column_count", "bad"]] });
    expect((await readText(`\ufeff${HEADER}\n${ROW}`)).dialects[0]?.dialect.header).toBe(true);
  });

  test("elsewhere is content", async () => {
    const reading = await readText(`\ufeff\ufeff${ROW}\n\ufeff${ROW}\n`);
    expect(reading.copy).toBe(`\ufeff${ROW}\n`.repeat(2));
    expect((await readText(`\n\ufeff${HEADER}`)).refusal?.code).toBe("bad_header");
  });

  test("before the header that comes again is no content", async () => {
    const reading = await readText(`${HEADER}\n${ROW}\n\ufeff${HEADER}\r\n${ROW}\n${HEADER}`);
    expect(reading).toMatchObject({ rows: 2, rejects: [] });
    const twice = await readText(`${HEADER}\n\ufeff\ufeff${HEADER}\n`);
    expect(twice.rejects.map(([line, reason]) => [line, reason])).toEqual([[2, "bad_uuid"]]);
  });
});

test.each([
  ["nothing", ""],
  ["a byte order mark", "\ufeff"],
  ["empty lines", "\n\r\n\n"],
])("a file of %s is a drop of no rows in the default dialect", async (_, content) => {
  const reading = await readFileOf(content);
  expect(reading).toMatchObject({ rows: 0, rejects: [], refusal: undefined });
  const copy = { delimiter: ",", columns: COLUMNS };
  expect(reading.dialects).toEqual([{ kind: "dialect", dialect: DEFAULT_DIALECT, copy }]);
  expect(reading.end).toMatchObject({ bytes: Buffer.byteLength(content) });
});

test("a file of a header alone is a drop of no rows", async () => {
  const reading = await readFileOf("total;venue_id;invoice_id;datetime_created\n");
  expect(reading).toMatchObject({ rows: 0, rejects: [], refusal: undefined });
  const columns = ["total", "venue_id", "invoice_id", "datetime_created"];
  expect(reading.dialects[0]?.copy).toEqual({ delimiter: ";", columns });
});

test("canonical lines pass as they are, without a copy; others are written anew between them, in order", async () => {
  const blank = ROW.replace("T", " ");
  const chunk = Buffer.from(`${ROW}\n${ROW}\n`);
  for await (const event of readLines({ text: chunksOf(chunk), rules: RULES })) {
    if (event.kind === "rows") expect(event.copy.toString()).toBe(chunk.toString());
  }
  const mixed = ["a", "b,", "c", "\\d", "e", "", "f"].map((venue, index) => {
    const row = index % 2 === 0 ? ROW : blank;
    return venue === "" ? "" : `"${venue}"${row.slice(1)}`.replace(/^"([a-z])"/, "$1");
  });
  const reading = await readText(`${mixed.join("\n")}\n`);
  expect(reading.copy.replaceAll(ROW.slice(1), "")).toBe("a\nb\\,\nc\n\\\\d\ne\nf\n");
});

test("rows may be longer than the lines that they are written from", async () => {
  const line = `居酒屋\\,${UUID.replaceAll("-", "")},2018-06-01,1`;
  const row = `居酒屋\\\\,${UUID},2018-06-01T00:00:00,1.00\n`;
  const reading = await readText(`${line}\n`.repeat(1000), `${ROW}\n${line}\n`.repeat(1000));
  expect(reading.copy === row.repeat(1000) + `${ROW}\n${row}`.repeat(1000)).toBe(true);
});

describe("a header is refused", () => {
  test("with its line and what it lacks", async () => {
    const reading = await readText(`\n\nvenue_id,invoice_id,datetime_created\n${ROW}`);
    expect(reading).toMatchObject({ rows: 0, rejects: [], refusal: { code: "bad_header", line: 3 } });
    expect(reading.refusal?.message).toMatch(/^line 3: the header lacks total: name each of/);
  });

  test("by a message that names the drop", async () => {
    const { refusal } = await readFileOf("venue_id,total");
    expect(refusal?.message).toMatch(/^drop\.csv: line 1: the header lacks invoice_id, datetime_created: /);
  });
});

describe("a line of more than 1 MiB", () => {
  const longest = `v,${"x".repeat(MAX_LINE_BYTES - 6)},y,`;
  test("refuses the drop, after the lines before it", async () => {
    for (const end of ["\n", "\r\n", ""]) {
      const reading = await readText(`${ROW}\nbad\n${longest}xx${end}`, end === "" ? "" : ROW);
      expect(reading).toMatchObject({ rows: 1, rejects: [[2, "wrong_column_count", "bad"]] });
      expect(reading.refusal).toMatchObject({ code: "line_too_long", line: 3 });
      expect(reading.refusal?.message).toBe(
        "line 3 is longer than 1048576 bytes: end each record with a line feed",
      );
    }
  });

  test("is refused before its end has been read", async () => {
    let chunks = 0;
    async function* endless() {
      for (;;) {
        chunks++;
        yield Buffer.alloc(READ_BYTES, "x");
      }
    }
    const reading = await gather(readLines({ text: endless(), rules: RULES }));
    expect(reading.refusal).toMatchObject({ code: "line_too_long", line: 1 });
    expect(chunks).toBe(9);
  });

  test("is not many of less that are cut between chunks", async () => {
    const half = "x".repeat(MAX_LINE_BYTES / 2);
    const reading = await readText(`${ROW}\n${half}`, `\n${half}`, `\n${half}`, `\n${half}`);
    expect(reading.refusal).toBeUndefined();
    expect(reading.rejects.length).toBe(4);
  });

  test("is not one of exactly 1 MiB, whatever ends it", async () => {
    for (const end of ["\n", "\r\n", ""]) {
      const reading = await readText(`${ROW}\n${longest}x${end}`);
      expect(reading.refusal).toBeUndefined();
      expect(reading.rejects).toEqual([[2, "bad_uuid", `${longest}x`]]);
    }
    expect((await readText(`\ufeff${ROW}\n${longest}x\r\n`)).rejects.length).toBe(1);
    expect((await readText("x\n".repeat(3), `${longest}xx`)).refusal).toMatchObject({
      code: "line_too_long",
      line: 4,
    });
    expect((await readText(`\ufeff${longest}xx`)).refusal?.code).toBe("line_too_long");
  });

  test("can be one of quotes", async () => {
    const quotes = '"'.repeat(MAX_LINE_BYTES);
    expect((await readText(`${ROW}\n${quotes}\n`)).rejects[0]?.[1]).toBe("wrong_column_count");
    expect((await readText(`${ROW}\nx${quotes.slice(1)}\n`)).rejects[0]?.[1]).toBe("broken_quotes");
    expect((await readText(`${ROW}\n${'"",'.repeat(MAX_LINE_BYTES / 4)}\n`)).rejects[0]?.[1]).toBe(
      "wrong_column_count",
    );
  });
});

describe("wherever the chunks begin and end,", () => {
  const content = Buffer.concat([
    Buffer.from("\ufeff\r\n"),
    Buffer.from(`${ROW}\n居酒屋${ROW}\r\n${ROW.replace("T", " ")}\n\n"é, ""x"""${ROW.slice(1)}\r\n`),
    Buffer.from(`caf\xe9${ROW}\n\r\r\n`, "latin1"),
    Buffer.from(`😀${ROW}\n${ROW.toUpperCase()}\nbad\r\n${ROW}\r`),
  ]);

  test("the events come to the same", async () => {
    const whole = await readText(content);
    expect(whole).toMatchObject({ rows: 6 });
    expect(whole.rejects.map(([line, reason]) => [line, reason])).toEqual([
      [7, "bad_encoding"],
      [8, "bad_encoding"],
      [11, "wrong_column_count"],
      [12, "bad_encoding"],
    ]);
    for (let at = 0; at <= content.length; at++) {
      expect(await readText(content.subarray(0, at), content.subarray(at))).toEqual(whole);
    }
    const single = Array.from(content, (byte) => Buffer.of(byte));
    expect(await readText(...single)).toEqual(whole);
    const cuts = fc.array(fc.nat(content.length), { maxLength: 8 }).map((at) => at.sort((a, b) => a - b));
    await fc.assert(
      fc.asyncProperty(cuts, async (at) => {
        const chunks = [0, ...at].map((from, index) => content.subarray(from, at[index] ?? content.length));
        expect(await readText(...chunks)).toEqual(whole);
      }),
    );
  });

  test("a bad byte spoils its own line only", async () => {
    const good = `居酒屋${ROW}`;
    const bad = Buffer.from(`\xe5\xb1${ROW}\n`, "latin1");
    const reading = await readText(Buffer.concat([Buffer.from(`${good}\n`), bad, Buffer.from(`${good}\n`)]));
    expect(reading.copy).toBe(`${good}\n${good}\n`);
    expect(reading.rejects.map(([line, reason]) => [line, reason])).toEqual([[2, "bad_encoding"]]);
  });
});

describe("a file is taken for what its first bytes say:", () => {
  const bytes = Buffer.from(`\ufeff${HEADER}\r\n居酒屋😀${ROW}\r\n`, "utf16le");
  const row = `居酒屋😀${ROW}\n`;
  test.each([
    ["gzip under the name of a .csv", gzipSync(row), false],
    ["text under the name of a .csv.gz", row, true],
    ["UTF-16", bytes, false],
    ["big-endian UTF-16", Buffer.from(bytes).swap16(), false],
    ["UTF-16 in gzip", gzipSync(bytes), true],
    ["UTF-8 with a mark in gzip", gzipSync(`\ufeff${row}`), true],
  ])("%s", async (_, content, named) => {
    expect(await readFileOf(content, named)).toMatchObject({ copy: row, rejects: [], refusal: undefined });
  });

  test("UTF-16 that is cut anywhere comes to the same", async () => {
    const whole = await readText(bytes);
    for (let at = 0; at <= bytes.length; at++) {
      expect(await readText(bytes.subarray(0, at), bytes.subarray(at))).toEqual(whole);
    }
  });

  test("half a character of UTF-16 spoils its own line only", async () => {
    const half = Buffer.from(`\ufeff${ROW}\nx\ud800${ROW}\ny\udc00${ROW}\n${ROW}\n`, "utf16le");
    const reading = await readText(Buffer.concat([half, Buffer.from("z")]));
    expect(reading.rejects.map(([line, reason]) => [line, reason])).toEqual([
      [2, "bad_encoding"],
      [3, "bad_encoding"],
      [5, "bad_encoding"],
    ]);
    expect(reading.rows).toBe(2);
  });

  test.each([
    ["a zip archive", Buffer.from("PK\u0003\u0004\u0014\u0000")],
    ["an empty zip archive", Buffer.from("PK\u0005\u0006\u0000")],
    ["a PDF", Buffer.from("%PDF-1.7\n")],
    ["an HTML page", Buffer.from(` \r\n\t<!DocType HTML>\n${ROW}\n`)],
    ["an HTML page without a type", Buffer.from(`\ufeff<Html lang="de">\n${ROW}\n`)],
    ["gzip in gzip", gzipSync(gzipSync(row))],
    ["a zip archive in gzip", gzipSync("PK\u0003\u0004")],
    ["lines that end in CR", Buffer.from(`${HEADER}\r${ROW}\r`)],
    ["CR without LF as far as is looked", Buffer.from(`v\r${"x".repeat(65_534)}\n${ROW}\n`)],
  ])("%s is refused", async (_, content) => {
    const reading = await readText(content);
    expect(reading.refusal?.code).toBe("bad_container");
    expect(reading.rows + reading.rejects.length).toBe(0);
  });

  test("an empty file is a drop, but not a gzip file", async () => {
    expect((await readFileOf("", true)).refusal?.code).toBe("truncated");
    expect(await readFileOf("", false)).toMatchObject({ rows: 0, refusal: undefined });
  });
});

describe("a record of several lines", () => {
  const header = `${HEADER},note`;
  const record = (note: string) => `${ROW},"${note}"\n`;

  test("has the number of its first line, and the next one counts on", async () => {
    const reading = await readText(`${header}\n${record("a\n\nb")}bad\n${record("\r\n")}bad\n`);
    expect(reading.rows).toBe(2);
    expect(reading.rejects.map(([line]) => line)).toEqual([5, 8]);
  });

  test("may have 100 lines and 64 KiB; beyond that its first line alone is broken", async () => {
    expect(await readText(`${header}\n${record("\n".repeat(99))}`)).toMatchObject({ rows: 1, rejects: [] });
    const long = await readText(`${header}\n${record("\n".repeat(100))}`);
    expect(long.rejects.map(([line, reason]) => [line, reason])).toEqual([
      [2, "broken_quotes"],
      [102, "broken_quotes"],
    ]);
    const room = 64 * 1024 - Buffer.byteLength(record("\n")) + 1;
    expect((await readText(`${header}\n${record(`\n${"x".repeat(room)}`)}`)).rows).toBe(1);
    expect((await readText(`${header}\n${record(`\n${"x".repeat(room + 1)}`)}`)).rows).toBe(0);
    // A record of one line may be longer.
    expect((await readText(`${header}\n${record("x".repeat(room + 100))}`)).rows).toBe(1);
  });

  test("that is not closed costs its first line, and reading goes on with the next", async () => {
    const reading = await readText(`${header}\n${ROW},"open\n${ROW},\n${record("a\nb")}${ROW},"again`);
    expect(reading.rows).toBe(2);
    expect(reading.rejects.map(([line, reason]) => [line, reason])).toEqual([
      [2, "broken_quotes"],
      [6, "broken_quotes"],
    ]);
  });

  test("does not reach over the header", async () => {
    const reading = await readText(`"Umsatz\n${header}\n${record("a\nb")}`);
    expect(reading.rows).toBe(1);
    expect(reading.rejects.map(([line, reason]) => [line, reason])).toEqual([[1, "broken_quotes"]]);
  });

  test("comes to the same wherever the chunks begin and end", async () => {
    const content = Buffer.from(
      `\ufeffsep=,\r\n\r\ntitle\r\n${header}\r\n${record('ä\r\n""b""\n')}${ROW},"open\n${ROW},\n,,,,\n${header}\n${record("x\n\n")}`,
    );
    const whole = await readText(content);
    expect(whole).toMatchObject({ rows: 3 });
    expect(whole.rejects.map(([line]) => line)).toEqual([3, 8]);
    for (let at = 0; at <= content.length; at++) {
      expect(await readText(content.subarray(0, at), content.subarray(at))).toEqual(whole);
    }
    expect(await readText(...Array.from(content, (byte) => Buffer.of(byte)))).toEqual(whole);
  });
});

describe("a gzip drop", () => {
  const text = `${ROW}\n`.repeat(20_000);
  test("is read like the file in it, and hashed as it is", async () => {
    const content = gzipSync(text);
    const reading = await readFileOf(content, true);
    expect(reading).toMatchObject({ rows: 20_000, refusal: undefined, end: { bytes: content.length } });
    expect(reading.copy === text).toBe(true);
    expect(reading.end?.sha256).toEqual(createHash("sha256").update(content).digest());
  });

  test("may have several members, empty ones too, wherever the lines are cut", async () => {
    const members = [text.slice(0, 1000), "", text.slice(1000, 1001), text.slice(1001)].map((part) =>
      gzipSync(part),
    );
    const reading = await readFileOf(Buffer.concat(members), true);
    expect(reading).toMatchObject({ rows: 20_000, refusal: undefined });
    const many = Buffer.concat(Array.from({ length: 2000 }, () => gzipSync(`${ROW}\n`)));
    expect(await readFileOf(many, true)).toMatchObject({ rows: 2000, refusal: undefined });
  });

  test("may hold nothing", async () => {
    expect(await readFileOf(gzipSync(""), true)).toMatchObject({ rows: 0, refusal: undefined });
  });

  const whole = gzipSync(`${ROW}\n`);
  test.each<[string, Buffer]>([
    ["is empty", Buffer.alloc(0)],
    ["is cut within the header", whole.subarray(0, 5)],
    ["is cut after the header", whole.subarray(0, 10)],
    ["is cut within the data", whole.subarray(0, whole.length - 12)],
    ["is cut within the check sum", whole.subarray(0, whole.length - 7)],
    ["lacks its last byte", whole.subarray(0, -1)],
    ["has a wrong check sum", Buffer.concat([whole.subarray(0, -8), Buffer.alloc(4), whole.subarray(-4)])],
    ["has a wrong length", Buffer.concat([whole.subarray(0, -4), Buffer.alloc(4, 1)])],
    ["is followed by zeros", Buffer.concat([whole, Buffer.alloc(10)])],
    ["is followed by many zeros", Buffer.concat([whole, Buffer.alloc(3 * READ_BYTES)])],
    ["is followed by text", Buffer.concat([whole, Buffer.from("text")])],
    ["is followed by the beginning of a member", Buffer.concat([whole, whole.subarray(0, 1)])],
    ["is followed by a member that is cut", Buffer.concat([whole, whole.subarray(0, -1)])],
  ])("that %s is refused", async (_, content) => {
    const reading = await readFileOf(content, true);
    expect(reading.refusal?.code).toBe("truncated");
    expect(reading.refusal?.message).toMatch(
      /^drop\.csv\.gz: not a whole gzip stream \(.+\): hand the drop over again/,
    );
    expect(reading.end).toBeUndefined();
  });

  test("that is cut yields its whole lines before it is refused, the same every time", async () => {
    const noise = Array.from({ length: 50_000 }, (_, index) => {
      const hash = createHash("md5").update(String(index)).digest("hex");
      return `${hash},${UUID},2018-06-01T12:00:00,1.00\n`;
    }).join("");
    const content = gzipSync(noise);
    for (const share of [0.2, 0.6, 0.99]) {
      const cut = content.subarray(0, Math.floor(content.length * share));
      const reading = await readFileOf(cut, true);
      expect(reading.refusal?.code).toBe("truncated");
      expect(reading.rows).toBeGreaterThan(50_000 * share * 0.9);
      expect(noise.startsWith(reading.copy)).toBe(true);
      expect(await readFileOf(cut, true)).toEqual(reading);
    }
  });

  test("comes out the same wherever its bytes are cut into chunks, and so does its refusal", async () => {
    const members = Buffer.concat([whole, whole]);
    const damaged = Buffer.concat([members, Buffer.alloc(3)]);
    for (let at = 0; at <= members.length; at++) {
      const good = await inflated(chunksOf(members.subarray(0, at), members.subarray(at)));
      expect(good).toEqual({ text: `${ROW}\n${ROW}\n`, refused: false });
      const bad = await inflated(chunksOf(damaged.subarray(0, at), damaged.subarray(at)));
      expect(bad).toEqual({ text: `${ROW}\n${ROW}\n`, refused: true });
    }
  });

  test("that inflates too far is refused, after what came out before; up to there it may be small or dense", async () => {
    const bomb = gzipSync(Buffer.alloc(1_000_000, `${ROW}\n`));
    const limit = { bytes: 300_000, times: 100 };
    const pieces: (Buffer | RefusedEvent)[] = [];
    for await (const piece of inflate(chunksOf(bomb), limit)) pieces.push(piece);
    const refusal = pieces.pop();
    expect(refusal).toMatchObject({ kind: "refused", code: "inflates_too_far" });
    expect(pieces.every(Buffer.isBuffer)).toBe(true);
    const out = pieces.filter(Buffer.isBuffer).reduce((sum, { length }) => sum + length, 0);
    expect(out).toBeGreaterThan(100_000);
    expect(out).toBeLessThanOrEqual(Math.max(limit.bytes, limit.times * bomb.length));
    for (const enough of [
      { bytes: 1_000_000, times: 1 },
      { bytes: 0, times: 1000 },
    ]) {
      let whole = 0;
      for await (const piece of inflate(chunksOf(bomb), enough)) {
        if (Buffer.isBuffer(piece)) whole += piece.length;
        else throw new Error(piece.message);
      }
      expect(whole).toBe(1_000_000);
    }
  });

  async function inflated(raw: AsyncIterable<Buffer>) {
    const chunks: Buffer[] = [];
    let refused = false;
    for await (const chunk of inflate(raw)) {
      expect(refused).toBe(false);
      if (Buffer.isBuffer(chunk)) chunks.push(chunk);
      else refused = true;
    }
    return { text: Buffer.concat(chunks).toString(), refused };
  }
});

describe("memory stays small:", () => {
  test("batches are bounded, and empty lines make none", async () => {
    const path = join(folder, "batches.csv");
    await writeFile(path, `${ROW}\n`.repeat(20_000) + "\n".repeat(500_000) + "x\n".repeat(200_000));
    let batches = 0;
    let lines = 0;
    for await (const event of readDrop({ path, rules: RULES })) {
      if (event.kind !== "rows") continue;
      batches++;
      lines += event.rows + event.rejects.length;
      expect(event.copy.length).toBeLessThan(2 * READ_BYTES);
      expect(event.rejects.length).toBeLessThan(READ_BYTES);
    }
    expect(lines).toBe(220_000);
    expect(batches).toBeLessThan(20);
  });

  test("a gzip drop that inflates a thousand times is read in pieces", async () => {
    const path = join(folder, "bomb.csv.gz");
    const row = `${ROW}\n`;
    await writeFile(path, gzipSync(row.repeat(1_000_000)));
    let largest = 0;
    let rows = 0;
    for await (const event of readDrop({ path, rules: RULES })) {
      if (event.kind !== "rows") continue;
      rows += event.rows;
      largest = Math.max(largest, event.copy.length);
    }
    expect(rows).toBe(1_000_000);
    expect(largest).toBeLessThan(2 * READ_BYTES);
  });

  test("rejects keep no batch in memory", async () => {
    const path = join(folder, "rejects.csv");
    await writeFile(path, `bad\n${`${ROW}\n`.repeat(5000)}`);
    for await (const event of readDrop({ path, rules: RULES })) {
      for (const { raw } of event.kind === "rows" ? event.rejects : []) {
        expect(raw.toString()).toBe("bad");
        expect(raw.buffer.byteLength).toBeLessThan(READ_BYTES / 4);
      }
    }
  });

  test("rows that were yielded are not written over by later ones", async () => {
    const path = join(folder, "kept.csv");
    const lines = Array.from(
      { length: 20_000 },
      (_, index) => `${index}${index % 3 === 0 ? ROW.replace("T", " ") : ROW}`,
    );
    await writeFile(path, `${lines.join("\r\n")}\r\n`);
    const kept: Buffer[] = [];
    for await (const event of readDrop({ path, rules: RULES })) {
      if (event.kind === "rows") kept.push(event.copy);
    }
    expect(Buffer.concat(kept).toString()).toBe(`${lines.join("\n").replaceAll(" ", "T")}\n`);
  });
});

describe("reading stops", () => {
  const openFiles = async () => {
    const names = await readdir("/proc/self/fd");
    return names.length;
  };
  const settle = () => new Promise((resolve) => setTimeout(resolve, 50));

  test.each([false, true])("when the signal says so (gzip: %s), and the file is closed", async (gzip) => {
    const path = join(folder, "abort.csv");
    const text = `${ROW}\n`.repeat(50_000);
    await writeFile(path, gzip ? gzipSync(text) : text);
    const before = await openFiles();
    const control = new AbortController();
    let batches = 0;
    const reading = (async () => {
      for await (const event of readDrop({ path, rules: RULES, signal: control.signal })) {
        if (event.kind === "rows" && ++batches === 2) control.abort("enough");
      }
    })();
    await expect(reading).rejects.toMatchObject({ name: "RollbookError", code: "aborted", cause: "enough" });
    expect(batches).toBe(2);
    await settle();
    expect(await openFiles()).toBe(before);
  });

  test.each([false, true])("when nobody wants more (gzip: %s), and the file is closed", async (gzip) => {
    const path = join(folder, "leave.csv");
    const text = `${ROW}\n`.repeat(50_000);
    await writeFile(path, gzip ? gzipSync(text) : text);
    const before = await openFiles();
    for await (const event of readDrop({ path, rules: RULES })) {
      if (event.kind === "rows") break;
    }
    await settle();
    expect(await openFiles()).toBe(before);
  });

  test("at once with a signal that was given before", async () => {
    const path = join(folder, "never.csv");
    await writeFile(path, ROW);
    const reading = gather(readDrop({ path, rules: RULES, signal: AbortSignal.abort() }));
    await expect(reading).rejects.toMatchObject({ code: "aborted" });
  });

  test("at a file that cannot be read", async () => {
    const path = join(folder, "absent.csv");
    const reading = gather(readDrop({ path, rules: RULES }));
    await expect(reading).rejects.toMatchObject({ code: "file_unreadable" });
    await expect(gather(readDrop({ path: folder, rules: RULES }))).rejects.toThrow(/EISDIR/);
  });

  test("with the error that its source throws", async () => {
    async function* broken(): Unpacked {
      yield Buffer.from(`${ROW}\n`);
      throw new Error("the disk is gone");
    }
    await expect(gather(readLines({ text: broken(), rules: RULES }))).rejects.toThrow("the disk is gone");
  });
});

test("the bytes of the file are reported as they are read", async () => {
  const path = join(folder, "reported.csv.gz");
  const content = gzipSync(ROW);
  await writeFile(path, content);
  const reported: number[] = [];
  await gather(readDrop({ path, rules: RULES, onBytes: (bytes) => reported.push(bytes) }));
  expect(reported).toEqual([content.length]);
});
