/** Chooses the source that reads a file. */
import { basename } from "node:path";
import { FILE_DATE } from "../drop/name.ts";
import { dayNumber } from "../drop/value/timestamp.ts";
import { printable } from "../escape.ts";
import { fitsSource } from "./glob.ts";
import { pathsOf } from "./place.ts";
import type { Choice, Source } from "./source.ts";
import { checkVenue } from "./venue.ts";

/**
 * Chooses by the globs of the sources, and asks their patterns for venue and sync date. It reads no file.
 *
 * @param options.name that it had in the inbox, where somebody knows it
 * @param options.inbox undefined where it is not known: a glob then fits the whole path, or the part after any `/`
 */
export function chooseSource(options: {
  readonly sources: readonly Source[];
  readonly path: string;
  readonly name?: string | undefined;
  readonly inbox?: string | undefined;
}): Choice {
  const { sources, path } = options;
  if (sources.length === 0) return { kind: "none" };
  const paths = pathsOf(options);
  const fitting = sources
    .map((source) => ({ source, paths: paths.filter((one) => fitsSource(source, one)) }))
    .filter((one) => one.paths.length > 0);
  const [first, second] = fitting;
  if (first === undefined) return { kind: "none" };
  if (second === undefined) return askPatterns({ ...first, path });
  const places = fitting.map(({ source }) => `${source.file}:${source.filesLine}: files`).join(" and ");
  return refuse(`${path}: several sources fit it: ${places}: change their globs so that one fits`);
}

interface Fitting {
  readonly source: Source;
  /** Those that a glob fits: one where the inbox is known. */
  readonly paths: readonly string[];
  /** Of the file, for messages. */
  readonly path: string;
}

function askPatterns(fitting: Fitting): Choice {
  const { name, sha256, form, syncSlack, maxRejects, replaceVenueDays, venueFromPath } = fitting.source;
  const venue = venueFromPath && findOne(fitting, { ...venueFromPath, key: "venue_id.from_path" }, readVenue);
  if (venue?.kind === "refused") return venue;
  const day = findDay(fitting);
  if (day?.kind === "refused") return day;
  return {
    kind: "source",
    source: {
      name,
      sha256,
      form: venue === undefined ? form : { ...form, venueId: { constant: venue.text } },
      syncedOn: day?.text,
      syncSlack,
      maxRejects,
      replaceVenueDays,
    },
  };
}

type Refused = Extract<Choice, { readonly kind: "refused" }>;
type Found = { readonly kind: "found"; readonly text: string };

const refuse = (message: string): Refused => ({ kind: "refused", message: printable(message) });

function findDay(fitting: Fitting): Found | Refused | undefined {
  const rule = fitting.source.syncedOn;
  if (rule === undefined) return undefined;
  if (rule.from === "mtime") return { kind: "found", text: FILE_DATE };
  const paths =
    rule.from === "name" ? fitting.paths.slice(0, 1).map((path) => basename(path)) : fitting.paths;
  return findOne({ ...fitting, paths }, { ...rule, key: "synced_on.pattern" }, readDay);
}

interface Rule {
  readonly pattern: RegExp;
  readonly line: number;
  readonly key: string;
}

/** What a pattern says of a path, or what is wrong with that. */
type Reading = { readonly text: string } | { readonly fault: string };

/** What a pattern finds. Where the inbox is not known, it must find the same in all paths that it fits. */
function findOne(fitting: Fitting, rule: Rule, read: (match: RegExpExecArray) => Reading): Found | Refused {
  const { source, paths, path } = fitting;
  const refused = (fault: string) => refuse(`${path}: ${source.file}:${rule.line}: ${rule.key}: ${fault}`);
  const matches = paths.map((one) => rule.pattern.exec(one)).filter((match) => match !== null);
  const [reading, ...others] = matches.map(read);
  if (reading === undefined) {
    return refused(`the pattern does not fit ${paths.join(" or ")}: change it, the glob, or the file's name`);
  }
  if ("fault" in reading) return refused(reading.fault);
  if (others.some((other) => "fault" in other || other.text !== reading.text)) {
    return refused("which folder is the inbox decides what it finds: name it with --inbox");
  }
  return { kind: "found", text: reading.text };
}

function readVenue(match: RegExpExecArray): Reading {
  const venue = match.groups?.venue_id ?? match[1] ?? "";
  const fault = checkVenue(venue);
  if (fault === undefined) return { text: venue };
  return { fault: `what it finds in ${match.input} ${fault}` };
}

function readDay({ groups = {}, input }: RegExpExecArray): Reading {
  const { year = "", month = "", day = "" } = groups;
  const isDay =
    /^(19|20)\d\d$/.test(year) &&
    /^\d\d?$/.test(month) &&
    /^\d\d?$/.test(day) &&
    dayNumber(Number(year), Number(month), Number(day)) !== undefined;
  if (isDay) return { text: `${year}-${month.padStart(2, "0")}-${day.padStart(2, "0")}` };
  return {
    fault: `what it finds in ${input} is no day of the years 1900 to 2099: year ${quote(year)}, month ${quote(month)}, day ${quote(day)}`,
  };
}

const quote = (text: string) => JSON.stringify(text);
