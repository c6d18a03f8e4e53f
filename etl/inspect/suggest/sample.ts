/** The beginning of a file's text, from which a source is guessed. */
import { type Delimiter, splitRecord } from "../../drop/cells.ts";
import { readSeparator } from "../../drop/dialect.ts";
import type { Encoding } from "../../drop/form.ts";
import { findRecordEnd } from "../../drop/records.ts";
import { decodeHead, readHead } from "../head.ts";
import { findLikelyEncoding, type LikelyEncoding } from "../likely_encoding.ts";

/** So much of a file is looked at, unpacked: some thousand records. */
const SAMPLE_BYTES = 1024 * 1024;
const MOST_RECORDS = 5000;

const LF = 0x0a;
const CR = 0x0d;

export interface Sample {
  /** UTF-8; whole lines, but for the last where the file ends there. */
  readonly text: Buffer;
  /** What a source must say of the encoding; undefined: nothing. */
  readonly encoding: LikelyEncoding | undefined;
}

export async function readSample(options: {
  readonly path: string;
  readonly signal?: AbortSignal | undefined;
}): Promise<Sample> {
  const head = await readHead({ ...options, bytes: SAMPLE_BYTES });
  const likely = head.marked === undefined ? await findLikelyEncoding(options) : undefined;
  const encoding: Encoding = head.marked ?? likely?.encoding ?? "utf-8";
  const decoded = Buffer.from(decodeHead(head, encoding));
  const text = head.whole ? Buffer.concat([decoded, Buffer.of(LF)]) : decoded;
  return {
    text: text.subarray(0, text.lastIndexOf(LF) + 1),
    encoding: likely?.encoding === "utf-8" ? undefined : likely,
  };
}

export interface SampleRecord {
  /** Its first line, from 1. */
  readonly line: number;
  readonly cells: readonly string[];
}

/** The delimiter that a first line `sep=X` names. */
export function findSeparator({ text }: Sample): Delimiter | undefined {
  return readSeparator(text.toString("utf8", 0, contentEnd(text, text.indexOf(LF))));
}

/** Divides the text into the records that it has with this delimiter; without empty lines and the line `sep=X`. */
export function splitSample(sample: Sample, delimiter: Delimiter): readonly SampleRecord[] {
  const { text } = sample;
  const code = delimiter.charCodeAt(0);
  const records: SampleRecord[] = [];
  let line = 1;
  for (let at = 0; at < text.length && records.length < MOST_RECORDS; ) {
    const end = findRecordEnd(text, at, code);
    // A record whose quotes are broken is its first line alone.
    const [lf, lines] = end.kind === "whole" ? [end.lf, end.lines] : [text.indexOf(LF, at), 1];
    const record = text.toString("utf8", at, contentEnd(text, lf));
    const isSeparator = line === 1 && readSeparator(record) !== undefined;
    if (record !== "" && !isSeparator) {
      records.push({ line, cells: splitRecord(record, delimiter) ?? [] });
    }
    line += lines;
    at = lf + 1;
  }
  return records;
}

function contentEnd(text: Buffer, lf: number): number {
  return text[lf - 1] === CR ? lf - 1 : lf;
}
