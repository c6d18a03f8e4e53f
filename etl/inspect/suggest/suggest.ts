/** Guesses a source for a file: the text of its YAML, with the reasons as comments, to be mended by hand. */
import { stat } from "node:fs/promises";
import { basename } from "node:path";
import { toDate } from "../../../db/dates.ts";
import { readDropName } from "../../drop/name.ts";
import { createZoneCalendar } from "../../drop/zone_calendar.ts";
import { describeReason } from "../../load/reasons.ts";
import { parseSource } from "../../sources/parse.ts";
import { type Inspection, type InspectOptions, inspectFile } from "../inspect.ts";
import { guessColumns, writeColumns } from "./columns.ts";
import { globFor } from "./globs.ts";
import { guessLayout, type Layout } from "./layout.ts";
import { readSample, type Sample } from "./sample.ts";
import { writeComment, writeScalar } from "./yaml.ts";

export interface SuggestOptions extends Omit<InspectOptions, "source"> {
  /** The path of the file below its inbox, with `/`, where that is known. */
  readonly pathInInbox?: string | undefined;
}

/**
 * Reads a file, and writes a source for it. What cannot be guessed is a comment; the text can be parsed in any case.
 *
 * @throws RollbookError `file_unreadable`, `aborted`
 */
export async function suggestSource(options: SuggestOptions): Promise<string> {
  const plain = await inspectFile(options);
  if (isDropFormat(plain)) return writeNoSource(options, plain);
  const sample = await readSample(options);
  const layout = guessLayout(sample);
  if (layout === undefined) return writeNothing(options, plain);
  const keys = [
    ...writeFiles(options),
    ...writeLayout(sample, layout),
    ...writeColumns(guessColumns(layout, { lastDay: await findLastDay(options) })),
    ...writeSyncDate(options),
  ];
  return [...INTRODUCTION(options), ...(await tryOut(options, keys)), "", ...keys, ""].join("\n");
}

const INTRODUCTION = ({ path }: SuggestOptions) => [
  writeComment(
    `A guess for ${basename(path)} by rollbook inspect --suggest. Read it through, mend it, and save it as`,
  ),
  writeComment("NAME.yaml in the folder of sources (docs/sources.md has all keys)."),
];

/** Whether a file is read as it is; a missing sync date is no question of how it is written. */
function isDropFormat({ refusal, rows }: Inspection): boolean {
  const isRead = refusal === null || refusal.code === "no_sync_date" || refusal.code === "not_csv";
  return isRead && rows.taken > 0 && rows.rejected === 0;
}

function writeNoSource(options: SuggestOptions, { dialect, rows, refusal }: Inspection): string {
  return [
    writeComment(
      `No source is needed: ${basename(options.path)} is written as the drop format has it (docs/design.md).`,
    ),
    writeComment(`Lines read: ${rows.read}; rejected: 0.`),
    ...(refusal === null ? [] : [writeComment(`But it would be rejected: ${refusal.message}`)]),
    writeComment("This source would read it just as well:"),
    ...writeFiles(options),
    ...(dialect?.header === false ? ["header: false"] : []),
    ...(options.decimalComma === true ? ["total:", '  decimal: ","'] : []),
    ...writeSyncDate(options),
    "",
  ].join("\n");
}

function writeNothing(options: SuggestOptions, { refusal }: Inspection): string {
  return [
    writeComment(`Nothing in ${basename(options.path)} looks like a table of two columns or more.`),
    ...(refusal === null ? [] : [writeComment(`${refusal.code}: ${refusal.message}`)]),
    ...writeFiles(options),
    "",
  ].join("\n");
}

function writeFiles({ path, pathInInbox }: SuggestOptions): readonly string[] {
  const glob = globFor(pathInInbox ?? basename(path));
  return [writeComment("Which files: * stands for what differs."), `files: ${writeScalar(glob)}`];
}

function writeLayout({ encoding }: Sample, layout: Layout): readonly string[] {
  const { delimiter, skip, header, records, others, width } = layout;
  const lines: string[] = [];
  if (encoding?.encoding !== undefined) {
    lines.push(writeComment(`It is not UTF-8: ${encoding.because}.`), `encoding: ${encoding.encoding}`);
  } else if (encoding !== undefined) {
    lines.push(writeComment(`encoding: ???  ${encoding.because}.`));
  }
  const all = records + others;
  lines.push(
    writeComment(`Of the first ${all} records ${records} have ${width} columns with it.`),
    `delimiter: ${delimiter === "\t" ? "tab" : JSON.stringify(delimiter)}`,
  );
  if (skip > 0)
    lines.push(writeComment(`What stands above the ${header ? "header" : "records"}.`), `skip: ${skip}`);
  if (!header)
    lines.push(
      writeComment("The first line holds values and no names, so columns are numbers."),
      "header: false",
    );
  return lines;
}

function writeSyncDate({ path }: SuggestOptions): readonly string[] {
  const name = readDropName({ fileName: basename(path), anyEnding: true });
  if (name.kind === "named") {
    return [writeComment(`The sync date is that of the file's name: ${name.syncedOn}.`)];
  }
  return [
    writeComment(
      "The name holds no sync date that can be read, so it is the date of the file's last change. Or name its place:",
    ),
    writeComment(String.raw`synced_on: {from: name, pattern: '(?<year>\d{4})(?<month>\d\d)(?<day>\d\d)'}`),
    "synced_on: mtime",
  ];
}

/** The last day that there can be in it: the sync date, or the day of its last change. */
async function findLastDay({ path, settings, syncedOn }: SuggestOptions): Promise<string | undefined> {
  const name = readDropName({ fileName: basename(path), anyEnding: true });
  if (syncedOn !== undefined && syncedOn !== "mtime") return syncedOn;
  if (name.kind === "named") return name.syncedOn;
  return toDate(createZoneCalendar(settings).wallDayOf((await stat(path)).mtime));
}

/** Reads the file by the guess, and says what comes of it. */
async function tryOut(options: SuggestOptions, keys: readonly string[]): Promise<readonly string[]> {
  const bytes = Buffer.from(keys.join("\n"));
  const parsed = parseSource({ name: "suggested", file: "suggested.yaml", bytes });
  if (parsed.kind === "refused") return parsed.faults.map((fault) => writeComment(fault));
  const { name, sha256, form, syncedOn } = parsed.source;
  const source = { name, sha256, form, ...(syncedOn && { syncedOn: "mtime" }) };
  const { refusal, rows, reasons, total } = await inspectFile({ ...options, source });
  if (keys.some((line) => line.includes(": ???"))) {
    return [writeComment("It is not complete: fill in the lines with ???, and take the # away.")];
  }
  if (refusal !== null && rows.read === 0) {
    return [writeComment(`As it stands it cannot be read by this: ${refusal.message}`)];
  }
  return [
    writeComment(`Lines read by this: ${rows.read}; rejected: ${rows.rejected}; total: ${total}.`),
    ...(refusal === null ? [] : [writeComment(`The file would be rejected: ${refusal.message}`)]),
    ...reasons.map((reason) => writeComment(`Rejected: ${describeReason(reason)}`)),
  ];
}
