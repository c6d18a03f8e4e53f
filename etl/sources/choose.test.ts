import { describe, expect, test } from "vitest";
import { HOSTILE_TEXTS, unsafeIn } from "../testing/hostile.ts";
import { parseText } from "../testing/sources.ts";
import { chooseSource } from "./choose.ts";
import type { FileSource, Source } from "./source.ts";

const INBOX = "/srv/rollbook/inbox";
const DATE = String.raw`(?<year>\d+)-(?<month>\d+)-(?<day>\d+)`;

const choose = (path: string, ...sources: readonly Source[]) =>
  chooseSource({ sources, path: `${INBOX}/${path}`, inbox: INBOX });

function chosen(path: string, text: string): FileSource {
  const choice = choose(path, parseText(text));
  if (choice.kind !== "source") throw new Error(JSON.stringify(choice));
  return choice.source;
}

function refusal(path: string, ...sources: readonly Source[]): string {
  const choice = choose(path, ...sources);
  return choice.kind === "refused" ? choice.message : "";
}

test("a file that no glob fits has no source", () => {
  expect(choose("a.csv")).toEqual({ kind: "none" });
  expect(choose("b.csv", parseText("files: a.csv"))).toEqual({ kind: "none" });
  expect(choose("x/a.csv", parseText("files: a.csv"))).toEqual({ kind: "none" });
});

test("a file that a glob fits has its source, whatever its ending is", () => {
  const source = parseText("files: [b, '*/*.txt']\nsync_slack: 2\nmax_rejects: 0.1+2");
  expect(choose("till/a.txt", parseText("files: c", "other"), source)).toEqual({
    kind: "source",
    source: {
      name: "till",
      sha256: source.sha256,
      form: source.form,
      syncedOn: undefined,
      syncSlack: 2,
      maxRejects: { share: 0.1, lines: 2 },
      replaceVenueDays: false,
    },
  });
});

test("a file in archive/ or rejected/ has the source that it had in the inbox", () => {
  const text = "files: till/*.csv";
  expect(chosen("archive/till/a.csv", text).name).toBe("till");
  expect(chosen("rejected/till/a.csv", text).name).toBe("till");
  expect(choose("archive/archive/till/a.csv", parseText(text)).kind).toBe("none");
  expect(choose("till/archive/a.csv", parseText(text)).kind).toBe("none");
});

test("a file that two sources fit is refused with both of them", () => {
  expect(refusal("a.csv", parseText("files: '*.csv'", "b"), parseText("\nfiles:\n  - a.csv", "c"))).toBe(
    "/srv/rollbook/inbox/a.csv: several sources fit it: sources/b.yaml:1: files and sources/c.yaml:2: files: change their globs so that one fits",
  );
});

describe("the venue of a path is", () => {
  test.each([
    ["its only group", "^([^/]+)/", "Mitte"],
    ["its group venue_id, among others", "^(..)(?<venue_id>[^/]+)/", "tte"],
    ["a group inside of others", "((?<venue_id>M)i)", "M"],
  ])("%s", (_, pattern, venue) => {
    const { form } = chosen("Mitte/a.csv", `files: "*/*.csv"\nvenue_id: {from_path: '${pattern}'}`);
    expect(form.venueId).toEqual({ constant: venue });
  });

  test("kept with blanks and any letters", () => {
    const { form } = chosen(
      " K\u00e4thes \u{1f355}/a.csv",
      `files: "*/*.csv"\nvenue_id: {from_path: '^([^/]+)/'}`,
    );
    expect(form.venueId).toEqual({ constant: " K\u00e4thes \u{1f355}" });
  });
});

describe("a path is refused when its venue", () => {
  const source = parseText(`files: "**"\n\nvenue_id:\n  from_path: '^([^/]*)(?:/|-)'`);
  test.each([
    ["is not there", "a.csv", "the pattern does not fit a.csv"],
    ["is empty", "-a.csv", "is a blank venue"],
    ["is blank", " /a.csv", "is a blank venue"],
    ["is too long", `${"x".repeat(201)}/a.csv`, "is a venue of more than 200 characters"],
    ["has control characters", "a\u0007b/a.csv", "is a venue with control characters"],
  ])("%s", (_, path, said) => {
    const message = refusal(path, source);
    expect(message).toContain("sources/till.yaml:4: venue_id.from_path: ");
    expect(message).toContain(said);
    expect(unsafeIn(message)).toEqual([]);
  });

  test("is in a group that takes no part", () => {
    const optional = parseText(`files: "*"\nvenue_id: {from_path: 'a|(b)'}`);
    expect(refusal("a.csv", optional)).toContain("is a blank venue");
  });
});

describe("the sync date is that of", () => {
  test.each([
    ["the name", "name", "2018-01-02/a_2019-12-31.csv", "2019-12-31"],
    ["the path", "path", "2018-01-02/a_2019-12-31.csv", "2018-01-02"],
    ["the path, with digits that are missing", "path", "2018-1-2/a.csv", "2018-01-02"],
  ])("%s", (_, from, path, syncedOn) => {
    expect(chosen(path, `files: "**"\nsynced_on: {from: ${from}, pattern: '${DATE}'}`)).toMatchObject({
      syncedOn,
    });
  });

  test("the file, for mtime", () => {
    expect(chosen("a.csv", "files: a.csv\nsynced_on: mtime").syncedOn).toBe("mtime");
  });
});

describe("a name is refused when its date", () => {
  const source = parseText(`files: "*"\nsynced_on:\n  from: name\n  pattern: '^a_${DATE}'`);
  test.each([
    ["is not there", "a.csv", "the pattern does not fit a.csv"],
    ["has a year of two digits", "a_19-12-31.csv", 'year "19"'],
    ["has a year of five digits", "a_02019-12-31.csv", 'year "02019"'],
    ["has a month of three digits", "a_2019-012-31.csv", 'month "012"'],
    ["is before 1900", "a_1899-12-31.csv", "no day of the years 1900 to 2099"],
    ["is after 2099", "a_2100-01-01.csv", "no day of the years 1900 to 2099"],
    ["is in no calendar", "a_2019-02-29.csv", 'day "29"'],
  ])("%s", (_, path, said) => {
    const message = refusal(path, source);
    expect(message).toContain(`${INBOX}/${path}: sources/till.yaml:4: synced_on.pattern: `);
    expect(message).toContain(said);
  });
});

describe("where the inbox is not known", () => {
  const chooseAlone = (path: string, text: string) => chooseSource({ sources: [parseText(text)], path });

  test.each([
    ["a trailing part", "till/*.csv"],
    ["the name", "*.csv"],
    ["more than one part", "**/*.csv"],
    ["the path below the root", "srv/in/till/*.csv"],
  ])("a glob fits %s", (_, glob) => {
    expect(chooseAlone("/srv/in/till/a.csv", `files: "${glob}"`).kind).toBe("source");
  });

  test("a glob does not fit what is no trailing part", () => {
    expect(chooseAlone("/srv/in/till/a.csv", "files: in/*.csv").kind).toBe("none");
    expect(chooseAlone("/srv/in/till/a.csv", "files: ill/*.csv").kind).toBe("none");
  });

  test("a venue is found in the part that the glob fits", () => {
    const text = `files: "*/*.csv"\nvenue_id: {from_path: '^([^/]+)/'}`;
    expect(chooseAlone("/srv/in/Mitte/a.csv", text)).toMatchObject({
      source: { form: { venueId: { constant: "Mitte" } } },
    });
  });

  test("a venue that depends on the inbox is refused", () => {
    const text = `files: "**/*.csv"\nvenue_id: {from_path: '^([^/]+)/'}`;
    expect(chooseAlone("/srv/in/Mitte/a.csv", text)).toMatchObject({
      kind: "refused",
      message: expect.stringContaining("name it with --inbox"),
    });
  });

  test("a file that is not below the inbox is one without inbox", () => {
    const path = "/srv/other/till/a.csv";
    expect(chooseSource({ sources: [parseText("files: till/*")], path, inbox: INBOX }).kind).toBe("source");
  });
});

test("a hostile path is text, and harmless in a message", () => {
  const venue = parseText(`files: "*/*"\nvenue_id: {from_path: '^nothing(x)'}`);
  const names = HOSTILE_TEXTS.filter(({ file, text }) => file && !text.startsWith(".")).map(
    ({ text }) => text,
  );
  for (const name of names) {
    expect(chosen(`x/${name}`, 'files: "*/*"').name).toBe("till");
    const message = refusal(`x/${name}`, venue);
    expect(message).toContain("sources/till.yaml:2: venue_id.from_path");
    expect(unsafeIn(message)).toEqual([]);
  }
});
