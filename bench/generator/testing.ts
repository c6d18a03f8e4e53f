/**
 * An independent, naive reading of generated drops, for tests: it shares no code with the generator, keeps
 * every row in memory, and applies sections 4 and 8 of the design line by line. It knows the forms that the
 * generator writes, not all of section 8.
 */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";

export interface Row {
  readonly venue: string;
  readonly id: string;
  /** `YYYY-MM-DDTHH:MM:SS`. */
  readonly created: string;
  readonly cents: bigint;
  /** The line as it stands in the file, without its end. */
  readonly raw: string;
}

export interface ReadDrop {
  readonly name: string;
  readonly syncedOn: string;
  /** Each data line: a row, or the reason why it is rejected. */
  readonly lines: readonly (Row | string)[];
}

export interface Replay {
  /** Of each drop, in date order. */
  readonly rows: readonly Record<string, number>[];
  readonly rejects: readonly Record<string, number>[];
  readonly late: readonly number[];
  readonly invoices: number;
  readonly cents: bigint;
  readonly totalsCsv: string;
}

/** All drops of a folder by sync date. */
export async function readDrops(folder: string): Promise<ReadDrop[]> {
  const names = (await readdir(folder)).filter((name) => name.startsWith("invoices_")).sort();
  return Promise.all(
    names.map(async (name) => {
      const bytes = await readFile(join(folder, name));
      const syncedOn = name.slice(9, 19);
      const [header, ...lines] = splitLines(name.endsWith(".gz") ? gunzipSync(bytes) : bytes);
      if (header?.toString() !== "venue_id,invoice_id,datetime_created,total")
        throw new Error(`header of ${name}`);
      return { name, syncedOn, lines: lines.map((line) => readLine(line, syncedOn)) };
    }),
  );
}

function splitLines(bytes: Buffer): Buffer[] {
  const lines: Buffer[] = [];
  let start = 0;
  while (start < bytes.length) {
    const end = bytes.indexOf(0x0a, start);
    if (end < 0) throw new Error("the last line has no end");
    lines.push(bytes.subarray(start, bytes[end - 1] === 0x0d ? end - 1 : end));
    start = end + 1;
  }
  return lines;
}

function readLine(bytes: Buffer, syncedOn: string): Row | string {
  let raw: string;
  try {
    raw = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return "bad_encoding";
  }
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused.
  if (/[\x00-\x08\x0a-\x1f\x7f]/.test(raw)) return "bad_encoding";
  const cells = splitCells(raw);
  if (cells === undefined) return "broken_quotes";
  if (cells.length !== 4) return "wrong_column_count";
  const [venue = "", ...rest] = cells;
  const [id = "", created = "", total = ""] = rest.map((cell) => cell.replace(/^[ \t]+|[ \t]+$/g, ""));
  if (venue.trim() === "") return "missing_venue";
  if ([...venue].length > 200) return "venue_too_long";
  const hex = id
    .replace(/^\{(.*)\}$/, "$1")
    .replaceAll("-", "")
    .toLowerCase();
  if (!/^[0-9a-f]{32}$/.test(hex)) return "bad_uuid";
  const instant = readInstant(created);
  if (instant === undefined) return "bad_timestamp";
  const cents = readCents(total);
  if (typeof cents === "string") return cents;
  if (instant.slice(0, 10) < "2000-01-01") return "created_before_earliest";
  if (instant.slice(0, 10) > syncedOn) return "created_after_sync";
  return { venue, id: hex, created: instant, cents, raw };
}

function splitCells(line: string): string[] | undefined {
  const cells: string[] = [];
  let rest = line;
  for (;;) {
    const quoted = /^"((?:[^"]|"")*)"(?=,|$)/.exec(rest);
    const cell = quoted ?? /^[^",]*(?=,|$)/.exec(rest);
    if (cell === null) return undefined;
    cells.push(quoted === null ? cell[0] : (quoted[1] as string).replaceAll('""', '"'));
    if (cell[0].length === rest.length) return cells;
    rest = rest.slice(cell[0].length + 1);
  }
}

function readInstant(text: string): string | undefined {
  const found = /^(\d{4}-\d\d-\d\d)[T ](\d\d):(\d\d)(?::(\d\d)(?:\.0{1,9})?)?$/.exec(text);
  if (found === null) return undefined;
  const instant = `${found[1]}T${found[2]}:${found[3]}:${found[4] ?? "00"}`;
  const time = Date.parse(`${instant}Z`);
  return !Number.isNaN(time) && new Date(time).toISOString().slice(0, 19) === instant ? instant : undefined;
}

function readCents(text: string): bigint | string {
  const found = /^([+-]?)(\d*)(?:\.(\d*))?(?:e([+-]?\d{1,4}))?$/.exec(text);
  const digits = `${found?.[2] ?? ""}${found?.[3] ?? ""}`;
  if (found === null || digits === "") return "bad_total";
  const sign = found[1] === "-" ? -1n : 1n;
  const scale = Number(found[4] ?? 0) - (found[3] ?? "").length + 2;
  if (scale >= 0) {
    const cents = BigInt(digits) * 10n ** BigInt(scale);
    return cents >= 10n ** 14n ? "bad_total" : sign * cents;
  }
  const whole = 10n ** BigInt(-scale);
  const cents = (BigInt(digits) * 2n + whole) / (2n * whole);
  const off = BigInt(digits) - cents * whole;
  return (off < 0n ? -off : off) * 10_000n <= whole ? sign * cents : "sub_cent_total";
}

interface Known {
  readonly row: Row;
}

/** Loads drops in date order into an empty warehouse with time zone UTC. */
export function replayDrops(drops: readonly ReadDrop[]): Replay {
  const warehouse = new Map<string, Known>();
  const reports = drops.map((drop) => loadDrop(drop, warehouse));
  const groups = new Map<string, { venue: string; date: string; invoices: number; cents: bigint }>();
  let cents = 0n;
  for (const { row } of warehouse.values()) {
    const date = row.created.slice(0, 10);
    const group = groups.get(`${row.venue} ${date}`) ?? { venue: row.venue, date, invoices: 0, cents: 0n };
    group.invoices += 1;
    group.cents += row.cents;
    groups.set(`${row.venue} ${date}`, group);
    cents += row.cents;
  }
  const sorted = [...groups.values()].sort(
    (a, b) => Buffer.compare(Buffer.from(a.venue), Buffer.from(b.venue)) || (a.date < b.date ? -1 : 1),
  );
  const lines = sorted.map(
    (group) => `${group.venue},${group.date},${group.invoices},${decimal(group.cents)}\n`,
  );
  return {
    rows: reports.map((report) => report.rows),
    rejects: reports.map((report) => report.rejects),
    late: reports.map((report) => report.late),
    invoices: warehouse.size,
    cents,
    totalsCsv: `venue_id,created_on,invoices,total\n${lines.join("")}`,
  };
}

export function decimal(cents: bigint): string {
  const digits = String(cents < 0n ? -cents : cents).padStart(3, "0");
  return `${cents < 0n ? "-" : ""}${digits.slice(0, -2)}.${digits.slice(-2)}`;
}

function loadDrop(drop: ReadDrop, warehouse: Map<string, Known>) {
  const rows = { read: 0, inserted: 0, corrected: 0, unchanged: 0, superseded: 0, rejected: 0 };
  const rejects: Record<string, number> = {};
  const last = new Map<string, Row>();
  let late = 0;
  for (const line of drop.lines) {
    rows.read += 1;
    if (typeof line === "string") {
      rows.rejected += 1;
      rejects[line] = (rejects[line] ?? 0) + 1;
      continue;
    }
    const key = `${line.created.slice(0, 10)} ${line.venue} ${line.id}`;
    if (last.has(key)) rows.superseded += 1;
    last.set(key, line);
  }
  for (const [key, row] of last) {
    const known = warehouse.get(key);
    if (known === undefined) {
      rows.inserted += 1;
      if (lateness(row, drop.syncedOn) >= 2) late += 1;
    } else if (known.row.cents !== row.cents || known.row.created !== row.created) rows.corrected += 1;
    else rows.unchanged += 1;
    warehouse.set(key, { row });
  }
  return { rows, rejects, late };
}

export function lateness(row: Row, syncedOn: string): number {
  return (Date.parse(syncedOn) - Date.parse(row.created.slice(0, 10))) / 86_400_000;
}
