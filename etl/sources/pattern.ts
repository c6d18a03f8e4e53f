/** The patterns of a source: regular expressions that find a venue or a date in a path. */

/** The most characters of a pattern. */
const MAX_PATTERN_LENGTH = 1000;

export type PatternResult =
  | { readonly kind: "pattern"; readonly pattern: RegExp }
  /** Why it is none, with the remedy. */
  | { readonly kind: "refused"; readonly message: string };

/** Compiles a pattern in which one group is the venue: `(?<venue_id>...)`, or the only one. */
export function compileVenuePattern(text: string): PatternResult {
  return compile(text, ({ names, groups }) => {
    if (names.includes("venue_id") || groups === 1) return undefined;
    return `has ${groups === 0 ? "no group" : `${groups} groups`}: put round brackets around the venue, (?<venue_id>...) if there are others`;
  });
}

/** Compiles a pattern with the groups `year`, `month` and `day`. */
export function compileDatePattern(text: string): PatternResult {
  return compile(text, ({ names }) => {
    const missing = ["year", "month", "day"].filter((name) => !names.includes(name));
    if (missing.length === 0) return undefined;
    return String.raw`lacks ${missing.map((name) => `(?<${name}>...)`).join(", ")}: for example (?<year>\d{4})(?<month>\d\d)(?<day>\d\d)`;
  });
}

interface Groups {
  readonly names: readonly string[];
  /** How many there are, named or not. */
  readonly groups: number;
}

function compile(text: string, check: (groups: Groups) => string | undefined): PatternResult {
  if (text.length > MAX_PATTERN_LENGTH) {
    return { kind: "refused", message: `is longer than ${MAX_PATTERN_LENGTH} characters` };
  }
  try {
    const pattern = new RegExp(text, "u");
    const message = check(groupsOf(text));
    return message === undefined ? { kind: "pattern", pattern } : { kind: "refused", message };
  } catch (error) {
    const said = error instanceof Error ? error.message : String(error);
    return { kind: "refused", message: `is no regular expression: ${said}` };
  }
}

/** With an empty alternative it fits any text, and the match lists all of its groups. */
function groupsOf(text: string): Groups {
  const match = new RegExp(`${text}|`, "u").exec("");
  return { names: Object.keys(match?.groups ?? {}), groups: (match?.length ?? 1) - 1 };
}
