/** What a page is: one question to the reports, with one answer, shown as HTML and given as JSON. */
import * as v from "valibot";
import type { Database } from "../db/client.ts";
import { RollbookError } from "../db/errors.ts";
import type { Settings } from "../db/schema.ts";
import type { ReadInvoiceLines } from "./archive.ts";
import type { Formats } from "./formats.ts";
import type { Html } from "./html.ts";
import type { Memory } from "./memory.ts";

/** Who asks, and whom. */
export interface Asking {
  /** Its sessions can only read (console/reports.ts). */
  readonly database: Database;
  readonly settings: Settings;
  /** Undefined where the console was not told where the files are. */
  readonly readLines: ReadInvoiceLines | undefined;
  /** Aborts when the browser has left. */
  readonly signal: AbortSignal;
  /** For what takes long. */
  readonly memory: Memory;
}

/** What a page is shown with. */
export interface View<Query> {
  readonly query: Query;
  readonly formats: Formats;
  readonly settings: Settings;
}

type QuerySchema = v.GenericSchema<Readonly<Record<string, unknown>>, Readonly<Record<string, unknown>>>;

export interface Page<Query extends QuerySchema, Answer extends v.GenericSchema> {
  /** A part that begins with a colon is a member of the query: `/loads/:load`. */
  readonly path: string;
  /** What the navigation calls it; a page without is reached from others. */
  readonly menu?: string;
  readonly title: string | ((answer: v.InferOutput<Answer>) => string);
  /** Whether it shows the present, and is brought up to date while it is open (console/live.ts); default false. */
  readonly isLive?: boolean;
  /** One sentence, for the description of the API. */
  readonly summary: string;
  /** What the address may hold, as texts. */
  readonly query: Query;
  readonly answer: Answer;
  /** @throws RollbookError `not_found` */
  readonly read: (asking: Asking, query: v.InferOutput<Query>) => Promise<v.InferOutput<Answer>>;
  readonly show: (answer: v.InferOutput<Answer>, view: View<v.InferOutput<Query>>) => Html;
  /** The same as a file of CSV, where there is one, at the page's path with `.csv` behind. */
  readonly csv?: (asking: Asking, query: v.InferOutput<Query>) => Csv;
}

/** A file that is made while it is sent. */
export interface Csv {
  readonly fileName: string;
  /** Makes it piece by piece, as fast as each is taken. */
  readonly write: (add: (text: string) => Promise<void>) => Promise<void>;
}

/** An answer, and how to show it. */
export interface Answered {
  readonly answer: unknown;
  readonly title: string;
  readonly show: (view: Omit<View<unknown>, "query">) => Html;
}

/** A page whose types are its own business. */
export interface DefinedPage {
  readonly path: string;
  readonly menu: string | undefined;
  readonly isLive: boolean;
  readonly summary: string;
  readonly query: QuerySchema;
  readonly answer: v.GenericSchema;
  /** @throws RollbookError `usage` for a query that the schema does not take, `not_found` */
  readonly ask: (asking: Asking, given: Readonly<Record<string, unknown>>) => Promise<Answered>;
  /** The same for its file of CSV. */
  readonly csv: ((asking: Asking, given: Readonly<Record<string, unknown>>) => Csv) | undefined;
}

/** Where a page's answer is as JSON. */
export function apiPath({ path }: Pick<DefinedPage, "path">): string {
  return `/api${path === "/" ? "/overview" : path}`;
}

/** Where a page's file of CSV is. */
export function csvPath({ path }: Pick<DefinedPage, "path">): string {
  return `${path}.csv`;
}

export function definePage<Query extends QuerySchema, Answer extends v.GenericSchema>(
  page: Page<Query, Answer>,
): DefinedPage {
  const { path, menu, title, isLive = false, summary, csv } = page;
  return {
    path,
    menu,
    isLive,
    summary,
    query: page.query,
    answer: page.answer,
    ask: async (asking, given) => {
      const query = parseQuery(page.query, given);
      const answer = await page.read(asking, query);
      return {
        answer,
        title: typeof title === "string" ? title : title(answer),
        show: (view) => page.show(answer, { ...view, query }),
      };
    },
    csv: csv && ((asking, given) => csv(asking, parseQuery(page.query, given))),
  };
}

function parseQuery<Query extends QuerySchema>(
  schema: Query,
  given: Readonly<Record<string, unknown>>,
): v.InferOutput<Query> {
  // PostgreSQL has no text with it.
  const withNul = Object.keys(given).find((name) => String(given[name]).includes("\0"));
  if (withNul !== undefined)
    throw new RollbookError({ code: "usage", message: `${withNul}: there is no text with U+0000` });
  const parsed = v.safeParse(schema, given);
  if (parsed.success) return parsed.output;
  const said = parsed.issues.map((issue) => `${v.getDotPath(issue) ?? "the address"}: ${sayIssue(issue)}`);
  throw new RollbookError({ code: "usage", message: said.join("; ") });
}

/** Checks have messages of their own; these are of the schemas. */
function sayIssue(issue: v.BaseIssue<unknown>): string {
  switch (issue.type) {
    case "strict_object":
      return issue.expected === "never" ? "nothing is called so here" : "it is missing";
    case "picklist":
      return `give one of ${(issue.expected ?? "").replace(/[()"]/g, "").replaceAll(" | ", ", ")}`;
    case "string":
      return "give it once";
    default:
      return issue.message;
  }
}
